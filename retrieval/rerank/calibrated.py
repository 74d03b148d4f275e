"""Answers mixed by genre as the profile's own history is: Steck's greedy re-ranking, compiled.

Source: Steck, RecSys 2018, Calibrated Recommendations, doi:10.1145/3240323.3240372. His objective is monotone
and submodular, so the greedy list has at least 1 - 1/e of the best list's worth.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from jaxtyping import Float64

from retrieval.index.compiled import compiled
from retrieval.rerank.rerank import chosen, discount
from towers.evaluation.calibration import ALPHA, genre_shares, wanted_mix
from towers.recommender import PAD, Queries, Rankings, check_k
from towers.settings import bounded, check_ranges


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """weight: λ, of the calibration; 0 leaves the order as it is, 1 asks for nothing else. alpha: Steck's α.

    num_candidates: chosen from so many. temperature: of scores that are the logits of a softmax, times it, as
    towers are trained to give them (`objective.temperature` of the training); None of any others.
    """

    weight: float = bounded(0.5, ge=0.0, le=1.0)
    alpha: float = bounded(ALPHA, gt=0.0, lt=1.0)
    num_candidates: int = bounded(200, ge=1)
    temperature: float | None = bounded(None, gt=0.0)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A Reranker. At every place it takes the candidate that gains most of

    (1 - λ) Σ_i s(i) - λ KL(p ‖ q̃),  q̃ = (1 - α) q + α p,

    p the genres of the history, q those of the list so far with the candidate; the earlier candidate among
    equals. With a temperature s(i) is k times the chance of i among the candidates, by softmax: who is sure
    of a few titles keeps them, and who wants any of many is given the mix. Without one s(i) is
    1 / log2(place + 1) of its place. What is taken is shown best first by its scores, since the mix of a list
    is that of its titles in any order. A query without history keeps its order.
    """

    items: pa.Table
    settings: CalibrationSettings = field(default_factory=CalibrationSettings)
    _shares: Float64[np.ndarray, "N G"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_ranges(self.settings, "calibration")
        object.__setattr__(self, "_shares", genre_shares(self.items))

    @property
    def num_candidates(self) -> int:
        """As in the settings."""
        return self.settings.num_candidates

    def rerank(self, queries: Queries, candidates: Rankings, k: int) -> Rankings:
        """See Reranker."""
        check_k(k)
        wanted = wanted_mix(queries.history, self._shares)
        place = np.full((len(candidates), min(k, candidates.item_row.shape[1])), -1, np.int64)
        choose(
            np.ascontiguousarray(candidates.item_row),
            self._worth(candidates, k),
            wanted,
            self._shares,
            self.settings.weight,
            self.settings.alpha,
            place,
        )
        return chosen(candidates, place, k)

    def _worth(self, candidates: Rankings, k: int) -> Float64[np.ndarray, "Q M"]:
        temperature = self.settings.temperature
        if temperature is None:
            width = candidates.item_row.shape[1]
            return np.ascontiguousarray(np.broadcast_to(discount(width), (len(candidates), width)))
        best = candidates.score.max(axis=1, keepdims=True, initial=np.finfo(np.float32).min)
        chance = np.exp((candidates.score.astype(np.float64) - best) / temperature)
        worth: np.ndarray = k * chance / np.maximum(chance.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        return worth


@compiled
def choose(
    row: np.ndarray,  # int64 (Q, M): candidates, best first; PAD behind the last
    worth: np.ndarray,  # float64 (Q, M): of a candidate
    wanted: np.ndarray,  # float64 (Q, G)
    shares: np.ndarray,  # float64 (N, G)
    weight: float,
    alpha: float,
    place: np.ndarray,  # int64 (Q, K), -1: filled with the places of what is chosen
) -> None:
    """Writes which candidates each line takes, in the order in which it takes them."""
    num_genres = wanted.shape[1]
    shown = np.empty(num_genres)
    term = np.empty(num_genres)
    for line in range(len(row)):
        num = 0
        while num < row.shape[1] and row[line, num] != PAD:
            num += 1
        taken = np.zeros(num, np.bool_)
        shown[:] = 0.0
        for step in range(min(num, place.shape[1])):
            keep = (1.0 - alpha) / (step + 1)
            # Of the genres that a candidate is not of, the terms are those of the list so far.
            rest = 0.0
            for genre in range(num_genres):
                p = wanted[line, genre]
                term[genre] = 0.0
                if p > 0.0:
                    term[genre] = p * np.log(p / (keep * shown[genre] + alpha * p))
                    rest += term[genre]
            best, best_gain = -1, -np.inf
            for other in range(num):
                if taken[other]:
                    continue
                divergence = rest
                item = row[line, other]
                for genre in range(num_genres):
                    p, share = wanted[line, genre], shares[item, genre]
                    if p > 0.0 and share > 0.0:
                        mixed = keep * (shown[genre] + share) + alpha * p
                        divergence += p * np.log(p / mixed) - term[genre]
                gain = (1.0 - weight) * worth[line, other] - weight * divergence
                if gain > best_gain:
                    best, best_gain = other, gain
            taken[best] = True
            place[line, step] = best
            for genre in range(num_genres):
                shown[genre] += shares[row[line, best], genre]
