"""Exact search of what is allowed: every row that passes is scored, and no other."""

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.index.allowed import Allowed
from retrieval.index.compiled import compiled, holds, passes, sort_into
from retrieval.index.spec import check_query, nothing_found
from retrieval.index.threads import in_spans


def scan_allowed(
    vectors: Float32[np.ndarray, "N D"], query: Float32[np.ndarray, "Q D"], k: int, allowed: Allowed
) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
    """Scores and rows of the best k allowed rows per query, as `Index.search` gives them.

    It takes as long as rows pass, whatever they are; equal scores stand by row.
    """
    check_query(query, k, vectors.shape[1])
    score, row = nothing_found(len(query), k)
    places = min(k, len(vectors))
    if places == 0:
        return score, row
    whole, given = np.ascontiguousarray(vectors), np.ascontiguousarray(query)

    def span(first: int, last: int) -> None:
        _scan(
            given,
            first,
            last,
            whole,
            allowed.bitmap,
            allowed.line,
            allowed.excluded_offset,
            allowed.excluded,
            places,
            score,
            row,
        )

    in_spans(span, len(query), min_span=1)
    return score, row


@compiled
def _scan(
    query: np.ndarray,  # float32 (Q, D)
    first: int,
    last: int,
    vectors: np.ndarray,  # float32 (N, D)
    bitmap: np.ndarray,  # uint8 (B, W)
    line: np.ndarray,  # int64 (Q,)
    excluded_offset: np.ndarray,  # int64 (Q + 1,)
    excluded: np.ndarray,  # int64 (X,)
    k: int,
    score_out: np.ndarray,
    row_out: np.ndarray,
) -> None:
    """Writes the first k places of the answers; the worst of a heap of k gives way to what is better."""
    best, best_row = np.empty(k, np.float32), np.empty(k, np.int32)
    for one in range(first, last):
        own, size, row = line[one], 0, 0
        begin, end = excluded_offset[one], excluded_offset[one + 1]
        while row < len(vectors):
            if own >= 0 and row & 7 == 0 and bitmap[own, row >> 3] == 0:
                row += 8
                continue
            if (own < 0 or passes(bitmap[own], row)) and not (
                begin < end and holds(excluded, begin, end, row)
            ):
                total = np.float32(0.0)
                for d in range(vectors.shape[1]):
                    total += vectors[row, d] * query[one, d]
                if size < k:
                    best[size], best_row[size] = total, row
                    rise(best, best_row, size)
                    size += 1
                elif total > best[0]:  # an equal one has a higher row than all that are there
                    best[0], best_row[0] = total, row
                    sink(best, best_row, size)
            row += 1
        sort_into(best, best_row, size, score_out[one], row_out[one])


@compiled
def _worse(score: np.ndarray, row: np.ndarray, one: int, other: int) -> bool:
    return bool(score[one] < score[other] or (score[one] == score[other] and row[one] > row[other]))


@compiled
def _swap(score: np.ndarray, row: np.ndarray, one: int, other: int) -> None:
    score[one], score[other] = score[other], score[one]
    row[one], row[other] = row[other], row[one]


@compiled
def rise(score: np.ndarray, row: np.ndarray, place: int) -> None:
    """Moves the entry up a heap, worst first, to where it belongs."""
    while place > 0 and _worse(score, row, place, (place - 1) >> 1):
        _swap(score, row, place, (place - 1) >> 1)
        place = (place - 1) >> 1


@compiled
def sink(score: np.ndarray, row: np.ndarray, size: int) -> None:
    """Moves the first entry of a heap, worst first, down to where it belongs."""
    place = 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and _worse(score, row, child + 1, child):
            child += 1
        if not _worse(score, row, child, place):
            break
        _swap(score, row, place, child)
        place = child
