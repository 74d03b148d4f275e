"""Top-k of an index without what each query has seen, and complete whatever the index finds."""

import logging

import numpy as np
import torch
from jaxtyping import Float32, Int64

from retrieval.index.spec import Index, nothing_found
from retrieval.interests import check_queries, search
from towers.data.histories import Histories
from towers.evaluation.exact import padded_items
from towers.topk import topk

log = logging.getLogger(__name__)

# Places of one search over many queries, held at once: 2^22 scores and rows are 48 MiB.
_MAX_PLACES = 1 << 22
# Queries of one exact scan; bounds their padded histories.
_SCAN_BATCH = 1024


def complete_topk(
    index: Index,
    vectors: Float32[np.ndarray, "N D"],
    query: Float32[np.ndarray, "Q *I D"],
    k: int,
    seen: Histories,
) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
    """Scores and rows of the best k vectors per query, K = k, none of them an item of its `seen` history.

    query: a vector each, or several interests, (Q, I, D), of which the best for an item is its score.
    The index is asked for as many items more as a query has seen, rounded up to a power of two, so that what
    is asked for one query does not depend on the others. A graph may still find too few; those queries, and
    those that ask for every vector, are answered by the exact scan. Places that no eligible item fills hold
    row -1 and score -inf; there are none while min(k, N - items seen) are not reached.
    """
    check_queries(query, k, index.dimension)
    score, row = nothing_found(len(query), k)
    if k == 0 or len(query) == 0:
        return score, row
    num_items = len(vectors)
    seen_key = np.unique(seen.profile_rows() * num_items + seen.item_row)
    num_seen = np.bincount(seen_key // num_items, minlength=len(query))
    wanted = np.minimum(k, num_items - num_seen)
    size = np.exp2(np.ceil(np.log2(np.minimum(k + num_seen, num_items)))).astype(np.int64)
    exact = size >= num_items
    num_interests = query.shape[1] if query.ndim == 3 else 1
    for one_size in np.unique(size[~exact]):
        lines = np.flatnonzero((size == one_size) & ~exact)
        step = max(1, _MAX_PLACES // (int(one_size) * num_interests))
        for start in range(0, len(lines), step):
            part = lines[start : start + step]
            found_score, found_row = search(index, query[part], int(one_size))
            keep = (found_row >= 0) & ~_contains(seen_key, part[:, None] * num_items + found_row)
            width = min(k, found_row.shape[1])
            order = np.argsort(~keep, axis=1, kind="stable")[:, :width]  # kept ones first, in their order
            kept = np.take_along_axis(keep, order, axis=1)
            score[part, :width] = np.where(kept, np.take_along_axis(found_score, order, axis=1), -np.inf)
            row[part, :width] = np.where(kept, np.take_along_axis(found_row, order, axis=1), -1)
    short = ~exact & ((row >= 0).sum(axis=1) < wanted)
    if short.any():
        log.debug("answers completed by the exact scan num_queries=%d", int(short.sum()))
    _scan(vectors, query, seen, np.flatnonzero(exact | short), score, row)
    return score, row


def _contains(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    if len(sorted_keys) == 0:
        return np.zeros(keys.shape, bool)
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    found: np.ndarray = sorted_keys[place] == keys
    return found


def _scan(
    vectors: np.ndarray,
    query: np.ndarray,
    seen: Histories,
    lines: np.ndarray,
    score: np.ndarray,
    row: np.ndarray,
) -> None:
    """Answers these lines by the exact scan, into score and row."""
    items = torch.from_numpy(vectors)
    # Like lengths together: one long history must not widen the padding of all others.
    by_length = lines[np.argsort(seen.lengths[lines], kind="stable")]
    for start in range(0, len(lines), _SCAN_BATCH):
        part = by_length[start : start + _SCAN_BATCH]
        excluded = torch.from_numpy(padded_items(seen.select(part)))
        best, best_row = topk(torch.from_numpy(query[part]), items, score.shape[1], excluded=excluded)
        score[part], row[part] = best.numpy(), best_row.numpy()
