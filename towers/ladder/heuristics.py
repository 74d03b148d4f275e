"""The rung that learns nothing about the profile: popularity."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64

from towers.data.histories import Histories
from towers.ladder.popularity import WindowCounts, best_first, rank_by_group, window_edges
from towers.recommender import Queries, Rankings, check_history, check_k
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


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
        check_history(queries.history, len(self.order))
        # Requests that share a window share an answer, but for what each has watched.
        windows, window = np.unique(self._windows(queries.time_seconds), axis=0, return_inverse=True)
        counts = WindowCounts(self.item_row, len(self.order))

        def leaders(window: int, num_places: int) -> tuple[np.ndarray, np.ndarray]:
            count = counts.between(*windows[window].tolist())
            watched = np.flatnonzero(count)
            best = best_first(watched, count[watched], self.order, self.num_watches, num_places)
            return best, count[best] + self.share(best)

        return rank_by_group(queries.history, k, window.reshape(-1), leaders)

    def share(self, item_row: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Share of the train events of each item given, below 1: beside a count it only places equals."""
        share: np.ndarray = self.num_watches[item_row] / (len(self.item_row) + 1)
        return share

    def _windows(self, time_seconds: Int64[np.ndarray, " Q"]) -> Int64[np.ndarray, "Q 2"]:
        """First and last train event (exclusive) that counts, per query; none where there is no window."""
        if self.days is None:
            return np.zeros((len(time_seconds), 2), np.int64)
        return window_edges(self.time_seconds, time_seconds, (self.days, 0.0))


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
