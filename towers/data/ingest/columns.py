"""A raw column, text or typed → the schema's type, and which of its values do not fit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from towers.data.ingest.report import Rule
from towers.data.raw import FAULT, ROW, TEXT, RawTable, TimeUnit
from towers.data.schema import ATTRIBUTES, FIRST_YEAR, LAST_YEAR, LICENCES, RANGES, SCHEMAS, TIME, VECTOR
from towers.errors import SchemaError

if TYPE_CHECKING:
    FrameType = pl.DataType
else:
    FrameType = object  # beartype, in tests, takes no hint of a class that hides how it is called
"""The type of a column of a frame."""

_BLANKS = " \t\r\n"
_TRUE, _FALSE = ("1", "true", "t", "yes", "y"), ("0", "false", "f", "no", "n")
# Milliseconds per unit. Of a number too large for one unit, the next finer one is meant.
_MS = {
    TimeUnit.SECONDS: 1000.0,
    TimeUnit.MILLISECONDS: 1.0,
    TimeUnit.MICROSECONDS: 1e-3,
    TimeUnit.NANOSECONDS: 1e-6,
}
_LARGEST_SECONDS = 1e11  # of the year 5138; as milliseconds it is 1973
_HEAD_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """How one column of a raw frame is read.

    value: the column in its schema type; null where the value is missing or does not fit.
    faults: rule → where a value breaks it; never null, and no row breaks two. The value is null there, and
    what stands in the source is not.
    repaired: rule → the value to take under the policy `repair`, null where there is none.
    quick: the value of texts written in the usual way, at less cost; null where `value` must be asked.
    """

    name: str
    value: pl.Expr
    faults: Mapping[Rule, pl.Expr]
    repaired: Mapping[Rule, pl.Expr]
    quick: pl.Expr | None = None


def readings(table: str, raw: RawTable, clock_ms: tuple[int, int]) -> list[Reading]:
    """How each column of the raw table that the schema knows is read.

    Raises SchemaError on a column that the schema does not have, or whose type no reading fits.
    """
    schema, found = SCHEMAS[table], raw.frame.collect_schema()
    unknown = [name for name in found.names() if name not in (*schema.names, ROW, FAULT, TEXT)]
    if unknown:
        raise SchemaError(
            f"{raw.path}: columns {unknown} are none of {table}; expected some of {', '.join(schema.names)}"
        )
    return [
        _reading(table, raw, schema.field(name), found[name], clock_ms)
        for name in schema.names
        if name in found
    ]


def frame_type(kind: pa.DataType) -> FrameType:
    """The Polars type of an Arrow type."""
    series: Any = pl.from_arrow(pa.nulls(0, kind))
    found: FrameType = series.dtype
    return found


def _reading(
    table: str, raw: RawTable, field: pa.Field, found: FrameType, clock_ms: tuple[int, int]
) -> Reading:
    name, column = field.name, pl.col(field.name)
    text = _text(column) if found == pl.String else None
    match field.type:
        case kind if kind == TIME:
            unit = _clock(raw, name, found)
            if table == "items":
                return _release(name, column, text, found, unit, raw)
            return _moment(name, column, text, found, unit, clock_ms)
        case kind if kind in (LICENCES, ATTRIBUTES):
            if not isinstance(found, pl.List):
                raise SchemaError(f"{raw.path}: {name} is {found}; expected {kind}")
            return Reading(name, column.cast(frame_type(kind)), {}, {})
        case kind if kind == VECTOR:
            return _vector(name, column, text, found, raw)
        case kind if pa.types.is_list(kind):
            return _list(name, column, text, found, raw)
        case kind if pa.types.is_boolean(kind):
            return _boolean(name, column, text, found)
        case kind if pa.types.is_string(kind):
            return _string(name, column, text, found)
        case kind:
            bounds = RANGES[table].get(name, (None, None))
            whole = pa.types.is_integer(kind)
            scale, to = raw.scale.get(name), frame_type(kind)
            number = _number(column, text, found, scale)
            reading = _numeric(name, column if text is None else text, number, bounds, to, whole)
            if text is None:
                return reading
            as_it_stands = _number(column, None, pl.Float64(), scale)
            return replace(reading, quick=_numeric(name, column, as_it_stands, bounds, to, whole).value)


def _text(column: pl.Expr) -> pl.Expr:
    """The text without blanks around it; null where nothing is left."""
    bare = column.str.strip_chars(_BLANKS)
    return pl.when(bare.str.len_bytes() > 0).then(bare)


def _string(name: str, column: pl.Expr, text: pl.Expr | None, found: FrameType) -> Reading:
    if text is not None:
        return Reading(name, text, {}, {})
    if found.is_float():
        # An integer column with missing values, as data frames write it: 7.0 is the id "7".
        whole = column.is_finite() & (column == column.floor())
        value = pl.when(whole).then(column.cast(pl.Int64, strict=False)).cast(pl.String)
        missing = column.is_nan().fill_null(True)
        return Reading(name, value, {Rule.TYPE: ~missing & value.is_null()}, {})
    return Reading(name, _text(column.cast(pl.String)), {}, {})


def _boolean(name: str, column: pl.Expr, text: pl.Expr | None, found: FrameType) -> Reading:
    if found == pl.Boolean:
        return Reading(name, column, {}, {})
    said = (
        text if text is not None else column.cast(pl.Int64, strict=False).cast(pl.String)
    ).str.to_lowercase()
    value = pl.when(said.is_in(_TRUE)).then(True).when(said.is_in(_FALSE)).then(False)
    given = text if text is not None else column
    return Reading(name, value, {Rule.TYPE: given.is_not_null() & value.is_null()}, {})


def _list(name: str, column: pl.Expr, text: pl.Expr | None, found: FrameType, raw: RawTable) -> Reading:
    if text is not None:
        separator = raw.separator.get(name)
        listed = text.str.split(separator) if separator else pl.concat_list(text)
        listed = pl.when(text.is_not_null()).then(listed)
    elif isinstance(found, pl.List):
        listed = column.cast(pl.List(pl.String))
    else:
        raise SchemaError(f"{raw.path}: {name} is {found}; expected a list of texts, or a text")
    element = pl.element().str.strip_chars(_BLANKS)
    cleaned = listed.list.eval(element.filter(element.str.len_bytes() > 0))
    return Reading(name, pl.when(cleaned.list.len() > 0).then(cleaned), {}, {})


def _vector(name: str, column: pl.Expr, text: pl.Expr | None, found: FrameType, raw: RawTable) -> Reading:
    """A vector of finite numbers: null where one of them is not."""
    if text is not None:
        given = text.str.extract_all(r"[^\[\],;\s]+")
    elif isinstance(found, pl.Array):
        given = column.arr.to_list()
    elif isinstance(found, pl.List):
        given = column
    else:
        raise SchemaError(f"{raw.path}: {name} is {found}; expected a list of numbers, or a text of them")
    given = pl.when(given.list.len() > 0).then(given)
    numbers = given.cast(pl.List(pl.Float32), strict=False)
    whole = numbers.list.eval(pl.element().is_finite().fill_null(False)).list.all()
    return Reading(name, pl.when(whole).then(numbers), {Rule.TYPE: (~whole).fill_null(False)}, {})


def _number(column: pl.Expr, text: pl.Expr | None, found: FrameType, scale: float | None) -> pl.Expr:
    if text is None and not (found.is_numeric() or found == pl.Boolean or found == pl.Null):
        raise SchemaError(f"{column.meta.output_name()} is {found}; expected numbers, or texts of numbers")
    number = (column if text is None else text).cast(pl.Float64, strict=False)
    return number if scale is None else number * scale


def _numeric(
    name: str,
    given: pl.Expr,
    number: pl.Expr,
    bounds: tuple[float | None, float | None],
    kind: FrameType,
    whole: bool,
) -> Reading:
    """A number in its bounds. NaN is how data frames write a missing one: null, and no fault."""
    low, high = bounds
    inside = number.is_finite()
    if low is not None:
        inside &= number >= low
    if high is not None:
        inside &= number <= high
    no_number = given.is_not_null() & number.is_null()
    fits = inside
    if whole:
        is_whole = (number == number.floor()).fill_null(True) | ~number.is_finite()
        no_number |= ~is_whole.fill_null(True)
        fits = inside & is_whole
    outside = (~inside & number.is_not_nan()).fill_null(False) & ~no_number
    value = pl.when(fits).then(number).cast(kind, strict=False)
    return Reading(name, value, {Rule.TYPE: no_number, Rule.RANGE: outside}, {})


def _clock(raw: RawTable, name: str, found: FrameType) -> TimeUnit | None:
    """The unit of a column of times; None where they are dates, or texts that are no numbers."""
    if found.is_temporal():
        return None
    head = raw.frame.select(name).head(_HEAD_ROWS).collect().to_series()
    number = head.cast(pl.Float64, strict=False).drop_nulls().drop_nans()
    if 2 * len(number) < len(head.drop_nulls()):
        return None
    if raw.time_unit is not TimeUnit.AUTO:
        return raw.time_unit
    median = number.abs().median()
    size = float(median) if isinstance(median, int | float) else 0.0
    for unit, factor in _MS.items():
        if size * factor <= _LARGEST_SECONDS * 1000.0:
            return unit
    return TimeUnit.NANOSECONDS


def _moment(
    name: str,
    column: pl.Expr,
    text: pl.Expr | None,
    found: FrameType,
    unit: TimeUnit | None,
    clock_ms: tuple[int, int],
) -> Reading:
    repaired: dict[Rule, pl.Expr] = {}
    if found.is_temporal():
        ms = _naive_ms(column, found)
    elif unit is None:
        ms = _iso_ms(text if text is not None else column.cast(pl.String))
    else:
        ms = _in_ms(column if text is None else text, unit, found)
        given = column if text is None else text
        others = [_in_ms(given, other, found) for other in _MS if other is not unit]
        fitting = [pl.when(other.is_between(*clock_ms, closed="left")).then(other) for other in others]
        repaired[Rule.CLOCK] = _as_time(pl.coalesce(fitting))
    given = column if text is None else text
    inside = ms.is_between(*clock_ms, closed="left")
    faults = {
        Rule.TYPE: given.is_not_null() & ms.is_null(),
        Rule.CLOCK: (~inside).fill_null(False),
    }
    quick = None
    if text is not None and unit is not None:
        whole = _in_ms(column, unit, pl.Int64())
        quick = _as_time(pl.when(whole.is_between(*clock_ms, closed="left")).then(whole))
    return Reading(name, _as_time(pl.when(inside).then(ms)), faults, repaired, quick)


def _release(
    name: str, column: pl.Expr, text: pl.Expr | None, found: FrameType, unit: TimeUnit | None, raw: RawTable
) -> Reading:
    """A moment of a title, which no clock of events bounds: one out of range is not repaired to another.

    Numbers whose unit the source does not say are no moments: 2013 and 20130614 would be minutes of 1970.
    """
    unit = None if raw.time_unit is TimeUnit.AUTO else unit
    low, high = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000) for year in (FIRST_YEAR, LAST_YEAR))
    read = _moment(name, column, text, found, unit, (low, high))
    faults = {Rule.TYPE: read.faults[Rule.TYPE], Rule.RANGE: read.faults[Rule.CLOCK]}
    return replace(read, faults=faults, repaired={})


def _as_time(ms: pl.Expr) -> pl.Expr:
    return ms.cast(pl.Datetime("ms", "UTC"))


def _in_ms(given: pl.Expr, unit: TimeUnit, given_type: FrameType) -> pl.Expr:
    """Milliseconds of whole numbers exactly, of others to the nearest."""
    whole = given.cast(pl.Int64, strict=False)
    match unit:
        case TimeUnit.SECONDS:
            exact = whole * 1000
        case TimeUnit.MILLISECONDS | TimeUnit.AUTO:
            exact = whole
        case TimeUnit.MICROSECONDS:
            exact = whole.floordiv(1000)
        case TimeUnit.NANOSECONDS:
            exact = whole.floordiv(1_000_000)
    if given_type.is_integer():
        return exact
    decimal = (given.cast(pl.Float64, strict=False) * _MS[unit]).round().cast(pl.Int64, strict=False)
    return pl.coalesce(exact, decimal)


def _naive_ms(column: pl.Expr, found: FrameType) -> pl.Expr:
    """Milliseconds of dates and datetimes; without a zone they are taken as UTC."""
    if found == pl.Date:
        return column.cast(pl.Datetime("ms")).dt.epoch("ms")
    if isinstance(found, pl.Datetime):
        return column.dt.epoch("ms")
    raise SchemaError(f"{column.meta.output_name()} is {found}; expected a date, a datetime or a number")


def _iso_ms(text: pl.Expr) -> pl.Expr:
    """Milliseconds of ISO 8601 texts; without an offset they are taken as UTC."""
    spaced = text.str.replace("T", " ", literal=True).str.replace("Z$", "+00:00")
    seconds = "%Y-%m-%d %H:%M:%S%.f"
    return pl.coalesce(
        spaced.str.to_datetime(seconds, time_unit="ms", strict=False).dt.epoch("ms"),
        spaced.str.to_datetime(f"{seconds}%#z", time_unit="ms", time_zone="UTC", strict=False).dt.epoch("ms"),
        spaced.str.to_datetime("%Y-%m-%d %H:%M", time_unit="ms", strict=False).dt.epoch("ms"),
        spaced.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("ms")).dt.epoch("ms"),
    )
