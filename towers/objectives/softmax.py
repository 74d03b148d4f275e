"""Softmax over the whole catalogue, without ever holding positions × items."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from towers.settings import bounded

# Scores of one chunk of positions, by "is on a GPU": 2 MiB of float32 stay in a core's cache through the five
# passes over them; a GPU wants more at once.
_CHUNK_SCORES = {False: 1 << 19, True: 1 << 26}


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
    O(P·D + N·D) and each product is computed once. An empty batch has loss 0. The arithmetic is that of the
    wider of both types, whatever autocast says: gradients are summed over the whole catalogue.
    """
    wider = torch.promote_types(query.dtype, item.dtype)
    with torch.autocast(query.device.type, enabled=False):
        loss: Tensor = _FullSoftmax.apply(  # type: ignore[no-untyped-call]
            query.to(wider), item.to(wider), target_row, temperature
        )
    return loss


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, item: Tensor, target_row: Tensor, temperature: float) -> Tensor:
        num_positions, num_items = len(query), len(item)
        loss = query.new_zeros((), dtype=torch.promote_types(query.dtype, torch.float32))
        query_grad, item_grad = torch.empty_like(query), torch.zeros_like(item)
        step = max(1, _CHUNK_SCORES[query.device.type == "cuda"] // max(num_items, 1))
        for start in range(0, num_positions, step):
            chunk, target = query[start : start + step], target_row[start : start + step]
            score = ((chunk / temperature) @ item.T).to(loss.dtype)
            peak = score.amax(1, keepdim=True)
            of_target = score.gather(1, target[:, None])
            weight = score.sub_(peak).exp_()
            total = weight.sum(1, keepdim=True)
            loss += (total.log() + peak - of_target).sum()
            # d loss / d score is softmax minus one-hot: the softmax by two products, the one-hot by row.
            weight, total = weight.to(query.dtype), total.to(query.dtype)
            query_grad[start : start + step] = (weight @ item) / total - item[target]
            item_grad.addmm_(weight.T, chunk / total)
            item_grad.index_add_(0, target, chunk, alpha=-1)
        scale = 1.0 / max(num_positions, 1)
        ctx.save_for_backward(query_grad, item_grad)
        ctx.scale = scale / temperature
        return loss * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query_grad, item_grad = ctx.saved_tensors
        scale = (grad * ctx.scale).to(query_grad.dtype)
        return query_grad * scale, item_grad * scale, None, None
