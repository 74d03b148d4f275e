"""Ranking metrics with binary relevance: one value per query, and coverage of the catalogue.

All are computed over the whole catalogue's ranking, never over sampled negatives (Krichene and Rendle,
KDD 2020, doi:10.1145/3394486.3403226). Ranks count from 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from towers.errors import QueryError
from towers.recommender import PAD


@dataclass(frozen=True, slots=True)
class Hits:
    """Which places of Q rankings hold a target.

    hit: bool (Q, K); a place that no item fills is never a hit.
    num_targets: int64 (Q,), at least 1 each.
    """

    hit: Bool[np.ndarray, "Q K"]
    num_targets: Int64[np.ndarray, " Q"]


def find_hits(
    item_row: Int64[np.ndarray, "Q K"],
    target_offset: Int64[np.ndarray, " Q1"],
    target_row: Int64[np.ndarray, " T"],
) -> Hits:
    """The hits of Q rankings, best first, as Rankings.item_row holds them.

    Query q's targets are target_row[target_offset[q]:target_offset[q+1]], in any order. Raises
    QueryError where a query has no target, a target is no item row, or one is named twice.
    """
    if len(target_offset) != len(item_row) + 1:
        raise QueryError(f"targets of {len(target_offset) - 1} queries for {len(item_row)} rankings")
    if target_offset[0] != 0 or target_offset[-1] != len(target_row):
        raise QueryError(f"target_offset must run from 0 to {len(target_row)}, the number of targets")
    num_targets = np.diff(target_offset)
    if np.any(num_targets < 1):
        raise QueryError(f"{int(np.sum(num_targets < 1))} queries have no target; expected at least one each")
    if np.any(target_row < 0):
        raise QueryError(f"target row {int(target_row.min())} is not an item; expected 0 or more")
    keys = _keys(np.repeat(np.arange(len(item_row)), num_targets), target_row, _width(target_row))
    if len(np.unique(keys)) != len(keys):
        raise QueryError("targets: an item is named twice for one query; expected distinct targets")
    return Hits(in_ragged(item_row, target_offset, target_row), num_targets)


def recall(hits: Hits, k: int) -> Float64[np.ndarray, " Q"]:
    """R@k per query: the share of its targets in the top k.

    R@k = |top k ∩ targets| / |targets|. With one target per query, as in leave-one-out, this is the hit
    rate HR@k. It is not divided by min(k, |targets|), so it cannot reach 1 where targets outnumber k.
    """
    value: np.ndarray = _top(hits, k).sum(axis=1) / hits.num_targets
    return value


def ndcg(hits: Hits, k: int) -> Float64[np.ndarray, " Q"]:
    """N@k per query: discounted gain in the top k over that of an ideal ranking.

    N@k = Σ_{r ≤ k} hit_r / log2(r + 1)  /  Σ_{r ≤ min(|targets|, k)} 1 / log2(r + 1).
    Source: Järvelin and Kekäläinen, TOIS 2002, doi:10.1145/582415.582418, with gains 0 and 1.
    """
    top = _top(hits, k)
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(hits.num_targets, k) - 1]
    value: np.ndarray = (top @ discount) / ideal
    return value


def reciprocal_rank(hits: Hits, k: int) -> Float64[np.ndarray, " Q"]:
    """RR@k per query: 1 / rank of the first hit in the top k, 0 without one; its mean is MRR@k."""
    top = _top(hits, k)
    first = np.argmax(top, axis=1)
    return np.where(top.any(axis=1), 1.0 / (first + 1), 0.0)


def coverage(item_row: Int64[np.ndarray, "Q K"], k: int, *, num_items: int) -> float:
    """Share of the catalogue shown at all: |∪_q top k of q| / num_items."""
    if num_items < 1:
        raise QueryError(f"coverage of a catalogue of {num_items} items; expected at least one")
    _check_places(k, item_row.shape[1])
    shown = np.unique(item_row[:, :k])
    return int(np.sum(shown != PAD)) / num_items


def in_ragged(
    rows: Int64[np.ndarray, "Q K"], offset: Int64[np.ndarray, " Q1"], values: Int[np.ndarray, " V"]
) -> Bool[np.ndarray, "Q K"]:
    """Whether each row stands among its own query's values[offset[q]:offset[q+1]]; never where it is < 0."""
    if rows.size == 0 or len(values) == 0:
        return np.zeros(rows.shape, dtype=bool)
    # One integer per (query, row) turns Q set look-ups into one binary search.
    width = max(_width(values), _width(rows))
    owner = np.repeat(np.arange(len(rows)), np.diff(offset))
    known = np.sort(_keys(owner, values, width))
    asked = _keys(np.arange(len(rows))[:, None], rows, width)
    place = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    found: np.ndarray = (known[place] == asked) & (rows >= 0)
    return found


def _width(rows: np.ndarray) -> int:
    return int(rows.max(initial=0)) + 1


def _keys(query: np.ndarray, row: np.ndarray, width: int) -> np.ndarray:
    keys: np.ndarray = query * width + row
    return keys


def _top(hits: Hits, k: int) -> np.ndarray:
    _check_places(k, hits.hit.shape[1])
    return hits.hit[:, :k]


def _check_places(k: int, num_places: int) -> None:
    if not 1 <= k <= num_places:
        raise QueryError(f"k = {k}: expected 1 to {num_places}, the places of the rankings given")
