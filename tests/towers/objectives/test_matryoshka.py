import math

import pytest
import torch
from torch import Tensor

from tests.towers.objectives.drawn import positions, same
from towers.objectives.matryoshka import matryoshka, prefix
from towers.objectives.softmax import full_softmax


def test_a_prefix_is_of_unit_length_again() -> None:
    cut = prefix(torch.tensor([[3.0, 4.0, 12.0], [0.0, 2.0, 1.0]]), 2)
    torch.testing.assert_close(cut, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))


def test_the_loss_is_the_weighted_mean_over_prefixes_with_its_gradient() -> None:
    at = positions(0, num=5, items=7, dim=6, targets=2)

    def loss(query: Tensor, item: Tensor) -> Tensor:
        return full_softmax(query, item, at.target, at.weight, temperature=0.2)

    expected = torch.zeros((), dtype=torch.float64)
    for dim, share in ((2, 1.0), (4, 2.0), (6, 5.0)):
        query, item = at.query[:, :dim], at.item[:, :dim]
        query, item = query / query.norm(dim=1, keepdim=True), item / item.norm(dim=1, keepdim=True)
        wanted = torch.zeros(5, 7, dtype=torch.float64).scatter_add_(1, at.target.clamp(min=0), at.weight)
        of_all = torch.nn.functional.cross_entropy(query @ item.T / 0.2, wanted, reduction="sum")
        expected = expected + share / 8 * of_all / at.weight.sum()
    same(matryoshka(loss, at.query, at.item, [2, 4, 6], [1.0, 2.0, 5.0]), expected, at)


def test_without_weights_all_prefixes_count_alike() -> None:
    at = positions(1, num=4, items=5, dim=4, targets=1)

    def loss(query: Tensor, item: Tensor) -> Tensor:
        return full_softmax(query, item, at.target, at.weight, temperature=0.5)

    alike = matryoshka(loss, at.query, at.item, [1, 4], [3.0, 3.0])
    same(matryoshka(loss, at.query, at.item, [1, 4]), alike, at)


def test_training_on_prefixes_makes_the_short_ones_rank_where_training_on_the_whole_does_not() -> None:
    """Twelve queries, each with its own item, learned as vectors; ranked by the first three numbers."""

    def share_found(prefixes: list[int]) -> float:
        generator = torch.Generator().manual_seed(0)
        vectors = torch.randn(2, 12, 24, generator=generator, requires_grad=True)
        own, weight = torch.arange(12)[:, None], torch.ones(12, 1)
        optimizer = torch.optim.Adam([vectors], lr=0.05)
        for _ in range(40):
            optimizer.zero_grad()
            loss = matryoshka(
                lambda query, item: full_softmax(query, item, own, weight, temperature=0.1),
                vectors[0],
                vectors[1],
                prefixes,
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        query, item = prefix(vectors.detach(), 3)
        return float(((query @ item.T).argmax(1) == own[:, 0]).float().mean())

    assert share_found([3, 12, 24]) == 1.0
    assert share_found([24]) < 0.9


def test_no_weight_for_a_prefix_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        matryoshka(lambda query, item: query.sum(), torch.ones(1, 2), torch.ones(1, 2), [1, 2], [math.pi])
