"""Softmax over the whole catalogue, without ever holding positions × items."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from towers.settings import bounded

# Scores of one chunk of positions: 16 Mi are 64 MiB in float32, near the cache and far from the memory.
_CHUNK_SCORES = 1 << 24


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """temperature: divides the cosine before the softmax; smaller separates the best items more sharply."""

    temperature: float = bounded(0.06, gt=0.0)


def full_softmax(
    query: Float[Tensor, "P D"],
    item: Float[Tensor, "N D"],
    target_row: Int64[Tensor, " P"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of the target against every item of the catalogue: mean over positions, in nats.

    loss = -mean_p log( exp(s_pt) / sum_j exp(s_pj) ),  s_pj = <q_p, v_j> / temperature, t = target_row[p].
    Both gradients are made in the forward pass, a chunk of positions at a time, so memory is
    O(P·D + N·D) and each product is computed once. An empty batch has loss 0.
    """
    loss: Tensor = _FullSoftmax.apply(query, item, target_row, temperature)  # type: ignore[no-untyped-call]
    return loss


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, item: Tensor, target_row: Tensor, temperature: float) -> Tensor:
        num_positions, num_items = len(query), len(item)
        loss = query.new_zeros((), dtype=torch.promote_types(query.dtype, torch.float32))
        query_grad, item_grad = torch.zeros_like(query), torch.zeros_like(item)
        step = max(1, _CHUNK_SCORES // max(num_items, 1))
        for start in range(0, num_positions, step):
            chunk, target = query[start : start + step], target_row[start : start + step, None]
            score = (chunk @ item.T).to(loss.dtype).div_(temperature)
            log_total = torch.logsumexp(score, dim=1, keepdim=True)
            loss += (log_total - score.gather(1, target)).sum()
            # d loss / d score is softmax minus one-hot; it takes the place of the scores.
            score.sub_(log_total).exp_()
            score.scatter_add_(1, target, torch.full_like(target, -1, dtype=score.dtype))
            score = score.to(query.dtype)
            query_grad[start : start + step] = score @ item
            item_grad.addmm_(score.T, chunk)
        scale = 1.0 / max(num_positions, 1)
        ctx.save_for_backward(query_grad, item_grad)
        ctx.scale = scale / temperature
        return loss * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query_grad, item_grad = ctx.saved_tensors
        scale = (grad * ctx.scale).to(query_grad.dtype)
        return query_grad * scale, item_grad * scale, None, None
