"""Vectors and rows of all ranks on every rank, with gradient: negatives of the joined batch."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable


def gathered(own: Shaped[Tensor, "P ..."]) -> Shaped[Tensor, "total ..."]:
    """What every rank holds, one rank after another in order; ranks may hold different numbers, or none.

    The gradient is that of the sum of all ranks' losses: each rank gets back what all of them made of its
    part. Padding only travels; nothing of it is seen. Without a process group it is `own` itself.
    """
    if not _distributed():
        return own
    all_of_them: Tensor = _Gathered.apply(own, gathered_sizes(own))  # type: ignore[no-untyped-call]
    return all_of_them


def gathered_sizes(own: Shaped[Tensor, "P ..."]) -> list[int]:
    """How many lines each rank holds, in the order of ranks."""
    if not _distributed():
        return [len(own)]
    size = torch.tensor([len(own)], device=own.device)
    sizes = [torch.empty_like(size) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, size)
    return [int(each) for each in sizes]


def share_of_all(weight: Shaped[Tensor, "..."]) -> Tensor:
    """A rank's weight over the mean weight of all ranks; 1 without a process group.

    A rank's weighted mean times this, averaged over ranks as DistributedDataParallel does with gradients, is
    the weighted mean of the joined batch: sum_r w_r loss_r / sum_r w_r. 0 where no rank has any weight.
    """
    if not _distributed():
        return weight.new_ones(())
    own = weight.sum()
    total = own.clone()
    dist.all_reduce(total)
    return torch.where(total > 0, own * dist.get_world_size() / total, 0.0)


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        # Collectives want one shape on all ranks.
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        sizes: list[int] = ctx.sizes
        longest = max(sizes)
        padded = grad.new_zeros(len(sizes) * longest, *grad.shape[1:])
        for rank, part in enumerate(torch.split(grad, sizes)):
            padded[rank * longest : rank * longest + len(part)] = part
        own = grad.new_empty(longest, *grad.shape[1:])
        dist.reduce_scatter_tensor(own, padded)
        return own[: sizes[dist.get_rank()]], None
