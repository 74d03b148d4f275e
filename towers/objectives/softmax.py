"""Softmax over the whole catalogue, without ever holding positions × items."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from towers.objectives.fused_softmax import fused_softmax, fused_softmax_fits
from towers.objectives.vector_walk import vector_walk, vector_walk_fits

# Scores of one block, by "is on a GPU": 1 MiB of float32 stays in a core's cache through the four passes over
# it; a GPU wants more at once.
_BLOCK_SCORES = {False: 1 << 18, True: 1 << 26}
# So many positions at least share a pass over the items: a product of fewer waits for memory.
_FEWEST_POSITIONS = 64
# Exponentials from 2^-64 to 2^64 leave room in float32 for sums over 2^32 items of numbers up to 2^30.
_LARGEST_EXPONENT = 64.0
# What all threads together may hold of scores and of sums over their own positions, in numbers.
_THREADS_NUMBERS = 1 << 28


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
    s_pj = <q_p, v_j> / temperature. Where a weight is 0 its row may be negative. Both gradients are made in
    the forward pass, some positions at a time, so memory is O(P·D + N·D) and each product is computed once.
    An empty batch has loss 0. The arithmetic is that of the wider of both types, float32 at least, whatever
    autocast says: gradients are summed over the whole catalogue. On a GPU, vectors of bfloat16 or float16 are
    multiplied as such by `fused_softmax`, and summed in float32.

    On a CPU each of torch's threads has positions of its own, and the result is the same in every run with as
    many of them. The floor is three products of 2·P·N·D operations; an exponential and a sum per score come
    on top. In float32 they are taken by `vector_walk` where the CPU has the instructions, in other types by
    torch's own products, through blocks of scores kept in the cache.
    """
    if fused_softmax_fits(query, item, weight):
        return fused_softmax(query, item, target_row, weight, temperature=temperature)
    wider = torch.promote_types(torch.promote_types(query.dtype, item.dtype), torch.float32)
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
        # Detached, for the other threads, in which gradients are recorded.
        query, item = query.detach().contiguous(), item.detach().contiguous()
        walk = _Walk.over(query, item, temperature)
        log_total, mean_item, item_grad = _by_threads(walk, query, item, target_row, weight)
        # A bag with weights: the targets' vectors, P·T of them, are never gathered.
        pull = F.embedding_bag(target_row, item, mode="sum", per_sample_weights=weight)
        whole = weight.sum(1)
        losses = log_total * whole - (query * pull).sum(1) / temperature
        query_grad = mean_item.mul_(whole[:, None]).sub_(pull)
        of_all = weight.sum()
        scale = torch.where(of_all > 0, 1.0 / of_all, 0.0)
        ctx.save_for_backward(query_grad, item_grad, scale)
        ctx.temperature = temperature
        return losses.sum() * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        query_grad, item_grad, scale = ctx.saved_tensors
        scale = grad * scale / ctx.temperature
        return query_grad * scale, item_grad * scale, None, None, None


@dataclass(frozen=True, slots=True)
class _Walk:
    """How all scores are walked through.

    exponent: of two, for an inner product of one. shifted: whether exponentials overflow unless the largest
    score of their position is taken off. positions, items: the sides of a block. threads: how many walk, each
    through some of the positions.
    """

    exponent: float
    shifted: bool
    positions: int
    items: int
    threads: int

    @classmethod
    def over(cls, query: Tensor, item: Tensor, temperature: float) -> "_Walk":
        exponent = math.log2(math.e) / temperature
        # By Cauchy and Schwarz no score is beyond this: for unit vectors nothing needs to be looked for.
        largest = exponent * _longest(query) * _longest(item)
        scores = _BLOCK_SCORES[query.is_cuda]
        positions = max(_FEWEST_POSITIONS, scores // max(len(item), 1))
        threads = 1
        if query.device.type == "cpu":
            room = _THREADS_NUMBERS // (len(item) * (positions + query.shape[1]) + 1)
            threads = max(1, min(torch.get_num_threads(), len(query) // _FEWEST_POSITIONS, room))
        positions = max(1, min(positions, -(-len(query) // threads)))
        return cls(
            exponent, not largest <= _LARGEST_EXPONENT, positions, max(1, scores // positions), threads
        )


def _longest(vectors: Tensor) -> float:
    return float(torch.linalg.vector_norm(vectors, dim=1).max()) if len(vectors) else 0.0


def _by_threads(
    walk: _Walk, query: Tensor, item: Tensor, target_row: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_walked` gives, by as many threads at once as the walk says."""
    walked = _vector_walked if vector_walk_fits(query, item) else _walked
    if walk.threads == 1:
        return walked(walk, query, item, target_row, weight)
    bounds = [len(query) * thread // walk.threads for thread in range(walk.threads + 1)]
    parts = [slice(start, stop) for start, stop in pairwise(bounds)]
    num_threads = torch.get_num_threads()
    found = _threads(walk.threads).map(
        lambda part: walked(walk, query[part], item, target_row[part], weight[part]), parts
    )
    log_total, mean_item, item_grad = zip(*found, strict=True)
    # A thread that sets its own number of threads sets that of all later ones too.
    torch.set_num_threads(num_threads)
    for more in item_grad[1:]:
        item_grad[0].add_(more)
    return torch.cat(log_total), torch.cat(mean_item), item_grad[0]


def _walked(
    walk: _Walk, query: Tensor, item: Tensor, target_row: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-totals in nats (P,), each softmax's mean item (P, D), and the items' gradient · temperature (N, D).

    Scores are kept items first: each block of them is contiguous then, and the items' gradient, the one
    product that waits for the totals, is one of long rows.
    """
    log_total, mean_item, item_grad = (
        query.new_empty(len(query)),
        torch.zeros_like(query),
        torch.zeros_like(item),
    )
    scores = query.new_empty(len(item) * walk.positions)
    for start in range(0, len(query), walk.positions):
        part = slice(start, start + walk.positions)
        chunk, mean = query[part], mean_item[part]
        score = scores[: len(item) * len(chunk)].view(len(item), len(chunk))
        column = (chunk * walk.exponent).T.contiguous()
        peak = _peak(walk, item, column) if walk.shifted else None
        total = query.new_zeros(len(chunk))
        for first in range(0, len(item), walk.items):
            rows, odds = item[first : first + walk.items], score[first : first + walk.items]
            torch.mm(rows, column, out=odds)
            if peak is not None:
                odds.sub_(peak)
            total += odds.exp2_().sum(0)
            mean.addmm_(odds.T, rows)
        mean /= total[:, None]
        log2_total = total.log2() if peak is None else total.log2() + peak
        log_total[part] = log2_total * math.log(2.0)
        # d loss / d score is the position's weight times the softmax, minus the targets' weights.
        whole = weight[part].sum(1)
        pull = weight[part] * torch.where(whole > 0, total / whole, 0.0)[:, None]
        score.scatter_add_(0, target_row[part].T, -pull.T)
        item_grad.addmm_(score, chunk * (whole / total)[:, None])
    return log_total, mean_item, item_grad


def _vector_walked(
    walk: _Walk, query: Tensor, item: Tensor, target_row: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_walked` gives, in machine code."""
    peak = query.new_zeros(len(query))
    if walk.shifted:
        chunks = torch.split(query * walk.exponent, walk.positions)
        peak = torch.cat([_peak(walk, item, chunk.T) for chunk in chunks])
    log_total, mean_item, item_grad = vector_walk(query, item, weight.sum(1), peak, walk.exponent)
    for row, share in zip(target_row.T, weight.T, strict=True):
        item_grad.index_add_(0, row, query * share[:, None], alpha=-1.0)
    return log_total, mean_item, item_grad


def _peak(walk: _Walk, item: Tensor, column: Tensor) -> Tensor:
    """The largest score of each position, as an exponent of two."""
    starts = range(0, len(item), walk.items)
    return torch.stack([(item[start : start + walk.items] @ column).amax(0) for start in starts]).amax(0)


@cache
def _threads(number: int) -> ThreadPoolExecutor:
    """Threads that compute side by side, each by itself: torch's own would meet after every operation."""
    return ThreadPoolExecutor(number, "full-softmax", initializer=torch.set_num_threads, initargs=(1,))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # no thread outlives a fork
