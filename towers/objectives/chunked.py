"""Scores of positions against their negatives, a chunk at a time: what every sampled loss is made of.

Both gradients are made in the forward pass, so neither positions × negatives nor, where negatives are each
position's own, positions × negatives × D is ever held.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from towers.objectives.masks import blocked_each, blocked_shared, slots

# Numbers of one chunk, by "is on a GPU": they stay in a core's cache through the passes over them.
_CHUNK_NUMBERS = {False: 1 << 19, True: 1 << 26}


Formula = Callable[[Tensor, Tensor, slice], tuple[Tensor, Tensor, Tensor]]
"""A loss of scores: formula(own, score, part) is its sum over the positions `part`, and both its derivatives.

own: (C, A), of the position's own rows; score: (C, M), of its negatives; both may be written over. -inf where
there is no such row, or where it is masked: the derivative there must be 0.
"""


def scored_sum(
    query: Float[Tensor, "P *K D"],
    item: Float[Tensor, "N D"],
    own_row: Int64[Tensor, "P A"],
    negative_row: Int64[Tensor, "..."],
    formula: Formula,
    *,
    temperature: float,
    blocked_row: Int64[Tensor, "P X"] | None = None,
) -> Float[Tensor, ""]:
    """The sum over positions of a loss of their scores, s_pj = max_k <q_pk, v_j> / temperature.

    query: one vector a position or K interests, of which the best counts for each item. own_row: the rows
    that are the position's own, -1 for none; a negative of the same row is masked: it was drawn by accident.
    negative_row: (M,) distinct, or (P, M). blocked_row: further rows to be masked among the negatives.
    The arithmetic is that of the wider of both types, float32 at least, whatever autocast says.
    """
    wider = torch.promote_types(torch.promote_types(query.dtype, item.dtype), torch.float32)
    interests = query if query.ndim == 3 else query[:, None]
    blocked = own_row if blocked_row is None else torch.cat([own_row, blocked_row], 1)
    with torch.autocast(query.device.type, enabled=False):
        total: Tensor = _ScoredSum.apply(  # type: ignore[no-untyped-call]
            interests.to(wider), item.to(wider), own_row, negative_row, blocked, formula, temperature
        )
    return total


class _ScoredSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        item: Tensor,
        own_row: Tensor,
        negative_row: Tensor,
        blocked_row: Tensor,
        formula: Formula,
        temperature: float,
    ) -> Tensor:
        total = query.new_zeros(())
        query_grad, item_grad = torch.empty_like(query), torch.zeros_like(item)
        shared = negative_row.ndim == 1
        slot = slots(negative_row, len(item)) if shared else negative_row
        vector = item[negative_row] if shared else item
        vector_grad = torch.zeros_like(vector) if shared else item_grad
        for part in _parts(query, own_row, negative_row):
            scaled, own = query[part] / temperature, own_row[part]
            if shared:
                blocked = blocked_shared(slot, blocked_row[part], len(negative_row))
                score, best = _best(scaled @ vector.T)
            else:
                blocked = blocked_each(negative_row[part], blocked_row[part])
                vector = item[negative_row[part]]
                score, best = _best(scaled @ vector.mT)
            own_vector = item[own.clamp(min=0)]
            own_score, own_best = _best(scaled @ own_vector.mT)
            loss, own_grad, grad = formula(
                own_score.masked_fill(own < 0, -torch.inf), score.masked_fill_(blocked, -torch.inf), part
            )
            total += loss
            own_grad = _spread(own_grad, own_best, query.shape[1])
            grad = _spread(grad, best, query.shape[1])
            query_grad[part] = grad @ vector + own_grad @ own_vector
            item_grad.index_add_(0, own.clamp(min=0).flatten(), (own_grad.mT @ scaled).flatten(0, 1))
            if shared:
                vector_grad.addmm_(grad.flatten(0, 1).T, scaled.flatten(0, 1))
            else:
                vector_grad.index_add_(0, negative_row[part].flatten(), (grad.mT @ scaled).flatten(0, 1))
        if shared:
            item_grad.index_add_(0, negative_row, vector_grad)
        ctx.save_for_backward(query_grad, item_grad)
        ctx.temperature = temperature
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query_grad, item_grad = ctx.saved_tensors
        # Those of the items were taken by queries that the temperature had divided.
        by_query = query_grad * (grad / ctx.temperature)
        return by_query, item_grad * grad, None, None, None, None, None


def _parts(query: Tensor, own_row: Tensor, negative_row: Tensor) -> Iterator[slice]:
    num_positions, num_interests, dim = query.shape
    own = own_row.shape[1] * max(num_interests, dim)
    others = negative_row.shape[-1] * (num_interests if negative_row.ndim == 1 else max(num_interests, dim))
    step = max(1, _CHUNK_NUMBERS[query.is_cuda] // max(own, others, 1))
    for start in range(0, num_positions, step):
        yield slice(start, start + step)


def _best(score: Tensor) -> tuple[Tensor, Tensor | None]:
    """The best of K interests for each item, (C, K, M) → (C, M), and which it was; None where K is 1."""
    if score.shape[1] == 1:
        return score[:, 0], None
    best = score.max(1)
    return best.values, best.indices


def _spread(grad: Tensor, best: Tensor | None, num_interests: int) -> Tensor:
    """The derivative by the best interest's score as that by the scores of all, (C, M) → (C, K, M)."""
    if best is None:
        return grad[:, None]
    spread = grad.new_zeros(len(grad), num_interests, grad.shape[1])
    return spread.scatter_(1, best[:, None], grad[:, None])
