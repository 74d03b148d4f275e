"""Planted decays: triangular matrices of hit rates whose λ, A and Q∞ are known."""

import numpy as np

from towers.evaluation.decay import QualityMatrix

DAY = 86_400
AGE_DAYS = np.arange(12) * 4.0 + 2.0


def exact(
    rate: float, amplitude: float = 0.08, levels: tuple[float, ...] = (0.10, 0.13, 0.11, 0.12)
) -> QualityMatrix:
    """No noise at all: each origin on its own curve, the later ones measured at fewer ages."""
    quality = np.array(levels)[:, None] + amplitude * np.exp(-rate * AGE_DAYS)
    return QualityMatrix(cut_offs(len(levels)), AGE_DAYS, quality, triangle(len(levels), 100))


def sampled(
    seed: int, rate: float, *, amplitude: float = 0.08, num_queries: int = 10_000, num_origins: int = 8
) -> QualityMatrix:
    """Hits counted per cell, levels that differ by origin around .12, and a week's rhythm of one per cent."""
    rng = np.random.default_rng(seed)
    level = 0.12 + rng.normal(0.0, 0.01, (num_origins, 1))
    day = 4.0 * np.arange(num_origins)[:, None] + AGE_DAYS
    week = 1.0 + 0.01 * np.sin(2.0 * np.pi * day / 7.0)
    count = triangle(num_origins, num_queries)
    hits = rng.binomial(count, (level + amplitude * np.exp(-rate * AGE_DAYS)) * week)
    return QualityMatrix(cut_offs(num_origins), AGE_DAYS, hits / np.maximum(count, 1), count)


def cut_offs(num_origins: int) -> np.ndarray:
    return np.arange(num_origins, dtype=np.int64) * 4 * DAY


def triangle(num_origins: int, num_queries: int) -> np.ndarray:
    """Origin o is measured at all but its last o ages."""
    measured = np.arange(num_origins)[:, None] + np.arange(len(AGE_DAYS)) < len(AGE_DAYS)
    return np.where(measured, num_queries, 0)
