"""Source columns of features, attributes among them, as flat Arrow arrays and numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64, Int64

from towers.data.days import SECONDS_PER_DAY
from towers.data.features import ATTRIBUTE
from towers.errors import SchemaError


def source_column(table: pa.Table, column: str) -> pa.Array:
    """A column by name, or the values of `attributes.<name>`, null where a row has no such attribute.

    A table may also hold an attribute flat, as a column of that whole name. Raises SchemaError where it
    holds neither.
    """
    if column in table.column_names:
        return _whole(table[column])
    if not column.startswith(ATTRIBUTE) or "attributes" not in table.column_names:
        raise SchemaError(f"table: has no {column}, only {', '.join(table.column_names)}")
    return _attribute(_whole(table["attributes"]), column.removeprefix(ATTRIBUTE))


def texts(table: pa.Table, column: str) -> pa.Array:
    """large_string (N,): the values of a column as text, null where there is none or it is empty."""
    return _filled(_as_text(source_column(table, column)))


def listed_texts(table: pa.Table, column: str, first: int) -> tuple[Int64[np.ndarray, " V"], pa.Array]:
    """The rows and the values of a column of lists, flat, in order; the first so many of each, 0 for all.

    Nulls and empty texts in a list count as places in it, and are then left out.
    """
    row, _, values = placed_texts(table, column, first)
    return row, values


def placed_texts(
    table: pa.Table, column: str, first: int
) -> tuple[Int64[np.ndarray, " V"], Int64[np.ndarray, " V"], pa.Array]:
    """As `listed_texts`, with the place of each value in its list, from 0, between the two."""
    lists = source_column(table, column)
    row = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    values = _filled(_as_text(lists.flatten()))
    length = np.bincount(row, minlength=len(lists))
    place = np.arange(len(row)) - (np.cumsum(length) - length)[row]
    kept = values.is_valid().to_numpy(zero_copy_only=False)
    if first:
        kept &= place < first
    return row[kept], place[kept], values.filter(pa.array(kept))


def numbers(table: pa.Table, column: str) -> Float64[np.ndarray, " N"]:
    """The values of a column as numbers, NaN where there is none or it is not finite; text is read as one.

    Raises SchemaError where a text is no number.
    """
    values = source_column(table, column)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = _filled(values)
    elif pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    try:
        found: np.ndarray = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise SchemaError(f"{column}: {error}; expected numbers, or text that reads as one") from error
    return np.where(np.isfinite(found), found, np.nan)


def days(table: pa.Table, column: str) -> Float64[np.ndarray, " N"]:
    """The times of a column in days since 1970, NaN where there is none."""
    milliseconds = source_column(table, column).cast(pa.timestamp("ms", "UTC")).cast(pa.int64())
    number = milliseconds.cast(pa.float64()).to_numpy(zero_copy_only=False)
    found: np.ndarray = number / (1000.0 * SECONDS_PER_DAY)
    return found


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _as_text(values: pa.Array) -> pa.Array:
    return values.cast(pa.large_string())


def _filled(values: pa.Array) -> pa.Array:
    """Null in place of the empty text."""
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, values.type), values)


def _attribute(attributes: pa.Array, name: str) -> pa.Array:
    flat = attributes.flatten()
    named = pc.fill_null(pc.equal(pc.struct_field(flat, "name"), name), False)
    row = pc.list_parent_indices(attributes).filter(named).to_numpy()
    values = pc.struct_field(flat, "value").filter(named)
    row, first = np.unique(row, return_index=True)
    place = np.full(len(attributes), -1)
    place[row] = first
    return values.take(pa.array(place, mask=place < 0))
