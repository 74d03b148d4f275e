"""Randomness that nobody can compute again: the operating system's, not a generator with a seed.

The seed of a training stands in its export. Noise made of it could be made again and taken off.
"""

import math
import os
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

NoiseSource = Callable[[int], Tensor]
"""So many independent standard normal numbers, float64 (n,)."""

_BITS = 53
_DRAWS = 4
_CHUNK = 1 << 20


def secure_normal(num: int) -> Float64[Tensor, " n"]:
    """Standard normal numbers of the operating system's cryptographic generator.

    Each is half the sum of four that Box and Muller's transform gives of 53-bit uniform ones. A single
    transform reaches few of the floats, and which one was reached can tell what it was added to; of four
    together nobody works out which they were (Holohan and Braghin 2021, arXiv:2107.10138, as Opacus's secure
    mode does). None is beyond 13.
    """
    parts = [_normal(min(_CHUNK, num - start)) for start in range(0, num, _CHUNK)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def drawn(num: int, probability: float) -> Bool[np.ndarray, " n"]:
    """Which of so many are drawn, each by itself with this probability, by the same generator."""
    return _uniform(num) <= probability


def _normal(num: int) -> Tensor:
    size = _DRAWS // 2 * num
    length = torch.from_numpy(_uniform(size)).log_().mul_(-2.0).sqrt_()
    angle = torch.from_numpy(_uniform(size)).mul_(2.0 * math.pi)
    return (length * (angle.cos() + angle.sin())).view(-1, num).sum(0).div_(math.sqrt(_DRAWS))


def _uniform(num: int) -> np.ndarray:
    """float64 (n,), multiples of 2^-53 above 0 and up to 1."""
    bits = np.frombuffer(os.urandom(8 * num), np.uint64) >> np.uint64(64 - _BITS)
    found: np.ndarray = (bits.astype(np.float64) + 1.0) * 2.0**-_BITS
    return found
