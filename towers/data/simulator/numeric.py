"""Counts that add up, packed groups, and draws in constant time."""

import numpy as np
from jaxtyping import Float, Int, Int64

POOL = 1024
"""Places of a pool: a probability is a multiple of 1/1024."""


def gumbel(rng: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "*shape"]:
    """Standard Gumbel noise: with it, the argmax of utilities is a draw from their softmax."""
    noise: np.ndarray = -np.log(rng.standard_exponential(shape))
    return noise


def pools(
    rng: np.random.Generator, weight: Float[np.ndarray, "R n"], value: Int[np.ndarray, " n"]
) -> Int[np.ndarray, "R 1024"]:
    """R pools to draw from in constant time: values fill places of a row in proportion to their weights.

    A uniform place of a row is a draw. Places are whole, so shares are rounded to 1/1024 at random without
    bias (systematic sampling); what was rounded is the truth. A row of zeros is as one of ones.
    """
    weight = np.where(weight.sum(axis=1, keepdims=True) > 0, weight, 1.0)
    bound = np.cumsum(weight, axis=1, dtype=np.float64)
    bound *= POOL / bound[:, -1:]
    bound[:, -1] = POOL
    bound += rng.random((len(weight), 1))
    place = bound.astype(np.int64)
    count = np.diff(place, axis=1, prepend=0)
    filled = np.repeat(np.broadcast_to(value, weight.shape).ravel(), count.ravel())
    return filled.reshape(len(weight), POOL)


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


def repeats(
    group: Int[np.ndarray, " n"], value: Int[np.ndarray, " n"], num_values: int
) -> Int64[np.ndarray, " r"]:
    """The entries whose (group, value) stands at an earlier entry too, in no order."""
    # Sorting the pair with the entry packed below it is several times faster than an argsort of pairs.
    bits = max(1, len(group).bit_length())
    key = ((group.astype(np.int64) * num_values + value) << bits) | np.arange(len(group))
    key.sort()
    again = (key[1:] >> bits) == (key[:-1] >> bits)
    entries: np.ndarray = key[1:][again] & ((1 << bits) - 1)
    return entries
