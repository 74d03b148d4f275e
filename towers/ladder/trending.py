"""The rung of what grows: items watched more lately than before."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.data.histories import Histories
from towers.ladder.heuristics import Popular, fit_popular
from towers.ladder.popularity import WindowCounts, best_first, rank_by_group, window_edges
from towers.recommender import Queries, Rankings, check_history, check_k
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrendingSettings:
    """days: the last so many days before the request are lately; before_days: so many before those, before.

    smoothing: events added to what was seen and to what was expected, so that a few say little.
    The windows are round numbers, not tuned.
    """

    days: float = bounded(7.0, gt=0.0)
    before_days: float = bounded(28.0, gt=0.0)
    smoothing: float = bounded(30.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class Trending:
    """A Recommender of what grows, the own history left out.

    growth(i) = (r_i + s) / (b_i · R / B + s): r_i events of item i lately and b_i before, R and B those of
    all items, s the smoothing. b_i · R / B is what the item would have had if its share had stayed; a busy
    week alone lets nothing grow. Under a growth that is Gamma(s, s) distributed beforehand, mean 1, and
    Poisson counts, this is its mean afterwards: one event of an item new to the log makes (1 + s) / s,
    a hundred 1 + 100 / s. Source: DuMouchel, The American Statistician 1999,
    doi:10.1080/00031305.1999.10474456. Without an event before (B = 0), growth orders by r_i.
    Items that grew, growth > 1, are scored by it, equals by all train events and then by row; the others
    follow in order of popularity, scored by their share of the train events less one.
    The windows end at the request, or where train ends if that is earlier; its own second is outside.

    popular: popularity over all of train. days, before_days, smoothing: see TrendingSettings.
    """

    popular: Popular
    days: float
    before_days: float
    smoothing: float

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items that grew most per query."""
        check_k(k)
        popular = self.popular
        num_items = len(popular.order)
        check_history(queries.history, num_items)
        ages = (self.days + self.before_days, self.days, 0.0)
        edges = window_edges(popular.time_seconds, queries.time_seconds, ages)
        windows, window = np.unique(edges, axis=0, return_inverse=True)
        before, lately = (WindowCounts(popular.item_row, num_items) for _ in range(2))

        def leaders(window: int, num_places: int) -> tuple[np.ndarray, np.ndarray]:
            begin, turn, end = windows[window].tolist()
            count, previous = lately.between(turn, end), before.between(begin, turn)
            times = (end - turn) / max(1, turn - begin)
            watched = np.flatnonzero(count)
            growth = self._growth(count[watched], previous[watched] * times)
            grew = growth > 1.0
            best = best_first(watched[grew], growth[grew], popular.order, popular.num_watches, num_places)
            growth = self._growth(count[best], previous[best] * times)
            return best, np.where(growth > 1.0, growth, popular.share(best) - 1.0)

        return rank_by_group(queries.history, k, window.reshape(-1), leaders)

    def _growth(
        self, count: Int64[np.ndarray, " n"], expected: Float64[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " n"]:
        growth: np.ndarray = (count + self.smoothing) / (expected + self.smoothing)
        return growth


def fit_trending(train: Histories, num_items: int, settings: TrendingSettings | None = None) -> Trending:
    """Trending of the train events over a catalogue of `num_items`."""
    settings = settings or TrendingSettings()
    check_ranges(settings, "trending")
    popular = fit_popular(train, num_items)
    log.info("fitted trending num_events=%d num_items=%d", train.num_events, num_items)
    return Trending(popular, settings.days, settings.before_days, settings.smoothing)
