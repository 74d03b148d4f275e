"""The rung of popularity that fades: an event counts half after a half-life."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from towers.data.days import SECONDS_PER_DAY
from towers.data.histories import Histories
from towers.ladder.heuristics import Popular, fit_popular
from towers.ladder.popularity import best_first, rank_by_group
from towers.recommender import Queries, Rankings, check_history, check_k
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

# Events whose weights are held at once.
_MAX_EVENTS = 1 << 20
# About a hundred half-lives after the last watch of an item: what is left is below a float32's least step.
_LEAST_SUM = 1e-30


@dataclass(frozen=True, slots=True)
class DecayedSettings:
    """half_life_days: after so many days an event counts half.

    The default lies between what the validation items of MovieLens latest-small (90 days) and of
    MovieTweetings 100K (1 day) prefer, leave-one-out.
    """

    half_life_days: float = bounded(14.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class DecayedPopular:
    """A Recommender by popularity that fades, the own history left out.

    score(i) = Σ_e 2^(-(t_0 - t_e) / half-life) over the train events e of item i before the request. Its own
    second and what comes later never count. t_0 is the last event that counts: from any later moment, that of
    the request too, the order is the same, since all scores fade alike. Equals are placed by all train events
    and then by row. Items without an event before the request, or whose score is below 1e-30, follow in order
    of popularity, scored by their share of the train events less one.

    popular: popularity over all of train.
    newest: float64 (N,), the scores after the last train event.
    """

    popular: Popular
    half_life_days: float
    newest: Float64[np.ndarray, " N"]

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items of highest faded popularity per query."""
        check_k(k)
        check_history(queries.history, len(self.newest))
        popular = self.popular
        stops, group = np.unique(
            np.searchsorted(popular.time_seconds, queries.time_seconds), return_inverse=True
        )
        fading = _Fading(popular, self.half_life_days)

        def leaders(group: int, num_places: int) -> tuple[np.ndarray, np.ndarray]:
            stop = int(stops[group])
            value = self.newest if stop == len(popular.item_row) else fading.until(stop)
            watched = np.flatnonzero(value)
            best = best_first(watched, value[watched], popular.order, popular.num_watches, num_places)
            return best, np.where(value[best] > 0.0, value[best], popular.share(best) - 1.0)

        return rank_by_group(queries.history, k, group, leaders)


class _Fading:
    """Faded counts of every item, moved forward along the log."""

    __slots__ = ("_half_life_seconds", "_item_row", "_stop", "_sum", "_time_seconds")

    def __init__(self, popular: Popular, half_life_days: float) -> None:
        self._item_row: Int[np.ndarray, " E"] = popular.item_row
        self._time_seconds = popular.time_seconds
        self._half_life_seconds = half_life_days * SECONDS_PER_DAY
        self._sum = np.zeros(len(popular.order))
        self._stop = 0

    def until(self, stop: int) -> Float64[np.ndarray, " N"]:
        """The scores after the first `stop` events, overwritten by the next call; `stop` never goes back."""
        while self._stop < stop:
            first, last = self._stop, min(stop, self._stop + _MAX_EVENTS) - 1
            # The event before the first is what the sums so far are seen from.
            seen_from = max(first - 1, 0)
            age = self._time_seconds[last] - self._time_seconds[seen_from : last + 1]
            left = np.exp2(-age / self._half_life_seconds)
            self._sum *= left[0]
            np.add.at(self._sum, self._item_row[first : last + 1], left[first - seen_from :])
            self._sum[self._sum < _LEAST_SUM] = 0.0
            self._stop = last + 1
        return self._sum


def fit_decayed(train: Histories, num_items: int, settings: DecayedSettings | None = None) -> DecayedPopular:
    """DecayedPopular of the train events over a catalogue of `num_items`."""
    settings = settings or DecayedSettings()
    check_ranges(settings, "decayed")
    popular = fit_popular(train, num_items)
    newest = _Fading(popular, settings.half_life_days).until(train.num_events)
    log.info("fitted decayed num_events=%d half_life_days=%g", train.num_events, settings.half_life_days)
    return DecayedPopular(popular, settings.half_life_days, newest)
