"""What decides a measurement, as a hash: an answer of other data or settings is never taken for it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from towers.data.ingest.ingest import REPORT_FILE
from towers.data.schema import NUM_EVENTS_FILE
from towers.errors import MissingDataError
from towers.training.fit import FitSettings


def fingerprint(tables: Path, settings: Sequence[Any], asked: Sequence[object]) -> str:
    """SHA-256 over ingested tables, settings (dataclasses) and whatever else was asked.

    How a training is broken off and taken up again changes nothing that it learns, and does not count.
    Raises MissingDataError where there are no tables.
    """
    for name in (NUM_EVENTS_FILE, REPORT_FILE):
        if not (tables / name).is_file():
            raise MissingDataError(f"{tables / name}: no such file; run scripts/ingest.py first")
    digest = hashlib.sha256((tables / NUM_EVENTS_FILE).read_bytes())
    report = json.loads((tables / REPORT_FILE).read_text(encoding="utf-8"))
    report.pop("seconds", None)
    kept = [asdict(_whole(part)) for part in settings]
    digest.update(json.dumps([report, kept, list(asked)], default=str).encode())
    return digest.hexdigest()


def _whole(settings: Any) -> Any:
    if not isinstance(settings, FitSettings):
        return settings
    return replace(settings, trainer=replace(settings.trainer, resume=False, checkpoint_steps=None))
