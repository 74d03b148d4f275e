"""What orders candidates anew, and a Recommender whose answers went through it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64

from towers.recommender import PAD, Queries, Rankings, Recommender, check_k


@runtime_checkable
class Reranker(Protocol):
    """Chooses k of some candidates, and their order."""

    @property
    def num_candidates(self) -> int:
        """How many it chooses from, where more are eligible than k."""
        ...

    def rerank(self, queries: Queries, candidates: Rankings, k: int) -> Rankings:
        """The k of the candidates per query that go best together, best first by the candidates' scores."""
        ...


@dataclass(frozen=True, slots=True)
class Reranked:
    """A Recommender: what another one answers, ordered anew. Reasons for degraded answers stay."""

    recommender: Recommender
    reranker: Reranker

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k chosen of the best candidates, best first."""
        check_k(k)
        candidates = self.recommender.rank(queries, max(k, self.reranker.num_candidates))
        return self.reranker.rerank(queries, candidates, k)


def discount(width: int) -> Float64[np.ndarray, " M"]:
    """1 / log2(place + 1), places from 1: what a candidate is worth, as nDCG weighs its place.

    Scores of one model are not those of another, and say nothing of how much the one is better; places do.
    """
    worth: np.ndarray = 1.0 / np.log2(np.arange(width) + 2.0)
    return worth


def chosen(candidates: Rankings, place: Int64[np.ndarray, "Q K"], k: int) -> Rankings:
    """The candidates at these places, -1 where there is none, in the candidates' order; k columns."""
    num_candidates = candidates.item_row.shape[1]
    by_score = np.sort(np.where(place < 0, num_candidates, place), axis=1)
    filled = by_score < num_candidates
    row = np.full((len(candidates), k), PAD, np.int64)
    score = np.full((len(candidates), k), -np.inf, np.float32)
    taken = np.where(filled, by_score, 0)
    if num_candidates:
        width = place.shape[1]
        row[:, :width] = np.where(filled, np.take_along_axis(candidates.item_row, taken, axis=1), PAD)
        score[:, :width] = np.where(filled, np.take_along_axis(candidates.score, taken, axis=1), -np.inf)
    return Rankings(row, score, candidates.degraded)
