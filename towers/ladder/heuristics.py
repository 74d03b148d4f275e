"""Rungs that learn nothing about the profile: popularity."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64

from towers.data.histories import Histories
from towers.recommender import PAD, Queries, Rankings, check_history, check_k
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class PopularSettings:
    """days: only events of the last so many days before the request count; all of train where None."""

    days: float | None = bounded(None, gt=0.0)


@dataclass(frozen=True, slots=True)
class Popular:
    """A Recommender that shows everyone the most watched items, their own history left out.

    order: int64 (N,), all items, the most watched of train first, ties by row.
    num_watches: int64 (N,), train events of each item.
    item_row, time_seconds: int64 (E,), the train events, oldest first.
    days: the window. It ends at the request, or where train ends if that is earlier, so that a request
    long after train still has one; the request's own second is outside. Items without an event in the
    window follow in `order`.
    The score is the number of events in the window plus, to place equals, the item's share of all train
    events; without a window it is that share.
    """

    order: Int64[np.ndarray, " N"]
    num_watches: Int64[np.ndarray, " N"]
    item_row: Int[np.ndarray, " E"]
    time_seconds: Int64[np.ndarray, " E"]
    days: float | None

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k most watched items per query."""
        check_k(k)
        history = queries.history
        check_history(history, len(self.order))
        item_row = np.full((len(queries), k), PAD, dtype=np.int64)
        score = np.full((len(queries), k), -np.inf, dtype=np.float32)
        # Requests that share a window share an answer, but for what each has watched.
        windows, window_of = np.unique(self._windows(queries.time_seconds), axis=0, return_inverse=True)
        for window, (start, stop) in enumerate(windows.tolist()):
            asking = np.flatnonzero(window_of.reshape(-1) == window)
            best, value = self._best(k + int(history.lengths[asking].max()), start, stop)
            for query in asking.tolist():
                watched = history.items_of(query)
                # A history takes no more places than it has events, so a prefix this long is enough.
                prefix = best[: k + len(watched)]
                kept = np.flatnonzero(~np.isin(prefix, watched))[:k]
                item_row[query, : len(kept)], score[query, : len(kept)] = prefix[kept], value[kept]
        return Rankings(item_row, score)

    def _windows(self, time_seconds: Int64[np.ndarray, " Q"]) -> Int64[np.ndarray, "Q 2"]:
        """First and last train event (exclusive) that counts, per query; none where there is no window."""
        if self.days is None or len(self.time_seconds) == 0:
            return np.zeros((len(time_seconds), 2), np.int64)
        end = np.minimum(time_seconds, self.time_seconds[-1] + 1)
        begin = end - round(self.days * _DAY_SECONDS)
        return np.stack([np.searchsorted(self.time_seconds, edge) for edge in (begin, end)], axis=1)

    def _best(self, num_places: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """At least the first `num_places` items, best first, and their scores."""
        recent, count = np.unique(self.item_row[start:stop], return_counts=True)
        by_count = np.lexsort((recent, -self.num_watches[recent], -count))
        recent, count = recent[by_count], count[by_count]
        rest = self.order[:num_places]
        rest = rest[~np.isin(rest, recent)]
        # The share is below 1, the least step of a count, so it only places equals.
        num_events = len(self.item_row) + 1
        value = np.concatenate([count, np.zeros(len(rest))])
        best = np.concatenate([recent, rest])
        return best, value + self.num_watches[best] / num_events


def fit_popular(train: Histories, num_items: int, settings: PopularSettings | None = None) -> Popular:
    """Popular of the train events over a catalogue of `num_items`; unwatched items stand last, by row."""
    settings = settings or PopularSettings()
    check_ranges(settings, "popular")
    check_history(train, num_items)
    num_watches = np.bincount(train.item_row, minlength=num_items)
    by_time = np.argsort(train.time_seconds, kind="stable")
    log.info("fitted popular num_events=%d num_items=%d", train.num_events, num_items)
    return Popular(
        order=np.argsort(-num_watches, kind="stable"),
        num_watches=num_watches,
        item_row=train.item_row[by_time],
        time_seconds=train.time_seconds[by_time],
        days=settings.days,
    )
