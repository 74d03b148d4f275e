"""Answers with places kept for new and for local titles: the best list of those that have enough of them."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64

from retrieval.rerank.rerank import chosen, discount
from towers.evaluation.new_local import NewAndLocal
from towers.recommender import PAD, Degraded, Queries, Rankings, check_k
from towers.settings import bounded, check_ranges


@dataclass(frozen=True, slots=True)
class MinimumSettings:
    """min_new, min_local: places of an answer, at the least, for titles that are new, and for those that were
    made in the country of the request; a title that is both counts for both. 0 asks for none.

    new_days: a title is new for so many days from its `released` on. num_candidates: chosen from so many.
    """

    min_new: int = bounded(0, ge=0)
    min_local: int = bounded(0, ge=0)
    new_days: float = bounded(56.0, gt=0.0)
    num_candidates: int = bounded(200, ge=1)


@dataclass(frozen=True, slots=True)
class MinimumExposure:
    """A Reranker. Of all lists of k candidates that have the places asked for it takes the best, exactly:

    that of the largest Σ 1 / log2(place + 1) of the candidates' places. Where no list has them all, it is the
    best of those that lack the fewest, and the answer is tagged BELOW_FLOOR unless it has a reason already.
    Nothing but candidates is shown, so that what rules left out stays out; best first by their scores. A
    query without a country has no local titles.
    """

    items: pa.Table
    settings: MinimumSettings = field(default_factory=MinimumSettings)
    _kinds: NewAndLocal = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_ranges(self.settings, "minimum")
        object.__setattr__(self, "_kinds", NewAndLocal.of(self.items))

    @property
    def num_candidates(self) -> int:
        """As in the settings."""
        return self.settings.num_candidates

    def rerank(self, queries: Queries, candidates: Rankings, k: int) -> Rankings:
        """See Reranker."""
        check_k(k)
        s, row = self.settings, candidates.item_row
        new = self._kinds.new(row, queries.time_seconds, s.new_days)
        local = self._kinds.local(row, queries.country)
        worth = discount(row.shape[1])
        place = np.full((len(candidates), min(k, row.shape[1])), -1, np.int64)
        below = np.zeros(len(candidates), bool)
        for line, num in enumerate((row != PAD).sum(axis=1).tolist()):
            size = min(num, place.shape[1])
            place[line, :size], missing = _best(
                new[line, :num], local[line, :num], worth[:num], (s.min_new, s.min_local), size
            )
            below[line] = missing > 0
        found = chosen(candidates, place, k)
        if not below.any():
            return found
        said = candidates.degraded or (None,) * len(candidates)
        tagged = [
            one or (Degraded.BELOW_FLOOR if low else None) for one, low in zip(said, below, strict=True)
        ]
        return Rankings(found.item_row, found.score, tuple(tagged))


def _best(
    new: Bool[np.ndarray, " M"],
    local: Bool[np.ndarray, " M"],
    worth: Float64[np.ndarray, " M"],
    floors: tuple[int, int],
    k: int,
) -> tuple[np.ndarray, int]:
    """The places of the best k of M candidates, best first, and how many the floors lack.

    Of each kind (new, local, both, neither) a best list holds the first ones. So for every number of titles
    that are both, the fewest others that fill the floors are taken, and then the first of all that are left.
    """
    both = np.flatnonzero(new & local)
    best, least, most = np.arange(k), _missing(new[:k], local[:k], floors), float(worth[:k].sum())
    if least == 0:
        return best, 0
    only_new, only_local = np.flatnonzero(new & ~local), np.flatnonzero(local & ~new)
    for num_both in range(min(len(both), max(floors), k) + 1):
        others = np.concatenate(
            [only_new[: max(0, floors[0] - num_both)], only_local[: max(0, floors[1] - num_both)]]
        )
        # Where they are too many for the places left, each that goes is missed once: the last ones go.
        kept = np.sort(others)[: k - num_both]
        taken = np.zeros(len(new), bool)
        taken[both[:num_both]] = taken[kept] = True
        taken[np.flatnonzero(~taken)[: k - int(taken.sum())]] = True
        places = np.flatnonzero(taken)
        lacking, value = _missing(new[places], local[places], floors), float(worth[places].sum())
        if (lacking, -value) < (least, -most):
            best, least, most = places, lacking, value
    return best, least


def _missing(new: np.ndarray, local: np.ndarray, floors: tuple[int, int]) -> int:
    """How many places of a list are below its floors, both together."""
    return max(0, floors[0] - int(new.sum())) + max(0, floors[1] - int(local.sum()))
