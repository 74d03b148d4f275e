"""Small raw sources, as texts: what a file would hold before anything is checked."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from towers.data.ingest.ingest import ingest
from towers.data.ingest.report import IngestReport
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import FAULT, ROW, TEXT, RawSource, RawTable

Row = dict[str, str | None]

FILMS: list[Row] = [
    {"item_id": "t1", "title": "Night Train", "release_year": "1998", "genres": "Crime|Action"},
    {"item_id": "t2", "title": "Sugar Rush", "release_year": "", "genres": ""},
    {"item_id": "t3", "title": "The Reef", "release_year": "2020", "genres": "Documentary"},
]
EVENT: Row = {"profile_id": "ana", "item_id": "t1", "start": "1700000000", "minutes_watched": "90.5"}


def raw(name: str, rows: Sequence[Row], *, faults: dict[int, str] | None = None, **how: object) -> RawTable:
    """The rows as a text table whose n-th row stands in line n + 2 of its file, behind a header.

    faults: of a row, why it could not be taken apart; its fields are null, its text is "line <row>".
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    faults = faults or {}
    frame = pl.DataFrame(
        {
            ROW: pl.Series([place + 2 for place in range(len(rows))], dtype=pl.UInt32),
            **{
                column: pl.Series(
                    [None if place in faults else row.get(column) for place, row in enumerate(rows)],
                    dtype=pl.String,
                )
                for column in columns
            },
        }
    )
    if faults:
        frame = frame.with_columns(
            pl.Series(FAULT, [faults.get(place) for place in range(len(rows))], dtype=pl.String),
            pl.Series(TEXT, [f"line {place}" for place in range(len(rows))]),
        )
    return RawTable(Path(f"{name}.csv"), frame.lazy(), **how)  # type: ignore[arg-type]


def service(
    events: Sequence[Row],
    *,
    items: Sequence[Row] = FILMS,
    profiles: Sequence[Row] | None = None,
    queries: Sequence[Row] | None = None,
) -> RawSource:
    """A source of text tables; () in place of the tables that are None."""
    return RawSource(
        items=(raw("items", items, separator={"genres": "|"}),) if items else (),
        events=(raw("events", events),),
        profiles=() if profiles is None else (raw("profiles", profiles),),
        queries=() if queries is None else (raw("queries", queries),),
    )


def ingested(source: RawSource, folder: Path, rules: RuleSettings | None = None) -> IngestReport:
    """Ingests with all rows allowed to be lost, so that tests may break every one of them."""
    return ingest(source, "a test", folder, rules or RuleSettings(max_rejected_share=1.0))


def rejected(folder: Path, table: str) -> list[tuple[int, str, str | None, str | None]]:
    """(row, rule, column, value) of every rejected row of a table, in the order of the rows."""
    path = folder / "rejected" / f"{table}.parquet"
    if not path.is_file():
        return []
    return sorted(pl.read_parquet(path).select("row", "rule", "column", "value").iter_rows())


def counts(report: IngestReport) -> set[tuple[str, str, str, str, int]]:
    """What the report counts, without its examples."""
    return {(c.table, c.rule, c.column, c.outcome.value, c.num_rows) for c in report.counts}
