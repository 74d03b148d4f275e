"""Which tables a model learned from, told without saying anything of what is in them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from towers.data.ingest.report import REPORT_FILE, read_report

LEARNED_FROM = "learned_from"
"""Of an export's context: the state of the tables that it learned from."""


def state_of(tables: Path) -> str:
    """SHA-256 of the report of a folder of tables: another after every ingest and every erasure."""
    return hashlib.sha256((tables / REPORT_FILE).read_bytes()).hexdigest()


def lost_forgotten(tables: Path, context: Mapping[str, Any]) -> bool:
    """Whether the tables are those that a model learned from, but for profiles forgotten since.

    context: of the model.
    """
    return context.get(LEARNED_FROM) in read_report(tables).erased_from
