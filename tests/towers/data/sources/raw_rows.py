"""What a source hands to ingest, as plain rows; and what ingest makes of it."""

from pathlib import Path

import polars as pl

from towers.data.ingest.ingest import ingest
from towers.data.ingest.report import IngestReport
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import FAULT, ROW, TEXT, RawSource, RawTable
from towers.data.schema import Tables, read_tables


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file of the folder, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(raw: RawTable, *columns: str) -> list[tuple[object, ...]]:
    """These columns of every row, in the order of the source."""
    return raw.frame.select(columns).collect(engine="streaming").rows()


def faults(raw: RawTable) -> list[tuple[object, ...]]:
    """ROW, FAULT and TEXT of the rows that could not be taken apart."""
    return rows(RawTable(raw.path, raw.frame.filter(pl.col(FAULT).is_not_null())), ROW, FAULT, TEXT)


def attributes_of(raw: RawTable) -> list[dict[str, str]]:
    """The attributes of each row."""
    return [
        {each["name"]: each["value"] for each in found or []}
        for (found,) in raw.frame.select("attributes").collect().iter_rows()
    ]


def ingested(
    source: RawSource, folder: Path, rules: RuleSettings | None = None
) -> tuple[Tables, IngestReport]:
    """The tables and the report of an ingest into a folder."""
    report = ingest(source, "test", folder / "tables", rules or RuleSettings())
    return read_tables(folder / "tables"), report
