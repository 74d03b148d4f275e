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
    """The H of T targets of Q queries that stand in their rankings of `num_places` places.

    query: int64 (H,), whose target each is, rising. rank: int64 (H,), its place from 1, rising in each query.
    target: int64 (H,), which of all T targets it is.
    num_targets: int64 (Q,), at least 1 each.
    Rankings are read once; every metric and every slice is then a sum over hits.
    """

    query: Int64[np.ndarray, " H"]
    rank: Int64[np.ndarray, " H"]
    target: Int64[np.ndarray, " H"]
    num_targets: Int64[np.ndarray, " Q"]
    num_places: int

    @property
    def rank_of_target(self) -> Int64[np.ndarray, " T"]:
        """The place of every target, 0 of those that are not shown."""
        rank = np.zeros(int(self.num_targets.sum()), np.int64)
        rank[self.target] = self.rank
        return rank

    def only(self, counts: Bool[np.ndarray, " T"]) -> "Hits":
        """The hits with only the targets that count, of the queries that have such, numbered anew from 0."""
        owner = np.repeat(np.arange(len(self.num_targets)), self.num_targets)
        num_targets = np.bincount(owner[counts], minlength=len(self.num_targets))
        kept, of_hit = num_targets > 0, counts[self.target]
        return Hits(
            query=(np.cumsum(kept) - 1)[self.query[of_hit]],
            rank=self.rank[of_hit],
            target=(np.cumsum(counts) - 1)[self.target[of_hit]],
            num_targets=num_targets[kept],
            num_places=self.num_places,
        )


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
    if np.any(np.diff(np.sort(keys)) == 0):
        raise QueryError("targets: an item is named twice for one query; expected distinct targets")
    target = _place_in_ragged(item_row, target_offset, target_row)
    query, place = np.nonzero(target >= 0)
    return Hits(query, place + 1, target[query, place], num_targets, item_row.shape[1])


def recall(hits: Hits, k: int) -> Float64[np.ndarray, " Q"]:
    """R@k per query: the share of its targets in the top k.

    R@k = |top k ∩ targets| / |targets|. With one target per query, as in leave-one-out, this is the hit
    rate HR@k. It is not divided by min(k, |targets|), so it cannot reach 1 where targets outnumber k.
    """
    query, _ = _top(hits, k)
    value: np.ndarray = np.bincount(query, minlength=len(hits.num_targets)) / hits.num_targets
    return value


def ndcg(hits: Hits, k: int) -> Float64[np.ndarray, " Q"]:
    """N@k per query: discounted gain in the top k over that of an ideal ranking.

    N@k = Σ_{r ≤ k} hit_r / log2(r + 1)  /  Σ_{r ≤ min(|targets|, k)} 1 / log2(r + 1).
    Source: Järvelin and Kekäläinen, TOIS 2002, doi:10.1145/582415.582418, with gains 0 and 1.
    """
    query, rank = _top(hits, k)
    ideal = np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))[np.minimum(hits.num_targets, k) - 1]
    value: np.ndarray = np.bincount(query, 1.0 / np.log2(rank + 1), minlength=len(ideal)) / ideal
    return value


def reciprocal_rank(hits: Hits, k: int) -> Float64[np.ndarray, " Q"]:
    """RR@k per query: 1 / rank of the first hit in the top k, 0 without one; its mean is MRR@k."""
    query, rank = _top(hits, k)
    value = np.zeros(len(hits.num_targets))
    value[query[::-1]] = 1.0 / rank[::-1]  # the first rank of a query is written last
    return value


def average_precision(hits: Hits, k: int) -> Float64[np.ndarray, " Q"]:
    """AP@k per query: the mean of the precision at each hit in the top k; its mean is MAP@k.

    AP@k = Σ_{r ≤ k} hit_r · (hits among the first r) / r  /  min(|targets|, k), so that a ranking of nothing
    but targets reaches 1 however many they are. Others divide by |targets|, which is less where T > k.
    Source: Manning, Raghavan and Schütze 2008, Introduction to Information Retrieval, section 8.4.
    """
    query, rank = _top(hits, k)
    found = np.bincount(query, minlength=len(hits.num_targets))
    count = np.arange(1, len(query) + 1) - (np.cumsum(found) - found)[query]
    total = np.bincount(query, count / rank, minlength=len(found))
    value: np.ndarray = total / np.minimum(hits.num_targets, k)
    return value


def coverage(item_row: Int64[np.ndarray, "Q K"], k: int, *, num_items: int) -> float:
    """Share of the catalogue shown at all: |∪_q top k of q| / num_items."""
    if num_items < 1:
        raise QueryError(f"coverage of a catalogue of {num_items} items; expected at least one")
    _check_places(k, item_row.shape[1])
    top = item_row[:, :k]
    return np.count_nonzero(np.bincount(top[top != PAD], minlength=num_items)) / num_items


def in_ragged(
    rows: Int64[np.ndarray, "Q K"], offset: Int64[np.ndarray, " Q1"], values: Int[np.ndarray, " V"]
) -> Bool[np.ndarray, "Q K"]:
    """Whether each row stands among its own query's values[offset[q]:offset[q+1]]; never where it is < 0."""
    found: np.ndarray = _place_in_ragged(rows, offset, values) >= 0
    return found


def _place_in_ragged(rows: np.ndarray, offset: np.ndarray, values: np.ndarray) -> np.ndarray:
    """int64 (Q, K): the place in `values` of each row, one of its own query's values; -1 where it is none."""
    if rows.size == 0 or len(values) == 0:
        return np.full(rows.shape, -1, np.int64)
    # One integer per (query, row) turns Q set look-ups into one binary search.
    width = max(_width(values), _width(rows))
    known = _keys(np.repeat(np.arange(len(rows)), np.diff(offset)), values, width)
    order = np.argsort(known)
    known = known[order]
    asked = _keys(np.arange(len(rows))[:, None], rows, width)
    nearest = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    found = (known[nearest] == asked) & (rows >= 0)
    return np.where(found, order[nearest], -1)


def _width(rows: np.ndarray) -> int:
    return int(rows.max(initial=0)) + 1


def _keys(query: np.ndarray, row: np.ndarray, width: int) -> np.ndarray:
    keys: np.ndarray = query * width + row
    return keys


def _top(hits: Hits, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Query and rank of the hits in the top k."""
    _check_places(k, hits.num_places)
    top = hits.rank <= k
    return hits.query[top], hits.rank[top]


def _check_places(k: int, num_places: int) -> None:
    if not 1 <= k <= num_places:
        raise QueryError(f"k = {k}: expected 1 to {num_places}, the places of the rankings given")
