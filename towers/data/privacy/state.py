"""Which tables a model learned from, told without saying anything of what is in them."""

import hashlib
from pathlib import Path

from towers.data.ingest.report import REPORT_FILE

LEARNED_FROM = "learned_from"
"""Of an export's context: the state of the tables that it learned from."""


def state_of(tables: Path) -> str:
    """SHA-256 of the report of a folder of tables: another after every ingest and every erasure."""
    return hashlib.sha256((tables / REPORT_FILE).read_bytes()).hexdigest()
