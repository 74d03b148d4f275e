"""Search of a partition, compiled: one call answers many queries on one thread, without the interpreter.

A query is scored against the centre of each list, and lists are read best first, until none promises more
than what is found already. Codes of 8 bits are multiplied with queries of 16 bits into sums of 32, which
holds them up to `MAX_CODE_DIM` dimensions: 516 · 127 · 32,767 < 2^31.
"""

import numpy as np

from retrieval.index.compiled import compiled, holds, largest, passes, sort_into
from retrieval.index.partitioned.dots import dots
from retrieval.index.partitioned.scoring import (
    answer,
    in_16_bits,
    score_by_codes,
    score_by_vectors,
    to_unit,
)
from retrieval.index.prefetch import prefetch

CODE_STEP, MAX_CODE_DIM = 32, 512
"""Coordinates of a code: a multiple of the first, so that few kernels are made, up to the second."""

# Rows whose codes are multiplied at once; longer lists are read in pieces.
_BLOCK = 1024
# So much of the next list is asked for while something else is computed.
_AHEAD_BYTES = 2048
# The scores of candidates are counted in bins; the threshold is the lower end of one of them.
_NUM_BINS = 512
# Of so many lists each the largest promise is known: the best of all is found by two short looks.
_GROUP = 64
_LOWEST = -(1 << 31)


@compiled
def search_partition(
    query: np.ndarray,  # float32 (Q, D)
    order: np.ndarray,  # int64 (Q,): in which they are answered
    first: int,  # order[first] to order[last - 1]
    last: int,
    coarse_from: int,  # the query that its first line is of
    coarse: np.ndarray,  # float32 (., L): <centre, query>; (0, L) where not known
    basis: np.ndarray,  # float32 (H, D): query → coordinates of the codes
    centre: np.ndarray,  # int8 (L, C): in units of the codes
    spread: np.ndarray,  # float32 (L,)
    stop: float,
    offset: np.ndarray,  # int64 (L + 1,): list l is places offset[l] to offset[l + 1] - 1
    code: np.ndarray,  # int8 (M, C)
    tail: np.ndarray,  # int8 (M, H - C); (0, 0) where the vectors refine
    scale: np.ndarray,  # float32 (H,)
    row: np.ndarray,  # int32 (M,): whose code it is
    vectors: np.ndarray,  # float32 (N, D); (0, D) where tails refine
    depth: int,  # candidates that are refined, at least; >= k
    bitmap: np.ndarray,  # uint8 (B, W): rows that pass
    line: np.ndarray,  # int64 (Q,): the bitmap of each query, -1 for none
    excluded_offset: np.ndarray,  # int64 (Q + 1,)
    excluded: np.ndarray,  # int64 (X,): rows ascending within a query
    score_out: np.ndarray,  # float32 (Q, K)
    row_out: np.ndarray,  # int64 (Q, K)
    work: np.ndarray,  # int64 (2,): adds codes multiplied, lists read
) -> int:
    """Writes the answers of the queries; gives -1, or the first query that is not finite.

    spread: how far scores of a list lie from that of its centre, root mean square over queries of unit
    length. A list is read while <centre, query> + stop · spread · |query| reaches the lowest of
    the `depth` best found. Every list is read before an answer is left short: it holds min(K, eligible)
    rows.
    """
    num_lists = len(centre)
    whole_dim, dimension = basis.shape
    code_dim = code.shape[1]
    refined = tail.shape[0] > 0
    capacity = 4 * depth + 4 * _BLOCK
    promise, nearness = np.empty(num_lists, np.float32), np.empty(num_lists, np.int32)
    unit, turned = np.empty(dimension, np.float32), np.empty(whole_dim, np.float32)
    head_query = np.empty(code_dim, np.int16)
    tail_query = np.empty(whole_dim - code_dim, np.int16)
    dot = np.empty(_BLOCK, np.int32)
    found, found_at = np.empty(capacity, np.int32), np.empty(capacity, np.int32)
    count, peak = np.empty(_NUM_BINS, np.int64), np.empty(-(-num_lists // _GROUP), np.float32)
    exact, exact_row = np.empty(capacity, np.float32), np.empty(capacity, np.int32)
    best, best_row = np.empty(capacity, np.float32), np.empty(capacity, np.int32)
    for turn in range(first, last):
        one = order[turn]
        length = to_unit(query[one], unit)
        if not np.isfinite(length):
            return int(one)
        norm = np.float32(0.0)
        for h in range(whole_dim):
            total = np.float32(0.0)
            for d in range(dimension):
                total += basis[h, d] * unit[d]
            turned[h] = total
            if h < code_dim:
                norm += total * total
        norm = np.sqrt(norm)
        factor = in_16_bits(turned, scale, 0, head_query)
        own = line[one]
        filtered = own >= 0
        begin, end = excluded_offset[one], excluded_offset[one + 1]
        margin = np.float32(stop) * norm
        if len(coarse) > 0:
            for each in range(num_lists):
                promise[each] = coarse[one - coarse_from, each] / length + margin * spread[each]
        else:
            dots(centre, head_query, 0, num_lists, nearness)
            for each in range(num_lists):
                promise[each] = np.float32(nearness[each]) / factor + margin * spread[each]
        _peaks(promise, peak)
        upcoming, promised = _next_list(promise, peak)
        num_found, above, lowest_bin, shift, low = 0, 0, 0, 0, 0
        threshold, ready = _LOWEST, False
        num_read, read, size = 0, 0, 0
        start, from_place, piece = 0, 0, 0
        while True:
            if read == size:
                if num_read == num_lists or (ready and np.float64(promised) * factor < threshold):
                    break
                start = offset[upcoming]
                read, size = 0, offset[upcoming + 1] - start
                num_read += 1
                work[1] += 1
                if num_read < num_lists:
                    upcoming, promised = _next_list(promise, peak)
                    prefetch(code, offset[upcoming] * code_dim, _AHEAD_BYTES)
            from_place = start + read
            piece = min(_BLOCK, size - read)
            dots(code, head_query, from_place, piece, dot)
            read += piece
            new = num_found
            work[0] += piece
            # Written whether it counts or not: a branch here would be foreseen wrongly for every candidate.
            for i in range(piece):
                found[num_found], found_at[num_found] = dot[i], from_place + i
                num_found += dot[i] > threshold
            if filtered or begin < end:
                kept = new
                for i in range(new, num_found):
                    found[kept], found_at[kept], whose = found[i], found_at[i], row[found_at[i]]
                    if (not filtered or passes(bitmap[own], whose)) and not (
                        begin < end and holds(excluded, begin, end, whose)
                    ):
                        kept += 1
                num_found = kept
            if ready:
                for i in range(new, num_found):
                    count[min((found[i] - low) >> shift, _NUM_BINS - 1)] += 1
                above += num_found - new
            if (not ready and num_found >= depth) or num_found > capacity - _BLOCK:
                # Bins over what is found, finer than before; nothing below the threshold is kept.
                num_found = _kept(found, found_at, num_found, threshold)
                low, shift = _bins(found, num_found)
                count[:] = 0
                for i in range(num_found):
                    count[min((found[i] - low) >> shift, _NUM_BINS - 1)] += 1
                above, lowest_bin, ready = num_found, 0, True
            if ready:
                while above - count[lowest_bin] >= depth:
                    above -= count[lowest_bin]
                    lowest_bin += 1
                threshold = max(threshold, low + (lowest_bin << shift) - 1)
            if num_found > capacity - _BLOCK:
                # So many in one bin are alike: those above it stay, and of its own what fills the depth.
                num_found = _trimmed(found, found_at, num_found, threshold, threshold + (1 << shift), depth)
                count[lowest_bin] -= above - num_found
                above = num_found
        num_found = _kept(found, found_at, num_found, threshold)
        tail_factor = in_16_bits(turned, scale, code_dim, tail_query)
        for i in range(num_found):
            exact_row[i] = row[found_at[i]]
        if refined:
            score_by_codes(found, found_at, num_found, factor, tail, tail_query, tail_factor, length, exact)
        else:
            score_by_vectors(exact_row, num_found, vectors, query[one], exact)
        sort_into(exact, exact_row, num_found, best, best_row)
        answer(best, best_row, num_found, score_out[one], row_out[one])
    return -1


@compiled
def _peaks(promise: np.ndarray, peak: np.ndarray) -> None:
    """Writes the largest promise of each group of lists."""
    for group in range(len(peak)):
        peak[group] = largest(promise, group * _GROUP, min(group * _GROUP + _GROUP, len(promise)))


@compiled
def _next_list(promise: np.ndarray, peak: np.ndarray) -> tuple[int, np.float32]:
    """The list that promises most, which is taken out, the first of equals; and what it promises."""
    best = largest(peak, 0, len(peak))
    group = 0
    while peak[group] != best:
        group += 1
    each = group * _GROUP
    while promise[each] != best:
        each += 1
    promise[each] = -np.inf
    peak[group] = largest(promise, group * _GROUP, min(group * _GROUP + _GROUP, len(promise)))
    return each, best


@compiled
def _kept(found: np.ndarray, found_at: np.ndarray, size: int, threshold: int) -> int:
    """Moves what is above the threshold to the front; gives how much."""
    kept = 0
    for i in range(size):
        if found[i] > threshold:
            found[kept], found_at[kept] = found[i], found_at[i]
            kept += 1
    return kept


@compiled
def _trimmed(
    found: np.ndarray, found_at: np.ndarray, size: int, threshold: int, upper: int, depth: int
) -> int:
    """As `_kept`, and of what is not above `upper` only as much as makes it `depth`."""
    num_above = 0
    for i in range(size):
        num_above += found[i] > upper
    room, kept = depth - num_above, 0
    for i in range(size):
        if found[i] > upper or (found[i] > threshold and room > 0):
            room -= found[i] <= upper
            found[kept], found_at[kept] = found[i], found_at[i]
            kept += 1
    return kept


@compiled
def _bins(found: np.ndarray, size: int) -> tuple[int, int]:
    """The lower end of the first bin and the width, 2^shift, that leave room above what is found."""
    low, high = np.int64(found[0]), np.int64(found[0])
    for i in range(size):
        low, high = min(low, np.int64(found[i])), max(high, np.int64(found[i]))
    shift = 0
    while (high - low) >> shift >= (_NUM_BINS * 3) // 4:
        shift += 1
    return int(low), shift
