"""Planted positions, and the losses of the docstrings, one position and one target at a time, in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Positions:
    query: Tensor
    item: Tensor
    target: Tensor
    weight: Tensor


def positions(seed: int, *, num: int, items: int, dim: int, targets: int, interests: int = 0) -> Positions:
    """Positions in float64 whose targets may repeat or be missing; the first always is there."""
    generator = torch.Generator().manual_seed(seed)
    shape = (num, interests, dim) if interests else (num, dim)
    target = torch.randint(-1, items, (num, targets), generator=generator)
    target[:, 0] = torch.randint(0, items, (num,), generator=generator)
    weight = torch.rand(num, targets, generator=generator, dtype=torch.float64) + 0.1
    return Positions(
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True),
        torch.randn(items, dim, generator=generator, dtype=torch.float64, requires_grad=True),
        target,
        torch.where(target >= 0, weight, 0.0),
    )


def scores(query: Tensor, item: Tensor, temperature: float) -> Tensor:
    """The best interest's score of every item, of one position."""
    score = query @ item.T / temperature
    return score.max(0).values if query.ndim == 2 else score


def sampled_by_hand(
    at: Positions,
    rows: list[list[int]],
    log_weights: list[list[float]],
    temperature: float,
    *,
    shift: Tensor | None = None,
    compete: bool = True,
    hard: list[list[int]] | None = None,
    blocked: list[list[int]] | None = None,
) -> Tensor:
    """The sampled softmax of its docstring; differentiable."""
    total = torch.zeros((), dtype=torch.float64)
    for p in range(len(at.query)):
        score = scores(at.query[p], at.item, temperature)
        targets = [int(row) for row in at.target[p]]
        extra = [] if hard is None else [row for row in hard[p] if row >= 0]
        own = {row for row in targets if row >= 0} | set(extra)
        unseen = own | set([] if blocked is None else blocked[p])
        sampled = [
            score[row] + log_weight
            for row, log_weight in zip(rows[p], log_weights[p], strict=True)
            if row not in unseen
        ]
        lifts = {row: float(shift[p, t]) for t, row in enumerate(targets)} if shift is not None else {}
        for t, row in enumerate(targets):
            if at.weight[p, t] == 0:
                continue
            present = own if compete else {row} | (set(extra) - set(targets))
            logits = [score[other] + lifts.get(other, 0.0) for other in sorted(present)] + sampled
            of_all = torch.logsumexp(torch.stack(logits), 0)
            total = total + at.weight[p, t] * (of_all - score[row] - lifts.get(row, 0.0))
    return total / at.weight.sum()


def same(found: Tensor, expected: Tensor, at: Positions, rtol: float = 1e-9) -> None:
    """Asserts that values and both gradients are the same."""
    torch.testing.assert_close(found, expected, rtol=rtol, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(found, (at.query, at.item)),
        torch.autograd.grad(expected, (at.query, at.item)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=rtol, atol=1e-11)
