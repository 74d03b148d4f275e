"""Which lines of two tables differ, in columns of any type: texts, numbers, and lists and structs of them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool


def differing(first: pa.ChunkedArray, second: pa.ChunkedArray) -> Bool[np.ndarray, " n"]:
    """Where two columns of one length and type hold something else; null equals null, and NaN equals NaN."""
    if first.equals(second):
        return np.zeros(len(first), bool)
    return ~_same(_one(first), _one(second))


def _same(a: pa.Array, b: pa.Array) -> np.ndarray:
    """Whether values are equal, (n,)."""
    known, other_known = (each.is_valid().to_numpy(zero_copy_only=False) for each in (a, b))
    both = known & other_known
    same: np.ndarray = known == other_known
    if pa.types.is_struct(a.type):
        for place in range(a.type.num_fields):
            same &= ~both | _same(a.field(place), b.field(place))
        return same
    if pa.types.is_list(a.type) or pa.types.is_large_list(a.type):
        same &= ~both | _same_lists(a, b, both)
        return same
    equal = pc.fill_null(pc.equal(a, b), False).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(a.type):
        nan = [pc.fill_null(pc.is_nan(each), False).to_numpy(zero_copy_only=False) for each in (a, b)]
        equal = equal | (nan[0] & nan[1])
    same &= ~both | equal
    return same


def _same_lists(a: pa.Array, b: pa.Array, both: np.ndarray) -> np.ndarray:
    """Of lists: as long, and equal place by place."""
    length, other = (pc.fill_null(pc.list_value_length(each), 0).to_numpy() for each in (a, b))
    same: np.ndarray = both & (length == other)
    of_one_length = pa.array(np.flatnonzero(same))
    entries, others = (pc.list_flatten(each.take(of_one_length)) for each in (a, b))
    line = np.repeat(np.flatnonzero(same), length[same])
    same[line[~_same(entries, others)]] = False
    return same


def _one(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
