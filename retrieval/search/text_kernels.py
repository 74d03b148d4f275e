"""The words of one text → the means of the embeddings of their n-grams → its vector, in machine code."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from retrieval.index.compiled import compiled

_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MIX_FIRST, _MIX_SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_LEAST = np.float32(1e-12)
_EPSILON = np.float32(1e-5)
"""Of torch's layer norm."""
_MOST_WEIGHT = np.float32(20.0)


class TextWeights(NamedTuple):
    """The layers of `towers.nets.query_tower.QueryTower`, matrices by input; norms: scale, shift.

    C-contiguous float32: numba compiles anew for any other layout.
    """

    before: Float32[np.ndarray, "D D"]
    place: Float32[np.ndarray, "M D"]
    weigh_norm: Float32[np.ndarray, "2 D"]
    weigh: Float32[np.ndarray, " D"]
    weigh_bias: Float32[np.ndarray, " 1"]
    refine_norm: Float32[np.ndarray, "2 D"]
    inner: Float32[np.ndarray, "D H"]
    inner_bias: Float32[np.ndarray, " H"]
    outer: Float32[np.ndarray, "H D"]
    outer_bias: Float32[np.ndarray, " D"]
    middle: Float32[np.ndarray, " D"]
    gate_norm: Float32[np.ndarray, "2 D"]
    gate: Float32[np.ndarray, " D"]
    gate_bias: Float32[np.ndarray, " 1"]


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


@compiled
def text_vector(
    word: Float32[np.ndarray, "w D"],
    beside: Float32[np.ndarray, " D"],
    weights: TextWeights,
    out: Float32[np.ndarray, " D"],
) -> np.float32:
    """Writes the vector of a text by its words, not yet of unit length; gives its gate.

    beside: what is added to the sum of the words, W e + b of the text by a backbone; zeros without one.
    """
    dim = word.shape[1]
    pooled = np.zeros(dim, np.float32)
    seen, normed = np.empty(dim, np.float32), np.empty(dim, np.float32)
    total = np.float32(0.0)
    for one in range(len(word)):
        seen[:] = word[one] + weights.place[one]
        if one > 0:
            _add_product(word[one - 1], weights.before, seen)
        _norm(seen, weights.weigh_norm, normed)
        chance = np.float32(math.exp(min(_dot(normed, weights.weigh) + weights.weigh_bias[0], _MOST_WEIGHT)))
        total += chance
        for entry in range(dim):
            pooled[entry] += chance * seen[entry]
    for entry in range(dim):
        pooled[entry] = pooled[entry] / max(total, _LEAST) + beside[entry]
    _norm(pooled, weights.refine_norm, normed)
    inner = weights.inner_bias.copy()
    _add_product(normed, weights.inner, inner)
    for entry in range(len(inner)):  # GELU
        inner[entry] *= np.float32(0.5) * np.float32(1.0 + math.erf(inner[entry] / math.sqrt(2.0)))
    out[:] = weights.middle + pooled + weights.outer_bias
    _add_product(inner, weights.outer, out)
    _norm(pooled, weights.gate_norm, normed)
    gate = _dot(normed, weights.gate) + weights.gate_bias[0]
    return np.float32(max(gate, np.float32(0.0)) + math.log1p(math.exp(-abs(gate))))  # softplus


@compiled
def _dot(left: Float32[np.ndarray, " D"], right: Float32[np.ndarray, " D"]) -> np.float32:
    total = np.float32(0.0)
    for entry in range(len(left)):
        total += left[entry] * right[entry]
    return total


@compiled
def _add_product(
    vector: Float32[np.ndarray, " I"], matrix: Float32[np.ndarray, "I O"], out: Float32[np.ndarray, " O"]
) -> None:
    for row in range(len(vector)):
        for entry in range(len(out)):
            out[entry] += vector[row] * matrix[row, entry]


@compiled
def _norm(
    vector: Float32[np.ndarray, " D"], norm: Float32[np.ndarray, "2 D"], out: Float32[np.ndarray, " D"]
) -> None:
    """Layer norm."""
    mean, spread = np.float32(0.0), np.float32(0.0)
    for entry in range(len(vector)):
        mean += vector[entry]
    mean /= np.float32(len(vector))
    for entry in range(len(vector)):
        spread += (vector[entry] - mean) ** 2
    scale = np.float32(1.0) / np.float32(math.sqrt(spread / np.float32(len(vector)) + _EPSILON))
    for entry in range(len(vector)):
        out[entry] = (vector[entry] - mean) * scale * norm[0, entry] + norm[1, entry]
