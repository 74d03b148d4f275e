"""The Markov rung: what was watched soon after the titles that were just watched."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from towers.data.histories import Histories, runs
from towers.ladder.catalogue import ages, most_watched, rank_catalogue
from towers.recommender import Queries, Rankings, check_history
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

# Pairs of an event and a later one counted at once: bounds the memory of fitting.
_MAX_PAIRS = 1 << 22


@dataclass(frozen=True, slots=True)
class MarkovSettings:
    """window: an event is followed by so many later ones of its profile; the one g places later counts 1/g.

    decay: an event of the query a places before its newest weighs decay^a.
    num_recent: newest events of the query that speak at all.
    popularity: power of an item's train events by which its transitions are divided.
    num_successors: strongest successors kept per item.
    """

    window: int = bounded(20, ge=1)
    decay: float = bounded(0.8, gt=0.0, le=1.0)
    num_recent: int = bounded(50, ge=1)
    popularity: float = bounded(0.2, ge=0.0, le=1.0)
    num_successors: int = bounded(500, ge=1)


@dataclass(frozen=True, slots=True)
class Markov:
    """A Recommender by windowed transition counts, the own history left out.

    offset: int64 (N+1,); successor, strength: int64 and float32 (S,): item i was followed by
    successor[offset[i]:offset[i+1]], so strongly, in order of row.
    order: int64 (N,), all items, the most watched first.
    score(j) = Σ_a decay^a · strength(i_a → j) over the newest events i_0, i_1, … of the query. Items that
    followed none of them come after, in order of popularity, and an empty history gives it.
    """

    offset: Int64[np.ndarray, " N1"]
    successor: Int64[np.ndarray, " S"]
    strength: Float32[np.ndarray, " S"]
    order: Int64[np.ndarray, " N"]
    settings: MarkovSettings

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items that most strongly follow each query's newest events."""
        check_history(queries.history, len(self.order))
        cost = np.minimum(queries.history.lengths, self.settings.num_recent) * self.settings.num_successors
        return rank_catalogue(queries, k, self.order, lambda part: self._scores(part.history), cost)

    def _scores(self, history: Histories) -> Float32[np.ndarray, "Q N"]:
        num_items = len(self.order)
        recent = history.last(self.settings.num_recent)
        weight = self.settings.decay ** ages(recent)
        length = np.diff(self.offset)[recent.item_row]
        place = runs(self.offset[recent.item_row], length)
        cell = np.repeat(recent.profile_rows() * num_items, length) + self.successor[place]
        votes = np.repeat(weight, length) * self.strength[place]
        scores = np.bincount(cell, votes, minlength=len(history) * num_items)
        return np.where(scores > 0.0, scores, np.nan).reshape(len(history), num_items).astype(np.float32)


def fit_markov(train: Histories, num_items: int, settings: MarkovSettings | None = None) -> Markov:
    """Markov of the train events over a catalogue of `num_items`.

    strength(i → j) = Σ 1/g over events of j that lie g ≤ window places after one of i in the same history,
    divided by (train events of j)^popularity. A smoothed first-order chain with skipping: Shani et al., JMLR
    6, 2005, https://jmlr.org/papers/v6/shani05a.html. Counting takes window · E steps, a bounded number of
    pairs at a time; what is kept is at most num_successors per item.
    """
    settings = settings or MarkovSettings()
    check_ranges(settings, "markov")
    check_history(train, num_items)
    num_watches = np.bincount(train.item_row, minlength=num_items)
    discount = np.maximum(num_watches, 1) ** -settings.popularity
    by_item = np.argsort(train.item_row, kind="stable")
    num_later = np.minimum(ages(train), settings.window)
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start, stop in _blocks(num_watches, num_later[by_item]):
        event = by_item[start:stop]
        later = num_later[event]
        gap = runs(np.ones(len(event), np.int64), later)
        source, target = (
            # A log on disk has rows of 32 bits, in which the number of a pair would overflow.
            np.repeat(train.item_row[event].astype(np.int64), later),
            train.item_row[np.repeat(event, later) + gap].astype(np.int64),
        )
        kept.append(_strongest(source, target, discount[target] / gap, num_items, settings.num_successors))
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    source, successor, strength = (
        np.concatenate(columns) for columns in zip(*(kept or [nothing]), strict=True)
    )
    log.info(
        "fitted markov num_events=%d num_items=%d transitions=%d", train.num_events, num_items, len(source)
    )
    return Markov(
        offset=np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(source, minlength=num_items))]),
        successor=successor,
        strength=strength.astype(np.float32),
        order=most_watched(train, num_items),
        settings=settings,
    )


def _blocks(
    num_watches: Int64[np.ndarray, " N"], num_later: Int64[np.ndarray, " E"]
) -> list[tuple[int, int]]:
    """Runs of events, those of one item never parted, that have about _MAX_PAIRS pairs together."""
    pairs = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_later)])
    ends = np.cumsum(num_watches)
    blocks, start = [], 0
    while start < len(num_later):
        within = ends[pairs[ends] <= pairs[start] + _MAX_PAIRS]
        after = ends[ends > start][0]
        stop = int(max(after, within[-1] if len(within) else 0))
        blocks.append((start, stop))
        start = stop
    return blocks


def _strongest(
    source: Int64[np.ndarray, " P"],
    target: Int64[np.ndarray, " P"],
    weight: np.ndarray,
    num_items: int,
    num_kept: int,
) -> tuple[Int64[np.ndarray, " S"], Int64[np.ndarray, " S"], np.ndarray]:
    """Sources, targets and summed weights of the strongest pairs of each source; ties by target, no loops."""
    other = source != target
    pair, place = np.unique(source[other] * num_items + target[other], return_inverse=True)
    strength = np.bincount(place.reshape(-1), weight[other], minlength=len(pair))
    source, target = np.divmod(pair, max(1, num_items))
    best = np.lexsort((target, -strength, source))
    first = np.searchsorted(source, source)
    # Within its source, which stands as one run in `best`, a pair's place is its rank.
    kept = np.sort(best[np.arange(len(best)) - first < num_kept])
    return source[kept], target[kept], strength[kept]
