"""What decides a measurement, as a hash: an answer of other data or settings is never taken for it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from towers.data.ingest.ingest import REPORT_FILE
from towers.data.schema import SCHEMAS
from towers.errors import MissingDataError
from towers.training.settings import FitSettings


def fingerprint(tables: Path, settings: Sequence[Any], asked: Sequence[object]) -> str:
    """SHA-256 over ingested tables, settings (dataclasses) and whatever else was asked.

    How a training is broken off and taken up again changes nothing that it learns, and does not count.
    Raises MissingDataError where there are no tables.
    """
    files = [tables / f"{name}.parquet" for name in SCHEMAS]
    for path in (*files, tables / REPORT_FILE):
        if not path.is_file():
            raise MissingDataError(f"{path}: no such file; run scripts/ingest.py first")
    digest = hashlib.sha256()
    for path in files:
        state = path.stat()
        digest.update(_content(path, state.st_size, state.st_mtime_ns))
    report = json.loads((tables / REPORT_FILE).read_text(encoding="utf-8"))
    report.pop("seconds", None)
    kept = [asdict(_whole(part)) for part in settings]
    digest.update(json.dumps([report, kept, list(asked)], default=str).encode())
    return digest.hexdigest()


@lru_cache(maxsize=64)
def _content(path: Path, size_bytes: int, changed_ns: int) -> bytes:
    """SHA-256 of a file, read once for each of its states: a climb asks for many fingerprints."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _whole(settings: Any) -> Any:
    if not isinstance(settings, FitSettings):
        return settings
    return replace(settings, trainer=replace(settings.trainer, resume=False, checkpoint_steps=None))
