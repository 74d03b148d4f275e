"""Top-k of an index of what each query may be shown, and complete whatever the index finds.

An index that reads what is allowed (`SelectiveIndex`) answers by itself. Others know nothing of it: they are
asked for so many more as a query leaves out, and where a rule lets only some rows pass, those are scored one
by one. A graph that walks over rows it may not show finds too few of the others, so none is asked to.
"""

import logging
from typing import TypeGuard

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.index.allowed import Allowed
from retrieval.index.compiled import compiled
from retrieval.index.scan import scan_allowed
from retrieval.index.spec import Index, SelectiveIndex, nothing_found
from retrieval.interests import best_of, check_queries
from towers.data.histories import Histories

log = logging.getLogger(__name__)

# Places of one search over many queries, held at once: 2^22 scores and rows are 48 MiB.
_MAX_PLACES = 1 << 22


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
    num_excluded = np.diff(allowed.excluded_offset)
    wanted = np.minimum(k, len(vectors) - num_excluded)
    # Rounded up to a power of two, so that few sizes are asked for.
    size = np.exp2(np.ceil(np.log2(np.minimum(k + num_excluded, len(vectors))))).astype(np.int64)
    scanned = (size >= len(vectors)) | (allowed.line >= 0)
    for one_size in np.unique(size[~scanned]):
        lines = np.flatnonzero((size == one_size) & ~scanned)
        step = max(1, _MAX_PLACES // (int(one_size) * num_interests))
        for start in range(0, len(lines), step):
            part = lines[start : start + step]
            found_score, found_row = best_of(index.search, query[part], int(one_size))
            keep = (found_row >= 0) & ~allowed.select(part).excludes(found_row)
            width = min(k, found_row.shape[1])
            order = np.argsort(~keep, axis=1, kind="stable")[:, :width]  # kept ones first, in their order
            kept = np.take_along_axis(keep, order, axis=1)
            score[part, :width] = np.where(kept, np.take_along_axis(found_score, order, axis=1), -np.inf)
            row[part, :width] = np.where(kept, np.take_along_axis(found_row, order, axis=1), -1)
    short = ~scanned & ((row >= 0).sum(axis=1) < wanted)
    if short.any():
        log.debug("answers completed by the exact scan num_queries=%d", int(short.sum()))
    left = np.flatnonzero(scanned | short)
    step = max(1, _MAX_PLACES // (k * num_interests))
    for start in range(0, len(left), step):
        part = left[start : start + step]
        wide = allowed.select(part).repeat(num_interests)
        found_score, found_row = best_of(
            lambda one, depth, wide=wide: scan_allowed(vectors, one, depth, wide),  # type: ignore[misc]
            query[part],
            k,
        )
        score[part], row[part] = found_score[:, :k], found_row[:, :k]
    return score, row
