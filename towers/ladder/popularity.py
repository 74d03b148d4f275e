"""What the rungs of popularity share: counts in a window of the log, and orders common to many queries."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64, Int, Int64

from towers.data.days import SECONDS_PER_DAY
from towers.data.histories import Histories
from towers.recommender import PAD, Rankings

# Places of an order (query × place) looked at together.
_MAX_PLACES = 1 << 22

Leaders = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
"""Group and number of places → at least so many items (or all), best first, and their falling scores."""


class WindowCounts:
    """Events of each item between two places of a log; the window moves on, nothing is counted anew."""

    __slots__ = ("_count", "_item_row", "_start", "_stop")

    def __init__(self, item_row: Int[np.ndarray, " E"], num_items: int) -> None:
        self._item_row = item_row
        self._count = np.zeros(num_items, np.int64)
        self._start = self._stop = 0

    def between(self, start: int, stop: int) -> Int64[np.ndarray, " N"]:
        """Counts of the events start:stop, overwritten by the next call; dear where an edge goes back."""
        if not self._start <= start <= self._stop <= stop:
            self._count[:] = 0
            self._start = self._stop = start
        np.subtract.at(self._count, self._item_row[self._start : start], 1)
        np.add.at(self._count, self._item_row[self._stop : stop], 1)
        self._start, self._stop = start, stop
        return self._count


def window_edges(
    log_seconds: Int64[np.ndarray, " E"], time_seconds: Int64[np.ndarray, " Q"], ages_days: Sequence[float]
) -> Int64[np.ndarray, "Q A"]:
    """Places in a log, oldest first, where the moments so many days before each request lie.

    A request after the log counts as one in the second after its last event, so that it still has a window.
    Events of the moment itself stand behind its place: those of the request's own second are outside.
    """
    if len(log_seconds) == 0:
        return np.zeros((len(time_seconds), len(ages_days)), np.int64)
    end = np.minimum(time_seconds, log_seconds[-1] + 1)
    ages = [round(age * SECONDS_PER_DAY) for age in ages_days]
    return np.stack([np.searchsorted(log_seconds, end - age) for age in ages], axis=1)


def best_first(
    item_row: Int64[np.ndarray, " S"],
    value: Int64[np.ndarray, " S"] | Float64[np.ndarray, " S"],
    order: Int64[np.ndarray, " N"],
    num_watches: Int64[np.ndarray, " N"],
    num_places: int,
) -> Int64[np.ndarray, " M"]:
    """At least `num_places` items (or all): those valued by value, watches and row, the others as in `order`.

    item_row: the items that have a value, ascending.
    """
    if 0 < num_places < len(value):
        kept = value >= np.partition(value, -num_places)[-num_places]
        item_row, value = item_row[kept], value[kept]
    best = item_row[np.lexsort((-num_watches[item_row], -value))]
    if len(best) >= num_places:
        return best
    rest = order[:num_places]
    return np.concatenate([best, rest[~np.isin(rest, best)]])


def rank_by_group(history: Histories, k: int, group: Int64[np.ndarray, " Q"], leaders: Leaders) -> Rankings:
    """The first k items of each query's group that its own history does not hold.

    group: which order each query is answered from, from 0; `leaders` is asked once per group, in that order.
    """
    item_row = np.full((len(history), k), PAD, dtype=np.int64)
    score = np.full((len(history), k), -np.inf, dtype=np.float32)
    # Histories of like length stand together, so that a long one does not widen the batch of short ones.
    by_group = np.lexsort((history.lengths, group))
    edges = np.flatnonzero(np.diff(group[by_group])) + 1
    for asking in np.split(by_group, edges) if len(history) else []:
        # A history takes no more places than it has events, so a prefix this long is enough.
        num_places = k + int(history.lengths[asking[-1]])
        best, value = leaders(int(group[asking[0]]), num_places)
        best, value = best[:num_places], value[:num_places]
        for queries in _batches(asking, k + history.lengths[asking]):
            line, place, column = _unwatched(best, history.select(queries), k)
            item_row[queries[line], column] = best[place]
            score[queries[line], column] = value[place]
    return Rankings(item_row, score)


def _batches(asking: Int64[np.ndarray, " n"], width: Int64[np.ndarray, " n"]) -> list[np.ndarray]:
    """Runs of queries, their widths rising, of at most _MAX_PLACES places; one query at the least."""
    batches, start = [], 0
    while start < len(asking):
        places = width[start:] * np.arange(1, len(asking) - start + 1)
        stop = start + max(1, int(np.searchsorted(places, _MAX_PLACES, side="right")))
        batches.append(asking[start:stop])
        start = stop
    return batches


def _unwatched(
    best: Int64[np.ndarray, " M"], history: Histories, k: int
) -> tuple[Int64[np.ndarray, " F"], Int64[np.ndarray, " F"], Int64[np.ndarray, " F"]]:
    """Query, place in `best` and place in the answer of the first k items that each history does not hold."""
    best = best[: k + int(history.lengths.max())]
    free = np.ones((len(history), len(best)), dtype=np.bool_)
    if len(best):
        by_row = np.argsort(best)
        at = by_row[np.minimum(np.searchsorted(best[by_row], history.item_row), len(best) - 1)]
        held = best[at] == history.item_row
        free[history.profile_rows()[held], at[held]] = False
    answer = np.cumsum(free, axis=1) - 1
    line, place = np.nonzero(free & (answer < k))
    return line, place, answer[line, place]
