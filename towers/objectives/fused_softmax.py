"""The full softmax on a GPU: two passes of one kernel, with nothing of size positions × items anywhere."""

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from towers.errors import TrainingError

if TYPE_CHECKING:
    from types import ModuleType

_LOG2_E = math.log2(math.e)
# With a fixed shift a position's exponents lie up to 2 · bound apart, and float32 holds 2^-126 to 2^127:
# going from 2^-120 to 2^80 leaves room for sums over 2^30 items of numbers up to 2^16.
_LARGEST_EXPONENT, _LARGEST_BOUND, _LARGEST_NUMBER = 80.0, 100.0, 2.0**16


def fused_softmax_fits(query: Tensor, item: Tensor, weight: Tensor) -> bool:
    """Whether `fused_softmax` can take these: on a GPU, in a type as below, d ≤ 256, and none of them empty.

    The products are bfloat16's, or for d ≤ 128 TF32's: for float16, which TF32 holds exactly, and for float32
    where `torch.backends.cuda.matmul.allow_tf32` lets torch's own products use it; never less exact than
    those.
    """
    wider = torch.promote_types(query.dtype, item.dtype)
    return (
        query.is_cuda
        and torch.version.hip is None
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and (wider in (torch.bfloat16, torch.float16) or _tf32_allowed(wider))
        and 0 < query.shape[1] <= (256 if wider == torch.bfloat16 else 128)
        and min(len(query), len(item), weight.numel()) > 0
        and find_spec("triton") is not None
    )


def fused_softmax(
    query: Float[Tensor, "P D"],
    item: Float[Tensor, "N D"],
    target_row: Int64[Tensor, "P T"],
    weight: Float[Tensor, "P T"],
    *,
    temperature: float,
    bias: Float[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of weighted targets against every item, as `softmax.full_softmax`, summed in float32.

    loss = -sum_pt w_pt log( exp(s_pi) / sum_j exp(s_pj) ) / sum_pt w_pt,  i = target_row[p, t],
    s_pj = <q_p, v_j> / temperature + bias_j. Where a weight is 0 its row may be negative; TrainingError where
    a position's weights sum to less than 0. bias: minus log q where items were sampled; it has no gradient.

    The forward pass keeps a block of positions and lets all items go by: log-totals and the softmax's mean
    item. The backward pass keeps a block of items and lets all positions go by. Each computes the scores, so
    8·P·N·D operations are done for the 6·P·N·D of the formula. Memory is O(P·D + N·D), little more than the
    gradients. No two blocks add to the same number: what may differ in the last digits from run to run is the
    targets' part, as torch's `index_add_` does unless told to be deterministic. That the backward pass
    computes scores anew is from Cut Cross-Entropy, Wijmans et al. 2024, arXiv:2411.09009; unlike there no
    gradient is left out for being small.

    Exponentials need a shift. One from the Cauchy-Schwarz bound |q_p| max|v_j| / temperature costs nothing;
    it is safe where all of a position's exponentials stay in float32's range, which one comparison on the
    largest norms decides (unit vectors: temperature ≥ 0.0145). Otherwise a further pass, of 2·P·N·D
    operations, finds each position's largest score.
    """
    with torch.autocast(query.device.type, enabled=False):
        loss: Tensor = _FusedSoftmax.apply(  # type: ignore[no-untyped-call]
            query, item, target_row.clamp(min=0), weight.float(), temperature, bias
        )
    return loss


class _FusedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        item: Tensor,
        target_row: Tensor,
        weight: Tensor,
        temperature: float,
        bias: Tensor | None,
    ) -> Tensor:
        scale, whole = _LOG2_E / temperature, weight.sum(1)
        q, v = _as_operands(query, item)
        bias = None if bias is None else (bias.float() * _LOG2_E).contiguous()
        shift = _shift(q, v, scale, bias, whole)
        weighted, total = _kernels().exponential_sums(q, v, scale, staying_shift=shift, passing_shift=bias)
        weighted, total = weighted.sum(0)[:, : query.shape[1]], total.sum(0)
        log_total = total.log2() - shift
        losses = log_total * whole / _LOG2_E
        pull = torch.zeros_like(query, dtype=torch.float32)
        for row, share in zip(target_row.T, weight.T, strict=True):
            pull.addcmul_(item[row].float(), share[:, None])
            if bias is not None:
                losses = losses - bias[row] / _LOG2_E * share
        losses = losses - (query.float() * pull).sum(1) / temperature
        of_all = whole.sum()
        portion = torch.where(of_all > 0, 1.0 / of_all, 0.0)
        pull = weighted.mul_((whole / total)[:, None]).sub_(pull)
        ctx.save_for_backward(query, item, target_row, weight, log_total, pull, portion)
        ctx.temperature, ctx.bias = temperature, bias
        loss: Tensor = losses.sum() * portion
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        query, item, target_row, weight, log_total, pull, portion = ctx.saved_tensors
        factor = (grad * portion / ctx.temperature).float()
        of_query = (pull * factor).to(query.dtype) if ctx.needs_input_grad[0] else None
        of_item = None
        if ctx.needs_input_grad[1]:
            q, v = _as_operands(query, item)
            pushed = _kernels().weighted_rows(
                v,
                q,
                _LOG2_E / ctx.temperature,
                staying_shift=ctx.bias,
                passing_shift=weight.sum(1).log2() - log_total,
                factor=factor,
            )
            of_item = pushed[:, : item.shape[1]]
            _subtract_targets(of_item, query, target_row, weight * factor)
            of_item = of_item.to(item.dtype)
        return of_query, of_item, None, None, None, None


def _kernels() -> "ModuleType":
    # Only here is Triton needed: this module is imported where there is no GPU.
    from towers.objectives import exponential_sums

    return exponential_sums


def _tf32_allowed(dtype: torch.dtype) -> bool:
    return dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32


def _as_operands(query: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the type that is multiplied, rows of whole 16 bytes: what the GPU copies in blocks."""
    wider = torch.promote_types(query.dtype, item.dtype)
    kind = torch.bfloat16 if wider == torch.bfloat16 else torch.float32
    missing = -query.shape[1] % (16 // kind.itemsize)
    return _operand(query, kind, missing), _operand(item, kind, missing)


def _operand(vectors: Tensor, kind: torch.dtype, missing: int) -> Tensor:
    vectors = vectors.detach().to(kind)
    if missing:
        return torch.nn.functional.pad(vectors, (0, missing))
    vectors = vectors.contiguous()
    # What is contiguous may still be a slice that begins anywhere.
    return vectors if vectors.data_ptr() % 16 == 0 else vectors.clone()


def _shift(q: Tensor, v: Tensor, scale: float, bias: Tensor | None, whole: Tensor) -> Tensor:
    """What is added to a position's exponents, so that none overflows and their sum does not vanish."""
    longest = torch.linalg.vector_norm(v, dim=1, dtype=torch.float32).max()
    bound = torch.linalg.vector_norm(q, dim=1, dtype=torch.float32) * longest * scale
    if bias is not None:
        bound = bound + bias.abs().max()
    # The GPU is waited for once.
    widest, largest, lightest = torch.stack([bound.max(), longest, whole.min()]).tolist()
    if lightest < 0:
        raise TrainingError(f"weight: a position's weights sum to {lightest:.4g}; expected 0 or more")
    if widest <= _LARGEST_BOUND and largest <= _LARGEST_NUMBER:
        shift: Tensor = _LARGEST_EXPONENT - bound
        return shift
    peak: Tensor = _kernels().largest_scores(q, v, scale, passing_shift=bias)
    return -peak


def _subtract_targets(item_grad: Tensor, query: Tensor, target_row: Tensor, weight: Tensor) -> None:
    """Takes sum_pt w_pt q_p from the rows of the targets, added up in float32 whatever the types."""
    rows, place = torch.unique(target_row, return_inverse=True)
    pulled = query.new_zeros((len(rows), query.shape[1]), dtype=torch.float32)
    for t in range(target_row.shape[1]):
        pulled.index_add_(0, place[:, t], query.float() * weight[:, t, None])
    item_grad[rows] = (item_grad[rows].float() - pulled).to(item_grad.dtype)
