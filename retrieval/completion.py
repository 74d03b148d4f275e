"""Top-k of an index of what each query may be shown, and complete whatever the index finds.

An index that reads what is allowed (`SelectiveIndex`) answers by itself. Others know nothing of it: they are
asked for so many more as a query leaves out, and as its rule fails where nearly every row passes. Where fewer
do, those are scored one by one: a graph that walks over rows it may not show finds too few of the others, so
none is asked to.
"""

import logging
from collections.abc import Callable
from typing import TypeGuard

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.eligibility.bitmaps import contains
from retrieval.index.allowed import Allowed
from retrieval.index.compiled import compiled
from retrieval.index.scan import scan_allowed
from retrieval.index.spec import Index, SelectiveIndex, nothing_found
from retrieval.interests import best_of, check_queries
from towers.data.histories import Histories

log = logging.getLogger(__name__)

Found = tuple[np.ndarray, np.ndarray]
"""Scores and rows, (Q, K)."""

# Places of one search over many queries, held at once: 2^22 scores and rows are 48 MiB.
_MAX_PLACES = 1 << 22
# Where so many rows pass, an index is asked for more than it may show; below, those that pass are scored.
_NEARLY_ALL = 0.75
# How many times as much is asked for where that found too few.
_DEEPER = 4


def unseen(seen: Histories, also: Int64[np.ndarray, " n"] | None = None) -> Allowed:
    """Every row but those of a query's own history; and but those in `also`, which takes a single query."""
    rows, offset = seen.item_row, seen.offset
    if also is not None and len(also):
        rows = np.concatenate([rows, also])
        offset = np.array([0, len(rows)])
    # A copy, in which the kernel moves them.
    rows, left = rows.astype(np.int64), np.empty(len(offset), np.int64)
    _distinct(rows, np.ascontiguousarray(offset), left)
    return Allowed.but(left, rows[: left[-1]])


@compiled
def _distinct(rows: np.ndarray, offset: np.ndarray, offset_out: np.ndarray) -> None:
    """Moves the distinct rows of each line, ascending, to the front; writes where they end up."""
    size = 0
    offset_out[0] = 0
    for line in range(len(offset) - 1):
        own = rows[offset[line] : offset[line + 1]]
        own.sort()
        for place in range(len(own)):
            if place == 0 or own[place] != own[place - 1]:
                # What is written lies before what is read still, and is read no more.
                rows[size] = own[place]
                size += 1
        offset_out[line + 1] = size


def _is_selective(index: Index) -> TypeGuard[SelectiveIndex]:
    """By its one method more: asking the protocol takes as long as a search."""
    return hasattr(index, "search_allowed")


def complete_topk(
    index: Index,
    vectors: Float32[np.ndarray, "N D"],
    query: Float32[np.ndarray, "Q *I D"],
    k: int,
    allowed: Allowed,
) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
    """Scores and rows of the best k vectors per query, K = k, of those it is allowed.

    query: a vector each, or several interests, (Q, I, D), of which the best for an item is its score.
    What is asked for one query does not depend on the others. Places that no row fills hold row -1 and score
    -inf; min(k, allowed rows) are filled.
    """
    if query.ndim != 2 or not _is_selective(index):  # which checks what it is asked itself
        check_queries(query, k, index.dimension)
    allowed.check(len(query), len(vectors))
    num_interests = query.shape[1] if query.ndim == 3 else 1
    if _is_selective(index):
        wide = allowed.repeat(num_interests)
        score, row = best_of(lambda one, depth: index.search_allowed(one, depth, wide), query, k)
        return score[:, :k], row[:, :k]
    score, row = nothing_found(len(query), k)
    if k == 0 or len(query) == 0:
        return score, row

    def put(find: Callable[[np.ndarray, int, Allowed], Found], lines: np.ndarray, depth: int) -> None:
        """Answers these queries by the best k of what is found for them."""
        step = max(1, _MAX_PLACES // (depth * num_interests))
        for start in range(0, len(lines), step):
            part = lines[start : start + step]
            score[part], row[part] = find(query[part], depth, allowed.select(part))

    def by_index(some: np.ndarray, depth: int, these: Allowed) -> Found:
        # Of several interests, what comes after the first `depth` is not all there is.
        found = best_of(index.search, some, depth)
        return _first_allowed(found[0][:, :depth], found[1][:, :depth], k, these)

    def by_scan(some: np.ndarray, depth: int, these: Allowed) -> Found:
        wide = these.repeat(num_interests)
        found = best_of(lambda one, depth: scan_allowed(vectors, one, depth, wide), some, depth)
        return found[0][:, :k], found[1][:, :k]

    num_passing = _num_passing(allowed, len(vectors))
    wanted = np.minimum(k, num_passing - _num_left_out(allowed))
    share = num_passing / len(vectors)
    size = _depth(k + np.diff(allowed.excluded_offset), share, len(vectors))
    scanned = (share < _NEARLY_ALL) | (size >= len(vectors))
    short = ~scanned
    while short.any():
        for one_size in np.unique(size[short]):
            put(by_index, np.flatnonzero(short & (size == one_size)), int(one_size))
        short &= (row >= 0).sum(axis=1) < wanted
        size *= _DEEPER  # what fails a rule may be what these queries look for
        to_scan = short & ((share == 1.0) | (size >= len(vectors)))
        scanned |= to_scan
        short &= ~to_scan
        if to_scan.any():
            log.debug("answers completed by the exact scan num_queries=%d", int(to_scan.sum()))
    put(by_scan, np.flatnonzero(scanned), k)
    return score, row


def _num_passing(allowed: Allowed, num_rows: int) -> Int64[np.ndarray, " Q"]:
    """Rows that each query's rule lets pass; all where it has none."""
    of_line: np.ndarray = np.append(allowed.passing(), num_rows)[allowed.line]  # line -1 is the last
    return of_line


def _num_left_out(allowed: Allowed) -> Int64[np.ndarray, " Q"]:
    """Rows left out for each query that would pass its rule."""
    length = np.diff(allowed.excluded_offset)
    if (allowed.line < 0).all():
        return length
    line = np.repeat(np.arange(len(allowed)), length)
    passing = _passes(allowed.bitmap, allowed.line[line], allowed.excluded[:, None])[:, 0]
    return np.bincount(line[passing], minlength=len(allowed))


def _depth(wanted: Int64[np.ndarray, " Q"], share: np.ndarray, num_rows: int) -> Int64[np.ndarray, " Q"]:
    """How many rows to ask for so that as many pass, where they do at random: 3 deviations above the mean.

    Rounded up to a power of two, so that few sizes are asked for; at most all rows.
    """
    share = np.maximum(share, _NEARLY_ALL)  # of others none is asked
    asked = (wanted + 3.0 * np.sqrt(wanted * (1.0 - share))) / share
    depth: np.ndarray = np.exp2(np.ceil(np.log2(np.minimum(asked, num_rows)))).astype(np.int64)
    return depth


def _first_allowed(score: np.ndarray, row: np.ndarray, k: int, allowed: Allowed) -> Found:
    """The first k of what was found that are allowed, in their order, and padding behind."""
    keep = (row >= 0) & ~allowed.excludes(row) & _passes(allowed.bitmap, allowed.line, row)
    first_score, first_row = nothing_found(len(row), k)
    width = min(k, row.shape[1])
    order = np.argsort(~keep, axis=1, kind="stable")[:, :width]
    kept = np.take_along_axis(keep, order, axis=1)
    first_score[:, :width] = np.where(kept, np.take_along_axis(score, order, axis=1), -np.inf)
    first_row[:, :width] = np.where(kept, np.take_along_axis(row, order, axis=1), -1)
    return first_score, first_row


def _passes(bitmap: np.ndarray, line: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Whether each row (Q, K) passes the rule of its line, -1 for none."""
    if (line < 0).all():
        return np.ones(row.shape, bool)
    return contains(bitmap, line, row) | (line < 0)[:, None]
