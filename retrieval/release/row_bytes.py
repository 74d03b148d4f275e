"""A canonical encoding of the lines of a table: equal lines have equal bytes, and others have others.

    null            0
    a number        1, then its bytes, lowest first; every NaN is one, and so is every zero
    a text          1, its length in bytes as uint32, UTF-8
    a list          1, its length in entries as uint32, the entries
    a struct        0 or 1, then its fields, which are null where it is
    a line          its columns, one after another

What is stored of lines rests on these bytes: they are never encoded otherwise.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64, UInt8

from retrieval.index.compiled import compiled
from retrieval.siphash import padded_bytes

_LENGTH_BYTES = 4
"""In which a text or a list says how long it is."""


class Encoded(NamedTuple):
    """n strings of bytes: data[start:start + length]; zeros between them, each at a whole word of eight."""

    data: UInt8[np.ndarray, " B"]
    start: Int64[np.ndarray, " n"]
    length: Int64[np.ndarray, " n"]


def encoded_lines(table: pa.Table) -> Encoded:
    """Every line of a table; TypeError where a column is of a type that has no encoding here."""
    everywhere = np.ones(table.num_rows, bool)
    columns = [_values(_one(column), everywhere) for column in table.itercolumns()]
    length = sum((column.length for column in columns), np.zeros(table.num_rows, np.int64))
    data, start = _written(columns, padded_bytes(length))
    return Encoded(data, start[:-1], length)


class _Values(NamedTuple):
    """n values: so many bytes each, and what writes them, each at a place that it moves behind the value."""

    length: Int64[np.ndarray, " n"]
    put: Callable[[np.ndarray, np.ndarray], None]


def _written(columns: Sequence[_Values], length: Int64[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of lines of so much room each, and where each begins; one place more: where the last ends."""
    start = _starts(length)
    data, at = np.zeros(start[-1], np.uint8), start[:-1].copy()
    for column in columns:
        column.put(at, data)
    return data, start


def _values(array: pa.Array, there: Bool[np.ndarray, " n"]) -> _Values:
    """there: where a value is null although the array has one, as in a struct that is null, it is False."""
    valid = there & _valid(array)
    if pa.types.is_struct(array.type):
        return _structs(array, valid)
    if _is_text(array.type):
        edge, text = _offsets(array), array.buffers()[2]
        data = np.frombuffer(text, np.uint8) if text else np.empty(0, np.uint8)
        num = np.diff(edge)
        return _Values(_long(num, valid), lambda at, out: _put_long(data, edge, num, valid, at, out))
    if _is_list(array.type):
        return _lists(array, valid)
    value = _numbers(array)
    return _Values(1 + valid * value.shape[1], lambda at, out: _put_fixed(value, valid, at, out))


def _structs(array: pa.Array, valid: Bool[np.ndarray, " n"]) -> _Values:
    fields = [_values(array.field(place), valid) for place in range(array.type.num_fields)]
    nothing = np.empty((len(array), 0), np.uint8)

    def put(at: np.ndarray, out: np.ndarray) -> None:
        _put_fixed(nothing, valid, at, out)
        for field in fields:
            field.put(at, out)

    return _Values(sum((field.length for field in fields), np.ones(len(array), np.int64)), put)


def _lists(array: pa.Array, valid: Bool[np.ndarray, " n"]) -> _Values:
    offset = _offsets(array)
    inside = array.values.slice(offset[0], offset[-1] - offset[0])
    entries = _values(inside, np.ones(len(inside), bool))
    edge, num = _starts(entries.length)[offset - offset[0]], np.diff(offset)

    def put(at: np.ndarray, out: np.ndarray) -> None:
        data, _ = _written([entries], entries.length)
        _put_long(data, edge, num, valid, at, out)

    return _Values(_long(np.diff(edge), valid), put)


def _long(num_bytes: Int64[np.ndarray, " n"], valid: Bool[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """What a text or a list takes, of so many bytes inside."""
    whole: np.ndarray = 1 + valid * (_LENGTH_BYTES + num_bytes)
    return whole


def _numbers(array: pa.Array) -> UInt8[np.ndarray, "n w"]:
    """The bytes of numbers; those of null are of no meaning."""
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind)):
        raise TypeError(f"a column of {kind}; expected numbers, texts, times, and lists and structs of them")
    if pa.types.is_timestamp(array.type):
        array = array.view(pa.int64())
    values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(array.type):
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values + values.dtype.type(0))
    ordered = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return ordered.view(np.uint8).reshape(len(array), ordered.dtype.itemsize)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _offsets(array: pa.Array) -> Int64[np.ndarray, " n1"]:
    """Where each text or list begins among its bytes or entries."""
    large = pa.types.is_large_string(array.type) or pa.types.is_large_list(array.type)
    kind = np.dtype(np.int64 if large else np.int32)
    ends = array.buffers()[1]
    if len(array) == 0 or ends is None:
        return np.zeros(1, np.int64)
    return np.frombuffer(ends, kind, len(array) + 1, kind.itemsize * array.offset).astype(np.int64)


def _valid(array: pa.Array) -> Bool[np.ndarray, " n"]:
    if array.null_count == 0:
        return np.ones(len(array), bool)
    valid: np.ndarray = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _starts(length: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n1"]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(length)])


def _one(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


# Places are counted without a sign: of others numba asks whether they count from the end, byte by byte.


@compiled
def _put_fixed(value: np.ndarray, valid: np.ndarray, at: np.ndarray, out: np.ndarray) -> None:
    width = np.uint64(value.shape[1])
    for i in range(len(valid)):
        place = np.uint64(at[i])
        if valid[i]:
            out[place] = 1
            for j in range(width):
                out[place + np.uint64(1) + j] = value[i, j]
            place += width
        at[i] = place + np.uint64(1)


@compiled
def _put_long(
    data: np.ndarray, edge: np.ndarray, length: np.ndarray, valid: np.ndarray, at: np.ndarray, out: np.ndarray
) -> None:
    for i in range(len(valid)):
        place, said = np.uint64(at[i]), np.uint64(length[i])
        if valid[i]:
            out[place] = 1
            for j in range(np.uint64(4)):
                out[place + np.uint64(1) + j] = np.uint8(said >> (np.uint64(8) * j))
            place += np.uint64(4)
            first, num = np.uint64(edge[i]), np.uint64(edge[i + 1] - edge[i])
            for j in range(num):
                out[place + np.uint64(1) + j] = data[first + j]
            place += num
        at[i] = place + np.uint64(1)
