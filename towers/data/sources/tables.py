"""A service's own tables: Parquet, CSV or SQL, with a map from the schema's columns to theirs, and units."""

import glob
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import polars as pl
import pyarrow as pa

from towers.data.raw import FAULT, ROW, TEXT, RawSource, RawTable, TimeUnit
from towers.data.schema import SCHEMAS
from towers.data.sources.attributes import attributes
from towers.data.sources.lines import TextFormat, scan_text
from towers.data.sources.sql import scan_sql
from towers.errors import ConfigError, MissingDataError, ParseError

_PARQUET = (".parquet", ".pq")


class Unit(StrEnum):
    """What the numbers of a column count, where that is not what the schema counts."""

    MINUTES = "min"
    SECONDS = "s"
    MILLISECONDS = "ms"
    HOURS = "h"
    PERCENT = "percent"
    """Of a share, 0 to 100."""
    OF_FIVE = "of_5"
    """Of stars or a rating, up to 5."""
    OF_HUNDRED = "of_100"
    """Of stars or a rating, up to 100."""

    @property
    def factor(self) -> float:
        """What makes such a number one of the schema: minutes, a share of 1, stars of 10."""
        match self:
            case Unit.MINUTES:
                return 1.0
            case Unit.SECONDS:
                return 1 / 60
            case Unit.MILLISECONDS:
                return 1 / 60_000
            case Unit.HOURS:
                return 60.0
            case Unit.PERCENT:
                return 0.01
            case Unit.OF_FIVE:
                return 2.0
            case Unit.OF_HUNDRED:
                return 0.1


@dataclass(frozen=True, slots=True)
class TableSettings:
    """Where one table is, and how its columns become those of the schema; without path and sql, nowhere.

    path: a file, or a glob of several that are read one after the other: Parquet, or delimited text, plain or
    .gz. text: how such texts are written; names: their columns in order, where they have no header.
    sql: instead of a path, a query that DuckDB runs.
    columns: column of the schema → column of the source; a column of the same name needs no mention.
    constants: column of the schema → its value in every row. units: column → what its numbers count.
    clock: what the numbers in columns of times count. separators: list column → what stands between values.
    attributes: further columns of the source, kept by name in `attributes` (of items and profiles).
    """

    path: str | None = None
    sql: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    clock: TimeUnit = TimeUnit.AUTO
    separators: dict[str, str] = field(default_factory=dict)
    attributes: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    text: TextFormat = field(default_factory=TextFormat)


@dataclass(frozen=True, slots=True)
class TablesSettings:
    """The tables of a service, each optional; without items, titles are those that the events name.

    database: a DuckDB file that the queries read; null where they name files. name: what a report calls it.
    """

    events: TableSettings = field(default_factory=TableSettings)
    items: TableSettings = field(default_factory=TableSettings)
    profiles: TableSettings = field(default_factory=TableSettings)
    queries: TableSettings = field(default_factory=TableSettings)
    database: str | None = None
    name: str = "own tables"

    @property
    def title(self) -> str:
        """What a report calls this data."""
        return self.name


def read_tables_source(settings: TablesSettings) -> RawSource:
    """The tables that the settings describe, under the schema's names; their rows are not checked yet.

    Raises ConfigError naming the key of a setting that does not fit the schema or the source,
    MissingDataError where no file is there, ParseError on a bad header, a damaged gzip or Parquet file.
    """
    given = {name: getattr(settings, name) for name in SCHEMAS}
    if all(table.path is None and table.sql is None for table in given.values()):
        raise ConfigError("data.events.path: found null; expected a file, or a query in data.events.sql")
    raw = {name: _raw_tables(name, table, settings.database) for name, table in given.items()}
    return RawSource(raw["items"], raw["events"], raw["profiles"], raw["queries"])


def _raw_tables(name: str, settings: TableSettings, database: str | None) -> tuple[RawTable, ...]:
    key = f"data.{name}"
    _check(name, settings, key)
    if settings.sql is not None:
        frame = scan_sql(settings.sql, database, f"{key}.sql").with_row_index(ROW, offset=1)
        return (_raw_table(name, settings, Path(f"{key}.sql"), frame),)
    if settings.path is None:
        return ()
    return tuple(
        _raw_table(name, settings, path, _scan(path, settings)) for path in _files(settings.path, key)
    )


def _files(path: str, key: str) -> list[Path]:
    found = [path] if Path(path).is_file() else sorted(glob.glob(path, recursive=True))  # noqa: PTH207
    files = [Path(each) for each in found if Path(each).is_file()]
    if not files:
        raise MissingDataError(f"{key}.path: no file at {path}; expected one, or a glob of some")
    return files


def _scan(path: Path, settings: TableSettings) -> pl.LazyFrame:
    """Every column of a file, with its ROW."""
    if path.suffix in _PARQUET:
        frame = pl.scan_parquet(path, glob=False).with_row_index(ROW, offset=1)
        try:
            frame.collect_schema()
        except pl.exceptions.PolarsError as error:
            raise ParseError(f"{path}: {error}; expected a whole Parquet file") from error
        return frame
    names = None if settings.text.has_header else settings.names
    return scan_text(path, names, settings.text)


def _raw_table(name: str, settings: TableSettings, path: Path, frame: pl.LazyFrame) -> RawTable:
    """The columns of one file or query under the schema's names."""
    found = [column for column in frame.collect_schema().names() if column not in (ROW, FAULT, TEXT)]
    for wanted, where in [
        *((of, f"columns.{column}") for column, of in settings.columns.items()),
        *((of, "attributes") for of in settings.attributes),
    ]:
        if wanted not in found:
            raise ConfigError(
                f"data.{name}.{where}: {path} has no column {wanted!r}; expected one of {', '.join(found)}"
            )
    taken = {*settings.constants, *(["attributes"] if settings.attributes else [])}
    own = {column: column for column in SCHEMAS[name].names if column in found and column not in taken}
    columns = own | settings.columns
    needed = [item.name for item in SCHEMAS[name] if not item.nullable]
    lacking = [column for column in needed if column not in columns and column not in settings.constants]
    if lacking:
        raise ConfigError(
            f"data.{name}.columns: {path} has no {', '.join(lacking)}, only {', '.join(found)}; say which "
            f"they are: data.{name}.columns={{{lacking[0]}: …}}"
        )
    kept = [column for column in (ROW, FAULT, TEXT) if column in frame.collect_schema()]
    shaped = frame.select(
        *kept,
        *(_plain(frame, of).alias(column) for column, of in columns.items()),
        *(pl.lit(value).alias(column) for column, value in settings.constants.items()),
        *([attributes({of: of for of in settings.attributes})] if settings.attributes else []),
    )
    scale = {column: unit.factor for column, unit in settings.units.items()}
    return RawTable(path, shaped, scale, settings.separators, settings.clock)


def _plain(frame: pl.LazyFrame, column: str) -> pl.Expr:
    """The column in a type that the checks read: categories as texts, lengths of time as minutes."""
    kind = frame.collect_schema()[column]
    if kind in (pl.Categorical, pl.Enum):
        return pl.col(column).cast(pl.String)
    if kind == pl.Duration:
        return pl.col(column).dt.total_milliseconds() / 60_000
    return pl.col(column)


def _check(name: str, settings: TableSettings, key: str) -> None:
    """Raises ConfigError naming the first setting that does not fit the schema of the table."""
    schema = SCHEMAS[name]
    if settings.path is not None and settings.sql is not None:
        raise ConfigError(f"{key}.sql: found a query and {key}.path; expected one of them to be null")
    if settings.path is None and settings.sql is None and settings.columns:
        raise ConfigError(f"{key}.path: found null; expected a file for {key}.columns, or {key}.sql")
    if settings.path is not None and not settings.text.has_header and not settings.names:
        raise ConfigError(
            f"{key}.names: found none; expected the columns of a text without a header, in order"
        )
    numbers = [f.name for f in schema if pa.types.is_floating(f.type)]
    lists = [f.name for f in schema if pa.types.is_list(f.type) and pa.types.is_string(f.type.value_type)]
    for group, keys, possible in (
        ("columns", settings.columns, schema.names),
        ("constants", settings.constants, schema.names),
        ("units", settings.units, numbers),
        ("separators", settings.separators, lists),
    ):
        for column in keys:
            if column not in possible:
                raise ConfigError(
                    f"{key}.{group}.{column}: not such a column; expected one of {', '.join(possible)}"
                )
    both = sorted(set(settings.columns) & set(settings.constants))
    if both:
        raise ConfigError(f"{key}.constants.{both[0]}: also in {key}.columns; expected it in one of them")
    if settings.attributes and "attributes" not in schema.names:
        raise ConfigError(f"{key}.attributes: {name} have none; expected an empty list")
