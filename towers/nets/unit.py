"""Vectors of unit length, with the gradient written out."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

_SHORTEST = 1e-12


def unit(vectors: Float[Tensor, "*n D"]) -> Float[Tensor, "*n D"]:
    """Each vector divided by its length, float32 at least; one of zeros stays.

    As `torch.nn.functional.normalize`, whose gradient goes through the division and the norm apart and reads
    and writes a table several times more: on a CPU it takes four times as long.
    """
    wider = torch.promote_types(vectors.dtype, torch.float32)
    found: Tensor = _Unit.apply(vectors.to(wider))  # type: ignore[no-untyped-call]
    return found


class _Unit(torch.autograd.Function):
    """y = x / |x|; the gradient is that of y without its part along y, divided by |x|."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        scale = length.clamp_(min=_SHORTEST).reciprocal_()
        found: Tensor = vectors * scale
        ctx.save_for_backward(found, scale)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        found, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(gradient, found).unsqueeze(-1)
        across: Tensor = torch.addcmul(gradient, found, along, value=-1.0).mul_(scale)
        return across
