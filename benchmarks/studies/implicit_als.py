"""Matrix factorisation of weighed events by alternating least squares, which weights were made for."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.data.histories import Histories


@dataclass(frozen=True, slots=True)
class ALSSettings:
    """dim: of the factors. confidence: α. regularisation: λ. num_sweeps: over profiles, then items."""

    dim: int = 32
    confidence: float = 4.0
    regularisation: float = 30.0
    num_sweeps: int = 8


def fit_als(
    train: Histories, num_items: int, settings: ALSSettings, seed: int
) -> tuple[Float64[np.ndarray, "P D"], Float64[np.ndarray, "N D"]]:
    """Factors x_p of profiles and y_i of items, whose inner product is the score.

    They minimise Σ_pi c_pi (e_pi - <x_p, y_i>)² + λ (Σ |x_p|² + Σ |y_i|²), where e_pi is 1 for an event and 0
    for none, and c_pi = 1 + α · weight, 1 for none. Source: Hu, Koren and Volinsky, ICDM 2008,
    doi:10.1109/ICDM.2008.22.
    """
    by_item = _by_item(train, num_items)
    item = np.random.default_rng(seed).normal(0.0, 0.1, (num_items, settings.dim))
    profile = np.zeros((len(train), settings.dim))
    for _ in range(settings.num_sweeps):
        profile = _solve(item, train.offset, train.item_row, train.weight, settings)
        item = _solve(profile, *by_item, settings)
    return profile, item


def _solve(
    fixed: np.ndarray, offset: np.ndarray, row: np.ndarray, weight: np.ndarray, settings: ALSSettings
) -> np.ndarray:
    """The factors of one side, those of the other being fixed."""
    num, dim = len(offset) - 1, fixed.shape[1]
    left = np.tile(fixed.T @ fixed + settings.regularisation * np.eye(dim), (num, 1, 1))
    right = np.zeros((num, dim, 1))
    extra = settings.confidence * weight.astype(np.float64)
    for place in range(num):
        part = slice(offset[place], offset[place + 1])
        chosen = fixed[row[part]]
        left[place] += (chosen.T * extra[part]) @ chosen
        right[place, :, 0] = (1.0 + extra[part]) @ chosen
    solved: np.ndarray = np.linalg.solve(left, right)[..., 0]
    return solved


def _by_item(train: Histories, num_items: int) -> tuple[Int64[np.ndarray, " N1"], np.ndarray, np.ndarray]:
    """The same events packed by item: offset, profile row, weight."""
    order = np.argsort(train.item_row, kind="stable")
    lengths = np.bincount(train.item_row, minlength=num_items)
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return offset, train.profile_rows()[order], train.weight[order]
