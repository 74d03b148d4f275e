"""What a source hands to ingest: its tables as found, under the schema's column names, not yet checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import polars as pl
import pyarrow as pa

from towers.data.schema import Tables

ROW = "source_row"
"""Column: the record's place in its file, from 1; of a text file its line, the header counted."""
FAULT = "fault"
"""Column: why a record could not be taken apart into fields, null where it could. A source may lack it."""
TEXT = "source_text"
"""Column: the record as it stands in a text file, kept for what is rejected. A source may lack it."""


class TimeUnit(StrEnum):
    """What the numbers of a clock count."""

    AUTO = "auto"
    """By size: seconds, milli-, micro- or nanoseconds since 1970; texts that are no number as ISO 8601."""
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


@dataclass(frozen=True, slots=True)
class RawTable:
    """The rows that one file, or one query, gives to one table.

    path: where they come from, for messages and rejected rows.
    frame: ROW, and any of the schema's columns, each as text (String) or already of its type; a column that
    is not there is null. Ids may be integers. Rows are in the order of the source.
    scale: per numeric column, the factor to the schema's unit: 1/60 where minutes are written in seconds.
    separator: per list column that is written as text, what stands between its values.
    time_unit: of the columns that hold a time.
    """

    path: Path
    frame: pl.LazyFrame
    scale: Mapping[str, float] = field(default_factory=dict)
    separator: Mapping[str, str] = field(default_factory=dict)
    time_unit: TimeUnit = TimeUnit.AUTO


@dataclass(frozen=True, slots=True)
class RawSource:
    """All that a source has, each table from any number of files.

    profiles: () where the source has no such table: then the profiles are those of the events and queries.
    repaired: what a source put right by itself on the way in (a duration that stood in the wrong column,
    text decoded twice), by name, with the number of rows.
    """

    items: tuple[RawTable, ...]
    events: tuple[RawTable, ...] = ()
    profiles: tuple[RawTable, ...] = ()
    queries: tuple[RawTable, ...] = ()
    repaired: Mapping[str, int] = field(default_factory=dict)


def raw_from_tables(tables: Tables, path: Path = Path("tables")) -> RawSource:
    """Tables in memory as a source; rows are numbered from 1, columns without a value left out."""
    return RawSource(
        items=(_raw(tables.items, path / "items"),),
        events=(_raw(tables.events, path / "events"),),
        profiles=(_raw(tables.profiles, path / "profiles"),),
        queries=(_raw(tables.queries, path / "queries"),),
    )


def _raw(table: pa.Table, path: Path) -> RawTable:
    given = [
        field.name
        for field in table.schema
        if not field.nullable or table[field.name].null_count < table.num_rows
    ]
    frame = pl.DataFrame(table.select(given)).with_row_index(ROW, offset=1)
    return RawTable(path, frame.lazy())
