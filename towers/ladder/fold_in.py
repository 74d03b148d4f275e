"""iALS at the moment of a query: a vector for a history that no training saw, and what a title is beside it.

Written so that every answer of the rung is an inner product: an index over the item vectors serves it, and
the encoder needs nothing but those vectors and four numbers.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64, Int64

from towers.data.histories import Histories
from towers.ladder.catalogue import recency_weights
from towers.recommender import Queries
from towers.settings import bounded

# What puts an item without a train event below all others: scores of iALS lie near 0 to 1.
_COLD = np.float32(-1e6)
# Beside the factors an item vector holds one place for being cold and one for its popularity.
_NUM_BESIDE = 2
# Equations solved at once: 256 of 64 factors are 8 MiB.
_BATCH = 256


@dataclass(frozen=True, slots=True)
class FoldInSettings:
    """regularisation: λ. confidence: α, of a watch of weight 1. recency: decay per place of the history."""

    regularisation: float = bounded(10.0, gt=0.0)
    confidence: float = bounded(1.0, gt=0.0)
    recency: float = bounded(0.5, ge=0.0)


def item_vectors(
    factor: Float32[np.ndarray, "N d"], num_events: Int64[np.ndarray, " N"]
) -> Float32[np.ndarray, "N D"]:
    """What the queries of a FoldInEncoder are multiplied with, d factors and two places more.

    The first of the two is 0, or far below 0 without a train event; the other is popularity, 1 for the most
    watched item.
    """
    watched = num_events > 0
    popularity = (num_events / max(1, num_events.max(initial=0))).astype(np.float32)
    beside = np.stack([np.where(watched, np.float32(0), _COLD), popularity], axis=1)
    return np.concatenate([np.where(watched[:, None], factor, np.float32(0)), beside], axis=1)


class FoldInEncoder:
    """Queries → vectors whose inner products with `item_vectors` rank as iALS does.

    A history is solved against the fixed factors, as a sweep solves that of a train profile:
    x = (YᵀY + λI + Σ_i (c_i − 1) y_i y_iᵀ)⁻¹ Σ_i c_i y_i, c_i = α · weight_i · exp(−recency · age_i), of an
    item watched twice the later. Source: Hu, Koren and Volinsky, ICDM 2008, doi:10.1109/ICDM.2008.22. Items
    without a train event rank below all others; without any other in the history, popularity ranks.
    """

    profile_columns: tuple[str, ...] = ()

    def __init__(self, vectors: Float32[np.ndarray, "N D"], settings: FoldInSettings) -> None:
        self.dimension = vectors.shape[1]
        self.settings = settings
        self._vectors = vectors
        self._num_factors = self.dimension - _NUM_BESIDE
        self._factor = vectors[:, : self._num_factors]
        self._watched = vectors[:, self._num_factors] == 0.0
        gram = self._factor.astype(np.float64).T @ self._factor
        self._gram = gram + settings.regularisation * np.eye(self._num_factors)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the item vectors and the settings."""
        said = repr((self._vectors.shape, self.settings)).encode()
        return hashlib.sha256(said + np.ascontiguousarray(self._vectors).tobytes()).hexdigest()

    def encode(self, queries: Queries) -> Float32[np.ndarray, "Q D"]:
        """One vector per query; an empty history gives popularity."""
        history = queries.history
        weight = history.weight * recency_weights(history, self.settings.recency)
        vectors = np.zeros((len(queries), self.dimension), np.float32)
        for start in range(0, len(queries), _BATCH):
            lines = range(start, min(start + _BATCH, len(queries)))
            parts = [self._equations(history, line, weight) for line in lines]
            matrix, right = (np.stack(side) for side in zip(*parts, strict=True))
            vectors[lines.start : lines.stop, : self._num_factors] = np.linalg.solve(
                matrix, right[:, :, None]
            )[:, :, 0]
        known = np.bincount(history.profile_rows()[self._watched[history.item_row]], minlength=len(queries))
        vectors[known > 0, self._num_factors] = 1.0
        vectors[known == 0, self._num_factors + 1] = 1.0
        return vectors

    def _equations(
        self, history: Histories, line: int, weight: Float64[np.ndarray, " E"]
    ) -> tuple[Float64[np.ndarray, "d d"], Float64[np.ndarray, " d"]]:
        """Both sides of the normal equations of one history."""
        events = slice(int(history.offset[line]), int(history.offset[line + 1]))
        row, from_end = np.unique(history.item_row[events][::-1], return_index=True)
        confidence = self.settings.confidence * weight[events][::-1][from_end]
        factor = self._factor[row].astype(np.float64)
        return self._gram + (factor.T * (confidence - 1.0)) @ factor, confidence @ factor
