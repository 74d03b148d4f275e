"""The words of one text → the means of the embeddings of their n-grams, in machine code."""

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from retrieval.index.compiled import compiled

_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MIX_FIRST, _MIX_SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)


@compiled
def word_means(
    byte: UInt8[np.ndarray, " b"],
    edge: Int64[np.ndarray, " w1"],
    shortest: int,
    longest: int,
    table: Float32[np.ndarray, "R D"],
    learned: Bool[np.ndarray, " R"],
    out: Float32[np.ndarray, "w D"],
) -> int:
    """Writes the vector of each word of which an n-gram was learned, one after another; gives how many.

    byte: UTF-8 of all words, each marked at its ends; word i is byte[edge[i]:edge[i + 1]]. It has itself and
    every run of `shortest` to `longest` of its characters, hashed as `towers.data.hashing.buckets_of` does.
    """
    num_buckets, dim = np.uint64(len(table)), table.shape[1]
    start = np.empty(len(byte) + 1, np.int64)
    size = 0
    for word in range(len(edge) - 1):
        num_chars = 0
        for place in range(edge[word], edge[word + 1]):
            if byte[place] & 0xC0 != 0x80:  # what continues no character begins one
                start[num_chars] = place
                num_chars += 1
        start[num_chars] = edge[word + 1]
        mean = out[size]
        mean[:] = 0.0
        num_grams, known = 0, False
        for length in range(shortest - 1, longest + 1):
            # The round before the shortest is the word itself.
            own = num_chars if length < shortest else length
            for first in range(num_chars - own + 1):
                hashed = _FNV_OFFSET
                for place in range(start[first], start[first + own]):
                    hashed = (hashed ^ np.uint64(byte[place])) * _FNV_PRIME
                hashed ^= hashed >> _SHIFT
                hashed *= _MIX_FIRST
                hashed ^= hashed >> _SHIFT
                hashed *= _MIX_SECOND
                hashed ^= hashed >> _SHIFT
                bucket = np.int64(hashed % num_buckets)
                num_grams += 1
                known |= learned[bucket]
                for entry in range(dim):
                    mean[entry] += table[bucket, entry]
        if known:
            for entry in range(dim):
                mean[entry] /= np.float32(num_grams)
            size += 1
    return size
