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
    """What a position is asked.

    temperature: divides the cosine before the softmax; smaller separates the best items more sharply.
    num_targets: the next so many events are targets, the t-th with a weight of 1 / t. One asks for the next
    alone; a few more say what else belongs here, which a short log is too thin to show by itself.
    """

    temperature: float = bounded(0.05, ge=1e-3)
    num_targets: int = bounded(5, ge=1)


def falling_weights(
    target_row: Int64[Tensor, "P T"], preference: Float[Tensor, "P T"] | None = None
) -> Float[Tensor, "P T"]:
    """The weight of each target: 1 / t for the t-th, 0 where the row is negative, scaled to sum to 1.

    `preference` multiplies that: what a target's event says of what the profile likes. A position without any
    target has only zeros. The targets beyond the next event follow PinnerFormer's training on all future
    actions, Pancha et al. 2022, arXiv:2205.04507.
    """
    place = torch.arange(1, target_row.shape[1] + 1, device=target_row.device)
    weight = (target_row >= 0) / place
    weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-9)
    return weight if preference is None else weight * preference


def full_softmax(
    query: Float[Tensor, "P D"],
    item: Float[Tensor, "N D"],
    target_row: Int64[Tensor, "P T"],
    weight: Float[Tensor, "P T"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of weighted targets against every item of the catalogue: their weighted mean, in nats.

    loss = -sum_pt w_pt log( exp(s_pi) / sum_j exp(s_pj) ) / sum_pt w_pt,  i = target_row[p, t],
    s_pj = <q_p, v_j> / temperature. Where a weight is 0 its row may be negative. Both
    gradients are made in the forward pass, a chunk of positions at a time, so memory is O(P·D + N·D) and each
    product is computed once. An empty batch has loss 0. The arithmetic is that of the wider of both types,
    whatever autocast says: gradients are summed over the whole catalogue.
    """
    wider = torch.promote_types(query.dtype, item.dtype)
    with torch.autocast(query.device.type, enabled=False):
        loss: Tensor = _FullSoftmax.apply(  # type: ignore[no-untyped-call]
            query.to(wider), item.to(wider), target_row.clamp(min=0), weight.to(wider), temperature
        )
    return loss


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, item: Tensor, target_row: Tensor, weight: Tensor, temperature: float
    ) -> Tensor:
        num_positions, num_items = len(query), len(item)
        loss = query.new_zeros((), dtype=torch.promote_types(query.dtype, torch.float32))
        query_grad, item_grad = torch.empty_like(query), torch.zeros_like(item)
        step = max(1, _CHUNK_SCORES[query.device.type == "cuda"] // max(num_items, 1))
        for start in range(0, num_positions, step):
            part = slice(start, start + step)
            chunk, target, share = query[part], target_row[part], weight[part]
            score = ((chunk / temperature) @ item.T).to(loss.dtype)
            peak = score.amax(1, keepdim=True)
            of_target = (score.gather(1, target) * share).sum(1, keepdim=True)
            odds = score.sub_(peak).exp_()
            total = odds.sum(1, keepdim=True)
            whole = share.sum(1, keepdim=True)
            loss += ((total.log() + peak) * whole - of_target).sum()
            # d loss / d score is the position's weight times the softmax, minus the targets' weights: the
            # softmax by two products, the targets by row.
            odds, pushed = odds.to(query.dtype), (whole / total).to(query.dtype)
            pulled = torch.einsum("pt,ptd->pd", share, item[target])
            query_grad[part] = (odds @ item) * pushed - pulled
            item_grad.addmm_(odds.T, chunk * pushed)
            pulling = (share[..., None] * chunk[:, None]).flatten(0, 1)
            item_grad.index_add_(0, target.flatten(), pulling, alpha=-1)
        of_all = weight.sum(dtype=loss.dtype)
        scale = torch.where(of_all > 0, 1.0 / of_all, 0.0)
        ctx.save_for_backward(query_grad, item_grad, scale)
        ctx.temperature = temperature
        return loss * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        query_grad, item_grad, scale = ctx.saved_tensors
        scale = (grad * scale / ctx.temperature).to(query_grad.dtype)
        return query_grad * scale, item_grad * scale, None, None, None
