"""Candidates of a coarser search, scored by the vectors themselves."""

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.index.compiled import compiled, sort_into
from retrieval.index.prefetch import prefetch
from retrieval.index.spec import nothing_found
from retrieval.index.threads import in_spans

# Vectors that are asked for while another is multiplied.
_AHEAD = 8


def refined(
    vectors: Float32[np.ndarray, "N D"],
    query: Float32[np.ndarray, "Q D"],
    row: Int64[np.ndarray, "Q C"],
    k: int,
) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
    """Scores and rows of the best k of each query's candidates, as `Index.search` gives them.

    row: candidates, none twice in a line; -1 is none.
    """
    score_out, row_out = nothing_found(len(query), k)
    whole, given = np.ascontiguousarray(vectors), np.ascontiguousarray(query)

    def span(first: int, last: int) -> None:
        _refine(given, first, last, whole, row, score_out, row_out)

    in_spans(span, len(query))
    return score_out, row_out


@compiled
def _refine(
    query: np.ndarray,  # float32 (Q, D)
    first: int,
    last: int,
    vectors: np.ndarray,  # float32 (N, D)
    row: np.ndarray,  # int64 (Q, C)
    score_out: np.ndarray,  # float32 (Q, K)
    row_out: np.ndarray,  # int64 (Q, K)
) -> None:
    """Writes the first places of the answers that something fills."""
    width, dimension = row.shape[1], vectors.shape[1]
    score, kept = np.empty(width, np.float32), np.empty(width, np.int64)
    best, best_row = np.empty(width, np.float32), np.empty(width, np.int64)
    for one in range(first, last):
        size = 0
        for i in range(width):
            if row[one, i] >= 0:
                kept[size] = row[one, i]
                size += 1
        for i in range(size):
            if i + _AHEAD < size:
                prefetch(vectors, kept[i + _AHEAD] * (4 * dimension), 4 * dimension)
            total = np.float32(0.0)
            for d in range(dimension):
                total += vectors[kept[i], d] * query[one, d]
            score[i] = total
        sort_into(score, kept, size, best, best_row)
        filled = min(size, row_out.shape[1])
        score_out[one, :filled] = best[:filled]
        row_out[one, :filled] = best_row[:filled]
