"""What orders candidates anew, and a Recommender whose answers went through it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from towers.errors import QueryError
from towers.recommender import PAD, Queries, Rankings, Recommender, check_k


@runtime_checkable
class Reranker(Protocol):
    """Chooses k of some candidates, and their order."""

    @property
    def num_candidates(self) -> int:
        """How many it chooses from, where more are eligible than k."""
        ...

    def rerank(self, queries: Queries, candidates: Rankings, k: int) -> Rankings:
        """The best k of the candidates per query; k of them where there are k.

        The scores of a line are those of its first k candidates: they place, and say nothing of the order
        in which it was chosen.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reranked:
    """A Recommender: what another one answers, ordered anew. Reasons for degraded answers stay."""

    recommender: Recommender
    reranker: Reranker

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k chosen of the best candidates, in the order in which they were chosen."""
        check_k(k)
        candidates = self.recommender.rank(queries, max(k, self.reranker.num_candidates))
        return self.reranker.rerank(queries, candidates, k)


def liking(candidates: Rankings) -> Float64[np.ndarray, "Q M"]:
    """The scores of each line from 0, of its last candidate, to 1, of its first; 0 at empty places.

    So what they are weighed against means the same whatever the model's scale. All 1 where all are equal.
    """
    score = candidates.score.astype(np.float64)
    filled = candidates.item_row != PAD
    if not np.isfinite(score[filled]).all():
        raise QueryError("candidates: a score is not finite; expected finite ones but at empty places")
    high = np.where(filled, score, -np.inf).max(axis=1, initial=-np.inf)[:, None]
    low = np.where(filled, score, np.inf).min(axis=1, initial=np.inf)[:, None]
    with np.errstate(invalid="ignore"):
        spread = np.where(high > low, high - low, 1.0)
        liked: np.ndarray = np.where(filled, np.where(high > low, (score - low) / spread, 1.0), 0.0)
    return liked


def chosen(candidates: Rankings, place: np.ndarray, k: int) -> Rankings:
    """The candidates at these places, int64 (Q, min(k, M)), -1 behind the last; padded to k columns."""
    row = np.full((len(candidates), k), PAD, np.int64)
    score = np.full((len(candidates), k), -np.inf, np.float32)
    width = place.shape[1]
    taken = np.take_along_axis(candidates.item_row, np.maximum(place, 0), axis=1)
    row[:, :width] = np.where(place >= 0, taken, PAD)
    score[:, :width] = np.where(place >= 0, candidates.score[:, :width], -np.inf)
    return Rankings(row, score, candidates.degraded)
