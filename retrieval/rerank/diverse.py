"""Answers whose titles differ from each other: maximal marginal relevance over the item vectors.

Source: Carbonell and Goldstein, SIGIR 1998, doi:10.1145/290941.291025.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from retrieval.rerank.rerank import chosen, discount
from towers.recommender import PAD, Queries, Rankings, check_k
from towers.settings import bounded, check_ranges


@dataclass(frozen=True, slots=True)
class DiversitySettings:
    """weight: of being unlike what is shown already; 0 leaves the order as it is. num_candidates: as said."""

    weight: float = bounded(0.3, ge=0.0, le=1.0)
    num_candidates: int = bounded(100, ge=1)


@dataclass(frozen=True, slots=True)
class Diverse:
    """A Reranker. At every place it takes the candidate of the highest

    (1 - λ) s(i) - λ max_j cos(i, j),

    s(i) = 1 / log2(place + 1) of a candidate's place, j what is chosen already; the earlier one among equals.
    What is taken is shown best first by its scores.
    """

    vectors: Float32[np.ndarray, "N D"]
    settings: DiversitySettings = field(default_factory=DiversitySettings)

    def __post_init__(self) -> None:
        check_ranges(self.settings, "diversity")

    @property
    def num_candidates(self) -> int:
        """As in the settings."""
        return self.settings.num_candidates

    def rerank(self, queries: Queries, candidates: Rankings, k: int) -> Rankings:
        """See Reranker."""
        check_k(k)
        worth = (1.0 - self.settings.weight) * discount(candidates.item_row.shape[1])
        place = np.full((len(candidates), min(k, candidates.item_row.shape[1])), -1, np.int64)
        for line, row in enumerate(candidates.item_row):
            num = int((row != PAD).sum())
            place[line, : min(num, place.shape[1])] = self._line(row[:num], worth[:num], place.shape[1])
        return chosen(candidates, place, k)

    def _line(self, row: np.ndarray, worth: np.ndarray, k: int) -> list[int]:
        vectors = self.vectors[row].astype(np.float64)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit = vectors / np.where(length > 0.0, length, 1.0)
        nearest = np.full(len(row), -np.inf)
        taken: list[int] = []
        left = np.ones(len(row), bool)
        for _ in range(min(k, len(row))):
            now = worth - self.settings.weight * nearest if taken else worth
            best = int(np.argmax(np.where(left, now, -np.inf)))
            taken.append(best)
            left[best] = False
            nearest = np.maximum(nearest, unit @ unit[best])
        return taken
