"""Matryoshka prefixes: one training, vectors that can be cut short."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from towers.errors import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]
"""A loss of queries (P, D) or (P, K, D) and items (N, D)."""


def prefix(vector: Float[Tensor, "*B D"], dim: int) -> Float[Tensor, "*B d"]:
    """The first `dim` numbers of each vector, of unit length again: what an index of that width holds."""
    return F.normalize(vector[..., :dim], dim=-1)


def matryoshka(
    loss: Loss,
    query: Float[Tensor, "P *K D"],
    item: Float[Tensor, "N D"],
    prefixes: Sequence[int],
    weights: Sequence[float] | None = None,
) -> Float[Tensor, ""]:
    """The weighted mean of a loss over prefixes of both vectors, each of unit length again; in nats.

    loss = sum_m c_m loss( q_{1..m} / |q_{1..m}|, v_{1..m} / |v_{1..m}| ) / sum_m c_m. `weights` are the c_m,
    all alike where None. A `loss` that samples must see the same negatives each time: close over them.
    Source: Kusupati et al., NeurIPS 2022, arXiv:2205.13147.
    """
    longest = min(query.shape[-1], item.shape[-1])
    if max(prefixes) > longest:
        raise ConfigError(f"objective.matryoshka: {max(prefixes)} of vectors of {longest} dimensions")
    share = [1.0] * len(prefixes) if weights is None else list(weights)
    losses = [
        one * loss(prefix(query, dim), prefix(item, dim)) for dim, one in zip(prefixes, share, strict=True)
    ]
    total = losses[0]
    for one in losses[1:]:
        total = total + one
    return total / sum(share)
