"""Search among the few rows that a bitmap lets pass: each is scored by its code, and lists are left alone."""

import numpy as np

from retrieval.index.bits import num_set, set_bits
from retrieval.index.compiled import compiled, sort_into
from retrieval.index.partitioned.dots import dots_at
from retrieval.index.partitioned.scoring import (
    answer,
    in_16_bits,
    score_by_codes,
    score_by_vectors,
    to_unit,
)

_NUM_BINS = 1024


@compiled
def few_first(
    words: np.ndarray, line: np.ndarray, most: float, passing: np.ndarray, order: np.ndarray
) -> int:
    """Writes the queries of bitmaps that let fewer than `most` rows pass, those of one bitmap together, then
    all others; gives how many the first are.

    words: uint64 (B, W). line: int64 (Q,), the bitmap of each query, -1 where there is none. passing: int64
    (B,), written: how many rows each bitmap lets pass. order: int64 (Q,), written.
    """
    at = np.zeros(len(words) + 1, np.int64)
    for each in range(len(words)):
        passing[each] = num_set(words[each])
    for one in range(len(line)):
        if line[one] >= 0 and passing[line[one]] < most:
            at[line[one] + 1] += 1
    for each in range(len(words)):
        at[each + 1] += at[each]
    num_few = at[-1]
    other = num_few
    for one in range(len(line)):
        own = line[one]
        if own >= 0 and passing[own] < most:
            order[at[own]] = one
            at[own] += 1
        else:
            order[other] = one
            other += 1
    return int(num_few)


@compiled
def search_subset(
    query: np.ndarray,  # float32 (Q, D)
    order: np.ndarray,  # int64 (n,): queries in the order in which they are answered
    first: int,  # order[first] to order[last - 1]
    last: int,
    basis: np.ndarray,  # float32 (H, D): query → coordinates of the codes
    code: np.ndarray,  # int8 (M, C)
    tail: np.ndarray,  # int8 (M, H - C); (0, 0) where the vectors refine
    scale: np.ndarray,  # float32 (H,)
    place: np.ndarray,  # int32 (N,): a place of each row
    vectors: np.ndarray,  # float32 (N, D); (0, D) where tails refine
    depth: int,  # candidates that are refined; >= k
    words: np.ndarray,  # uint64 (B, W): rows that pass
    passing: np.ndarray,  # int64 (B,): how many
    line: np.ndarray,  # int64 (Q,): the bitmap of each query
    excluded_offset: np.ndarray,  # int64 (Q + 1,)
    excluded: np.ndarray,  # int64 (X,): rows ascending within a query
    score_out: np.ndarray,  # float32 (Q, K)
    row_out: np.ndarray,  # int64 (Q, K)
    work: np.ndarray,  # int64 (2,): adds codes multiplied to the first
) -> int:
    """Writes the answers of the queries; gives -1, or the first query that is not finite.

    Queries of one bitmap that stand together share its rows. Where few more rows pass than would be
    refined, the vectors score all of them.
    """
    code_dim, whole_dim, dimension = code.shape[1], len(basis), basis.shape[1]
    by_codes = tail.shape[0] > 0
    unit, turned = np.empty(dimension, np.float32), np.empty(whole_dim, np.float32)
    head_query, tail_query = np.empty(code_dim, np.int16), np.empty(whole_dim - code_dim, np.int16)
    most = np.int64(0)
    for turn in range(first, last):
        most = max(most, passing[line[order[turn]]])
    rows, dot = np.empty(most, np.int32), np.empty(most, np.int32)
    found, found_at = np.empty(most, np.int32), np.empty(most, np.int32)
    exact, best = np.empty(2 * depth, np.float32), np.empty(2 * depth, np.float32)
    best_row = np.empty(2 * depth, np.int32)
    held, num_rows = np.int64(-1), 0
    for turn in range(first, last):
        one = order[turn]
        length = to_unit(query[one], unit)
        if not np.isfinite(length):
            return int(one)
        if line[one] != held:
            held = line[one]
            num_rows = set_bits(words[held], rows)
        left_out = excluded[excluded_offset[one] : excluded_offset[one + 1]]
        size = _without(rows, num_rows, left_out, place, found, found_at)
        if size <= 2 * depth and not by_codes:
            score_by_vectors(found, size, vectors, query[one], exact)
        else:
            for h in range(whole_dim if by_codes else code_dim):
                total = np.float32(0.0)
                for d in range(dimension):
                    total += basis[h, d] * unit[d]
                turned[h] = total
            factor = in_16_bits(turned, scale, 0, head_query)
            work[0] += size
            dots_at(code, head_query, found_at[:size], dot)
            size = _to_front(dot, found, found_at, size, depth)
            if by_codes:
                tail_factor = in_16_bits(turned, scale, code_dim, tail_query)
                score_by_codes(dot, found_at, size, factor, tail, tail_query, tail_factor, length, exact)
            else:
                score_by_vectors(found, size, vectors, query[one], exact)
        sort_into(exact, found, size, best, best_row)
        answer(best, best_row, size, score_out[one], row_out[one])
    return -1


@compiled
def _without(
    rows: np.ndarray, num_rows: int, left_out: np.ndarray, place: np.ndarray, kept: np.ndarray, at: np.ndarray
) -> int:
    """Writes the rows that are not left out, both ascending, and their places; gives how many."""
    size, upcoming = 0, 0
    for i in range(num_rows):
        while upcoming < len(left_out) and left_out[upcoming] < rows[i]:
            upcoming += 1
        if upcoming == len(left_out) or left_out[upcoming] != rows[i]:
            kept[size], at[size] = rows[i], place[rows[i]]
            size += 1
    return size


@compiled
def _to_front(dot: np.ndarray, rows: np.ndarray, at: np.ndarray, size: int, depth: int) -> int:
    """Moves the largest products, with their rows and places, to the front, in the order in which they stand.

    Gives how many: `depth` at least and twice that at most, all where there are no more. Of equal products
    the first are taken.
    """
    if size <= depth:
        return size
    low, high = np.int64(dot[0]), np.int64(dot[0])
    for i in range(size):
        low, high = min(low, np.int64(dot[i])), max(high, np.int64(dot[i]))
    # The bin that holds the last product wanted, and then the bin of that bin, until little else is in it.
    count, above, shift = np.empty(_NUM_BINS, np.int64), 0, 0
    while True:
        shift = 0
        while (high - low) >> shift >= _NUM_BINS:
            shift += 1
        count[:] = 0
        for i in range(size):
            if low <= dot[i] <= high:
                count[(dot[i] - low) >> shift] += 1
        last = (high - low) >> shift
        while above + count[last] < depth:
            above += count[last]
            last -= 1
        low += last << shift
        high = low + (1 << shift) - 1
        if shift == 0 or above + count[last] <= 2 * depth:
            break
    room = (depth if shift == 0 else 2 * depth) - above
    kept = 0
    for i in range(size):
        if dot[i] > high or (dot[i] >= low and room > 0):
            room -= dot[i] <= high
            dot[kept], rows[kept], at[kept] = dot[i], rows[i], at[i]
            kept += 1
    return kept
