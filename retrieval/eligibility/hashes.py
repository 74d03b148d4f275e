"""Hashes of many strings at once, as they lie in a column."""

import numpy as np
import pyarrow as pa
from jaxtyping import UInt64

from retrieval.index.compiled import compiled


def hashes(names: pa.Array) -> tuple[UInt64[np.ndarray, " E"], UInt64[np.ndarray, " E"]]:
    """Two hashes of each string of a large_string column without null: equal strings have equal ones.

    The first is FNV-1a, the second a polynomial of another base, both mixed (Steele et al., OOPSLA 2014,
    doi:10.1145/2660193.2660195). They are not for those who choose strings in order to deceive.
    """
    _, ends, text = names.buffers()
    offset = np.zeros(1, np.int64)
    if len(names):
        offset = np.frombuffer(ends, np.int64, len(names) + 1, 8 * names.offset)
    data = np.frombuffer(text, np.uint8) if text else np.empty(0, np.uint8)
    first, second = np.empty(len(names), np.uint64), np.empty(len(names), np.uint64)
    _hash(offset, data, first, second)
    return first, second


@compiled
def _hash(offset: np.ndarray, data: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    for i in range(len(first)):
        one, other = np.uint64(0xCBF29CE484222325), np.uint64(0)
        for at in range(offset[i], offset[i + 1]):
            byte = np.uint64(data[at])
            one = (one ^ byte) * np.uint64(0x100000001B3)
            other = (other + byte + np.uint64(1)) * np.uint64(0xD6E8FEB86659FD93)
        first[i], second[i] = _mixed(one), _mixed(other)


@compiled
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
