"""The four tables every source is read into, their declared schemas, and what they must satisfy.

A column that a source lacks is null, never invented.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towers.errors import MissingDataError, SchemaError

_STRINGS = pa.list_(pa.string())
TIME = pa.timestamp("ms", tz="UTC")
LICENCES = pa.list_(
    pa.struct([pa.field("country", pa.string()), pa.field("start", TIME), pa.field("end", TIME)])
)
"""Where and when a title may be shown: country null is everywhere, start null since ever, end null for good;
`end` itself is outside. A null list says nothing; an empty one says nowhere."""
CODED_LICENCES = pa.list_(
    pa.struct(
        [
            pa.field("country", pa.dictionary(pa.int32(), pa.string())),
            pa.field("start", TIME),
            pa.field("end", TIME),
        ]
    )
)
"""The same, countries as codes."""
ATTRIBUTES = pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("value", pa.string())]))
"""What a source knows beyond the declared columns, by name; each name once."""

VECTOR = pa.list_(pa.float32())

ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("release_year", pa.int16()),
        pa.field("released", TIME),  # when it first came out or came to the service, where known to the day
        pa.field("genres", _STRINGS),
        pa.field("sub_genres", _STRINGS),
        pa.field("cast", _STRINGS),  # billing order
        pa.field("directors", _STRINGS),
        pa.field("countries", _STRINGS),  # of production
        pa.field("language", pa.string()),
        pa.field("maturity", pa.string()),  # the certificate as the source spells it
        pa.field("rating", pa.float32()),  # mean audience rating, 0 to 10, from outside the event log
        pa.field("duration_minutes", pa.float32()),
        pa.field("synopsis", pa.string()),
        pa.field("embedding", VECTOR),  # of its texts or pictures, by another model; one length in all rows
        pa.field("series_id", pa.string()),  # of an episode: the item_id of the title that it belongs to
        pa.field("licences", LICENCES),
        pa.field("attributes", ATTRIBUTES),
    ]
)
"""One row per title of the catalogue."""

EVENTS = pa.schema(
    [
        pa.field("profile_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("start", TIME, nullable=False),
        pa.field("minutes_watched", pa.float32()),
        pa.field("stars", pa.float32()),  # the profile's own rating, 0 to 10
        pa.field("completion", pa.float32()),  # share of the title watched, 0 to 1, where the source says it
        pa.field("plays", pa.int32()),  # how many plays the row counts, >= 1; null is one
        pa.field("country", pa.string()),  # where it was watched, ISO 3166-1 alpha-2
        pa.field("region", pa.string()),  # where in the country, ISO 3166-2
        pa.field("position", pa.int16()),  # place at which it was shown, from 1
    ]
)
"""One row per watch, in the order of the source."""

PROFILES = pa.schema(
    [
        pa.field("profile_id", pa.string(), nullable=False),
        pa.field("country", pa.string()),
        pa.field("region", pa.string()),  # ISO 3166-2
        pa.field("language", pa.string()),
        pa.field("gender", pa.string()),
        pa.field("age_band", pa.string()),
        pa.field("occupation", pa.string()),
        pa.field("postal_code", pa.string()),
        pa.field("income", pa.string()),
        pa.field("kids", pa.bool_()),  # a child's profile, or one with children at home, as the source has it
        pa.field("household_id", pa.string()),
        pa.field("attributes", ATTRIBUTES),
    ]
)
"""One row per profile that has events or attributes."""

QUERIES = pa.schema(
    [
        pa.field("profile_id", pa.string()),
        pa.field("text", pa.string(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("country", pa.string()),
        pa.field("item_id", pa.string()),  # what was played after it
    ]
)
"""One row per search."""

_KEYS = {"items": "item_id", "profiles": "profile_id"}
_LATER = ("embedding", "released")

NUM_EVENTS_FILE = "num_events.npy"
"""Beside tables that were ingested: int64 (P,), the events of each profile, whose rows stand together."""


@dataclass(frozen=True, slots=True)
class Tables:
    """One service's logs: items, events, profiles and queries, each with its declared schema."""

    items: pa.Table
    events: pa.Table
    profiles: pa.Table
    queries: pa.Table


SCHEMAS = {"items": ITEMS, "events": EVENTS, "profiles": PROFILES, "queries": QUERIES}
FIRST_YEAR, LAST_YEAR = 1870, 2100
"""Titles came out between the starts of these years; an event's times are bounded by the rules of ingest."""

RANGES: dict[str, dict[str, tuple[float, float | None]]] = {
    "items": {
        "release_year": (float(FIRST_YEAR), float(LAST_YEAR)),
        "rating": (0.0, 10.0),
        "duration_minutes": (0.0, None),
    },
    "events": {
        "minutes_watched": (0.0, None),
        "stars": (0.0, 10.0),
        "completion": (0.0, 1.0),
        "plays": (1.0, None),
        "position": (1.0, None),
    },
    "profiles": {},
    "queries": {},
}
"""Lowest and highest value of numeric columns, both allowed; every number is finite."""


def table(schema: pa.Schema, columns: dict[str, object]) -> pa.Table:
    """A table of `schema` from some of its columns; the rest are null. SchemaError on an unknown column."""
    unknown = set(columns) - set(schema.names)
    if unknown:
        raise SchemaError(f"columns {sorted(unknown)} are not in the schema; expected some of {schema.names}")
    lengths = {name: len(column) for name, column in columns.items()}  # type: ignore[arg-type]
    if len(set(lengths.values())) > 1:
        raise SchemaError(f"columns differ in length: {lengths}; expected as many values in each")
    num_rows = max(lengths.values(), default=0)
    arrays = [
        _as_array(columns[field.name], field) if field.name in columns else pa.nulls(num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_array(column: object, field: pa.Field) -> pa.Array | pa.ChunkedArray:
    try:
        if isinstance(column, (pa.Array, pa.ChunkedArray)):
            return column.cast(field.type)
        if pa.types.is_list(field.type) and any(isinstance(value, str) for value in column):  # type: ignore[attr-defined]
            # Arrow would take a string for the list of its characters.
            raise SchemaError(f"column {field.name}: a value is a string; expected {field.type}")
        return pa.array(column, type=field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"column {field.name}: {error}; expected {field.type}") from error


def validate(tables: Tables, where: str = "tables") -> None:
    """Raises SchemaError naming the table, the column, the count and the expectation of the first fault."""
    for name in SCHEMAS:
        validate_table(name, getattr(tables, name), where)
    for source in ("events", "queries"):
        _refers(getattr(tables, source), "item_id", tables.items, f"{where}: {source}", "items")
        _refers(getattr(tables, source), "profile_id", tables.profiles, f"{where}: {source}", "profiles")


def validate_table(name: str, found: pa.Table, where: str = "tables") -> None:
    """As `validate`, of one table alone: its schema, its ids and its ranges."""
    _validate_schema(found, SCHEMAS[name], f"{where}: {name}")
    if name in _KEYS:
        require_unique(found[_KEYS[name]], f"{where}: {name}: {_KEYS[name]}")
    for column, (low, high) in RANGES[name].items():
        _in_range(found, column, low, high, f"{where}: {name}")
    for field in SCHEMAS[name]:
        if field.type == VECTOR:
            _are_vectors(found, field.name, f"{where}: {name}")


def require_unique(ids: pa.ChunkedArray, where: str) -> None:
    """Raises SchemaError, which begins with `where`, on ids of which one stands in several rows."""
    if len(pc.unique(ids)) == len(ids):
        return
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    raise SchemaError(
        f"{where} {repeated[0]['values'].as_py()!r} stands in {repeated[0]['counts'].as_py()} rows "
        f"({len(repeated)} ids repeat); expected unique ids"
    )


def with_later_columns(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table as written before a column was declared, null there; otherwise as it is."""
    for name in _LATER:
        if name in schema.names and name not in found.column_names:
            field = schema.field(name)
            found = found.append_column(field, pa.nulls(found.num_rows, field.type))
    return found


def read_tables(folder: Path) -> Tables:
    """Reads back and validates what ingest wrote.

    Raises MissingDataError where a file is not there, SchemaError where one is damaged or breaks its schema.
    """
    tables = Tables(**{name: read_table(folder, name) for name in SCHEMAS})
    validate(tables, str(folder))
    return tables


def read_table(folder: Path, name: str) -> pa.Table:
    """One table of a folder, its schema checked; raises as `read_tables` does."""
    path = table_path(folder, name)
    return as_declared(path, SCHEMAS[name], lambda: pq.read_table(path))


def table_path(folder: Path, name: str) -> Path:
    """Where a folder has one of its tables; MissingDataError where it has not."""
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise MissingDataError(f"{path}: no such table; run scripts/ingest.py to read the logs first")
    return path


def as_declared(path: Path, schema: pa.Schema, read: Callable[[], pa.Table]) -> pa.Table:
    """What is read of a file, in the columns and types of a schema; SchemaError where it has others."""
    try:
        return with_later_columns(read(), schema).select(schema.names).cast(schema)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        # Arrow tells damage as an OSError without a number; with one it comes from the system.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        columns = ", ".join(f"{f.name} {f.type}{'' if f.nullable else ' not null'}" for f in schema)
        raise SchemaError(f"{path}: {error}; expected the columns {columns}") from error


def _validate_schema(found: pa.Table, schema: pa.Schema, where: str) -> None:
    if not found.schema.equals(schema):
        raise SchemaError(f"{where}: schema is {found.schema.to_string()}; expected {schema.to_string()}")
    for field in schema:
        num_null = found[field.name].null_count
        if num_null and not field.nullable:
            raise SchemaError(
                f"{where}: {field.name} is null in {num_null} rows; expected a value in every row"
            )


def _in_range(found: pa.Table, column: str, low: float, high: float | None, where: str) -> None:
    values = found[column]
    bad = pc.or_(pc.less(values, low), pc.invert(pc.is_finite(values)))
    if high is not None:
        bad = pc.or_(bad, pc.greater(values, high))
    num_bad = pc.sum(bad).as_py() or 0
    if num_bad:
        first = values.filter(pc.fill_null(bad, False))[0].as_py()
        expected = f">= {low:g}" if high is None else f"{low:g} to {high:g}"
        raise SchemaError(
            f"{where}: {column} is {first} in the first of {num_bad} rows out of range; expected {expected}"
        )


def _are_vectors(found: pa.Table, column: str, where: str) -> None:
    """Every vector is as long as the first, and every entry a finite number."""
    given = found.filter(found[column].is_valid())
    length = pc.list_value_length(given[column])
    other = given.filter(pc.not_equal(length, length[0])) if len(length) else given
    if other.num_rows:
        raise SchemaError(
            f"{where}: {column} of {other[0][0].as_py()!r} has {len(other[column][0])} numbers, one of "
            f"{other.num_rows} such rows; expected {length[0]} in every row, as in the first"
        )
    finite = pc.fill_null(pc.is_finite(pc.list_flatten(given[column])), False)
    bad = pc.list_parent_indices(given[column]).filter(pc.invert(finite))
    if len(bad):
        raise SchemaError(
            f"{where}: {column} of {given[0][bad[0].as_py()].as_py()!r} has an entry that is no finite "
            f"number, one of {len(bad)}; expected none"
        )


def width_of(found: pa.Table) -> int | None:
    """How many numbers the first embedding of titles has; None where none has one."""
    length = pc.list_value_length(found["embedding"]).drop_null()
    return int(length[0].as_py()) if len(length) else None


def require_width(found: pa.Table, width: int | None, where: str) -> None:
    """Raises SchemaError where titles, which were validated, have embeddings of another width than this."""
    own = width_of(found)
    if own is not None and own != width:
        raise SchemaError(
            f"{where}: embedding has {own} numbers; expected {width}, as in the first row with one"
        )


def _refers(found: pa.Table, column: str, target: pa.Table, where: str, target_name: str) -> None:
    values = found[column].drop_null()
    missing = values.filter(pc.invert(pc.is_in(values, value_set=target[column].combine_chunks())))
    if len(missing):
        raise SchemaError(
            f"{where}: {column} {missing[0].as_py()!r} is not in {target_name} ({len(missing)} such rows); "
            f"expected every {column} to be there"
        )
