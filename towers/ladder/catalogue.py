"""Ranking the whole catalogue in batches: what a rung cannot score stands last, by popularity."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64, Int64

from towers.data.histories import Histories
from towers.ladder.dense import rank_scores
from towers.recommender import PAD, Queries, Rankings, check_history, check_k

# Values that a batch of queries may hold at once.
_MAX_VALUES = 1 << 23
# Weight of an event too old to matter: still above nothing, so that it orders what no newer one reaches.
_LEAST_WEIGHT = 1e-6


def rank_catalogue(
    queries: Queries,
    k: int,
    order: Int64[np.ndarray, " N"],
    score: Callable[[Queries], Float32[np.ndarray, "Q N"]],
    cost: Int64[np.ndarray, " Q"] | None = None,
) -> Rankings:
    """The k items of highest score per query, its own history left out; those without one stand last.

    order: all items, the most popular first: so stand those without a score.
    score: from queries to a score per item, NaN where the rung has none.
    cost: values that scoring each query holds beside the N scores, to bound what a batch takes in memory.
    """
    check_k(k)
    check_history(queries.history, len(order))
    item_row = np.full((len(queries), k), PAD, dtype=np.int64)
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    cost = np.zeros(len(queries), np.int64) if cost is None else cost
    for start, stop in batches(cost + len(order)) if k else []:
        part = queries.select(np.arange(start, stop))
        ranked = rank_scores(unscored_last(score(part), order), part.history, k)
        item_row[start:stop], best[start:stop] = ranked.item_row, ranked.score
    return Rankings(item_row, best)


def batches(cost: Int64[np.ndarray, " Q"]) -> list[tuple[int, int]]:
    """Runs of queries that together cost no more than a batch may hold; one query at the least."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(cost)])
    found, start = [], 0
    while start < len(cost):
        within = int(np.searchsorted(before, before[start] + _MAX_VALUES, side="right")) - 1
        found.append((start, max(start + 1, within)))
        start = found[-1][1]
    return found


def unscored_last(
    scores: Float32[np.ndarray, "Q N"], order: Int64[np.ndarray, " N"]
) -> Float32[np.ndarray, "Q N"]:
    """The scores with every NaN put below all others of its query, in the order given.

    An item at place p (from 1) of `order` gets b − max(1, |b|) · p / N, where b is the least of the query's
    scores, or 0 where that is higher: of N < 4 million such values no two are equal in float32.
    """
    num_items = len(order)
    place = np.empty(num_items, np.float32)
    place[order] = np.arange(1, num_items + 1) / max(1, num_items)
    below = np.fmin.reduce(scores, axis=1, initial=0.0, keepdims=True)
    filled: np.ndarray = np.where(
        np.isnan(scores), below - np.maximum(np.float32(1), np.abs(below)) * place, scores
    )
    return filled


def most_watched(train: Histories, num_items: int) -> Int64[np.ndarray, " N"]:
    """All items, the one with most train events first, ties by row."""
    order: np.ndarray = np.argsort(-np.bincount(train.item_row, minlength=num_items), kind="stable")
    return order


def ages(history: Histories) -> Int64[np.ndarray, " E"]:
    """How many places each event lies behind the newest of its profile, which has age 0."""
    age: np.ndarray = np.repeat(history.offset[1:], history.lengths) - 1 - np.arange(history.num_events)
    return age


def recency_weights(history: Histories, recency: float) -> Float64[np.ndarray, " E"]:
    """exp(−recency · age) of each event, its age in places of the history; never quite 0."""
    weight: np.ndarray = np.maximum(np.exp(-recency * ages(history)), _LEAST_WEIGHT)
    return weight
