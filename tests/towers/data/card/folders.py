"""Canonical tables on disk, whatever is in them: what a card is made of."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from towers.data.ingest.report import IngestReport
from towers.data.schema import SCHEMAS, Tables


def folder_of(tables: Tables, folder: Path, report: IngestReport | None = None) -> Path:
    """The folder, with the tables and the report as ingest lays them down."""
    folder.mkdir()
    for name in SCHEMAS:
        pq.write_table(getattr(tables, name), folder / f"{name}.parquet")
    if report is not None:
        (folder / "ingest.json").write_text(json.dumps(report.to_json()))
    return folder
