"""What every search of a partition takes: queries in units of the codes, exact scores of candidates."""

import numpy as np

from retrieval.index.compiled import compiled
from retrieval.index.partitioned.dots import dots_at
from retrieval.index.prefetch import prefetch

# So many vectors on is asked for while one is multiplied.
_AHEAD = 8


@compiled
def score_by_codes(
    found: np.ndarray,
    found_at: np.ndarray,
    size: int,
    factor: np.float32,
    tail: np.ndarray,
    tail_query: np.ndarray,
    tail_factor: np.float32,
    length: np.float32,
    out: np.ndarray,
) -> None:
    """Scores by the codes of all coordinates: those of the first are known."""
    rest = np.empty(size, np.int32)
    dots_at(tail, tail_query, found_at[:size], rest)
    for i in range(size):
        out[i] = (np.float32(found[i]) / factor + np.float32(rest[i]) / tail_factor) * length


@compiled
def score_by_vectors(
    rows: np.ndarray, size: int, vectors: np.ndarray, query: np.ndarray, out: np.ndarray
) -> None:
    """Inner products of the query with the vectors of these rows."""
    dimension = vectors.shape[1]
    for i in range(size):
        if i + _AHEAD < size:
            prefetch(vectors, np.int64(rows[i + _AHEAD]) * (4 * dimension), 4 * dimension)
        total = np.float32(0.0)
        for d in range(dimension):
            total += vectors[rows[i], d] * query[d]
        out[i] = total


@compiled
def answer(score: np.ndarray, row: np.ndarray, size: int, score_out: np.ndarray, row_out: np.ndarray) -> None:
    """Writes the first places of what is sorted, a row that two lists share once, and padding behind."""
    filled = 0
    for i in range(size):
        if filled < len(row_out) and (i == 0 or row[i] != row[i - 1]):
            score_out[filled], row_out[filled] = score[i], row[i]
            filled += 1
    score_out[filled:] = -np.inf
    row_out[filled:] = -1


@compiled
def to_unit(query: np.ndarray, out: np.ndarray) -> np.float32:
    """Writes the query by its largest entry, which is given: what comes of it stays within float32."""
    largest = np.float32(0.0)
    finite = True
    for d in range(len(query)):
        largest = max(largest, abs(query[d]))
        finite = finite and np.isfinite(query[d])
    if not finite:
        return np.float32(np.inf)
    divisor = largest if largest > np.float32(0.0) else np.float32(1.0)
    for d in range(len(query)):
        out[d] = query[d] / divisor
    return divisor


@compiled
def in_16_bits(query: np.ndarray, scale: np.ndarray, start: int, out: np.ndarray) -> np.float32:
    """Writes query · scale from dimension `start` on in 16 bits; gives what their sums are divided by."""
    largest = np.float32(0.0)
    for d in range(len(out)):
        largest = max(largest, abs(query[start + d] * scale[start + d]))
    factor = np.float32(32767.0) / largest if largest > np.float32(1e-30) else np.float32(1.0)
    for d in range(len(out)):
        out[d] = np.int16(np.rint(query[start + d] * scale[start + d] * factor))
    return factor
