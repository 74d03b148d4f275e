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
    found: Tensor = _Unit.apply(vectors.to(wider))[0]  # type: ignore[no-untyped-call]
    return found


class _Unit(torch.autograd.Function):
    """y = x / |x|, and 1 / |x|; the gradient is that of y without its part along y, divided by |x|."""

    @staticmethod
    def forward(vectors: Tensor) -> tuple[Tensor, Tensor]:
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        scale = length.clamp_(min=_SHORTEST).reciprocal_()
        return vectors * scale, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], vectors: Tensor) -> tuple[tuple[Tensor, Tensor], int]:
        # It is each vector's own already, whatever stands before.
        return _Unit.apply(vectors.movedim(in_dims[0], 0)), 0  # type: ignore[no-untyped-call]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        found, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(gradient, found).unsqueeze(-1)
        across: Tensor = torch.addcmul(gradient, found, along, value=-1.0).mul_(scale)
        return across
