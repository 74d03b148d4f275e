"""Numbers that come out the same on every machine, and counts that add up.

Linear algebra libraries sum float32 in orders of their own, so that the last bits of a score differ
between machines, and with them the title that is chosen. Factors here lie on a grid of 1/64 and utilities
on one of 1/4096: their float32 products and sums below 4096 are exact, in whatever order they are taken.
"""

import numpy as np
from jaxtyping import Float, Float32, Int64

_FACTOR_STEPS = 64
_UTILITY_STEPS = _FACTOR_STEPS**2


def factor_grid(values: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Values rounded to multiples of 1/64."""
    rounded: np.ndarray = (np.rint(values * _FACTOR_STEPS) / _FACTOR_STEPS).astype(np.float32)
    return rounded


def utility_grid(values: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Values rounded to multiples of 1/4096; infinities stay."""
    rounded: np.ndarray = (np.rint(values * _UTILITY_STEPS) / _UTILITY_STEPS).astype(np.float32)
    return rounded


def gumbel(rng: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "*shape"]:
    """Standard Gumbel noise: with it, the argmax of utilities is a draw from their softmax."""
    noise: np.ndarray = -np.log(rng.standard_exponential(shape))
    return noise


def allocate(
    weight: Float[np.ndarray, " n"],
    total: int,
    low: int,
    high: Int64[np.ndarray, " n"],
) -> Int64[np.ndarray, " n"]:
    """Whole counts in low..high that add up to `total` and are otherwise proportional to the weights.

    Needs n * low <= total <= sum(high) and positive weights.
    """
    below, above = 0.0, (float(high.max()) + 1.0) / float(weight.min())
    for _ in range(100):
        scale = (below + above) / 2
        if np.clip(weight * scale, low, high).sum() < total:
            below = scale
        else:
            above = scale
    wanted = np.clip(weight * below, low, high)
    count: np.ndarray = np.floor(wanted).astype(np.int64)
    while (missing := total - int(count.sum())) > 0:
        room = np.flatnonzero(count < high)
        by_fraction = room[np.argsort(count[room] - wanted[room], kind="stable")]
        count[by_fraction[:missing]] += 1
    return count


def offsets(count: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n1"]:
    """Where each of n packed groups starts, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])


def place_in_group(count: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " total"]:
    """0, 1, 2 … within each of n packed groups."""
    place: np.ndarray = np.arange(int(count.sum())) - np.repeat(offsets(count)[:-1], count)
    return place
