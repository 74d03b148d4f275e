import math
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.objectives import softmax
from towers.objectives.softmax import full_softmax


def by_hand(query: np.ndarray, item: np.ndarray, target: np.ndarray, temperature: float) -> float:
    """The formula of the docstring, one position at a time, in float64."""
    total = 0.0
    for q, t in zip(query, target, strict=True):
        scores = [float(q @ v) / temperature for v in item]
        largest = max(scores)
        total += largest + math.log(sum(math.exp(s - largest) for s in scores)) - scores[t]
    return total / len(query)


@given(
    positions=st.integers(1, 7),
    items=st.integers(1, 9),
    dim=st.integers(1, 5),
    temperature=st.floats(0.05, 2.0),
    chunk=st.integers(1, 30),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_value_and_gradients_equal_the_formula_whatever_the_chunk(
    positions: int, items: int, dim: int, temperature: float, chunk: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    query, item = rng.normal(size=(positions, dim)), rng.normal(size=(items, dim))
    target = rng.integers(0, items, positions)
    q = torch.tensor(query, requires_grad=True)
    v = torch.tensor(item, requires_grad=True)
    with mock.patch.dict(softmax._CHUNK_SCORES, {False: chunk}):
        loss = full_softmax(q, v, torch.from_numpy(target), temperature=temperature)
        found = torch.autograd.grad(loss, (q, v))
    assert loss.item() == pytest.approx(by_hand(query, item, target, temperature), rel=1e-9)
    # Torch's own cross-entropy, which holds all scores, gives the gradients to compare with.
    whole = torch.nn.functional.cross_entropy(q @ v.T / temperature, torch.from_numpy(target))
    for one, other in zip(found, torch.autograd.grad(whole, (q, v)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_an_upstream_factor_scales_both_gradients() -> None:
    query = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    item = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 4, 2])
    (one,) = torch.autograd.grad(full_softmax(query, item, target, temperature=0.5), query)
    (three,) = torch.autograd.grad(3 * full_softmax(query, item, target, temperature=0.5), query)
    torch.testing.assert_close(three, 3 * one)


def test_no_positions_give_no_loss_and_no_gradient() -> None:
    item = torch.randn(5, 4, requires_grad=True)
    loss = full_softmax(torch.zeros(0, 4), item, torch.zeros(0, dtype=torch.int64), temperature=0.1)
    (grad,) = torch.autograd.grad(loss, item)
    assert loss.item() == 0.0
    assert not grad.any()


def test_large_scores_do_not_overflow() -> None:
    query, item = torch.full((2, 3), 30.0), torch.tensor([[30.0] * 3, [-30.0] * 3])
    loss = full_softmax(query, item, torch.tensor([0, 1]), temperature=0.01)
    assert torch.isfinite(loss)
    assert loss.item() == pytest.approx(5400.0 / 0.01 / 2)


def test_under_autocast_the_wider_type_decides() -> None:
    query = torch.randn(6, 4).to(torch.bfloat16).requires_grad_()
    item = torch.randn(5, 4, requires_grad=True)
    target = torch.tensor([0, 4, 2, 1, 3, 3])
    with torch.autocast("cpu", torch.bfloat16):
        loss = full_softmax(query, item, target, temperature=0.5)
        of_query, of_item = torch.autograd.grad(loss, (query, item))
    whole = torch.nn.functional.cross_entropy(query.float() @ item.T / 0.5, target)
    (of_whole,) = torch.autograd.grad(whole, item)
    assert (loss.dtype, of_query.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(of_item, of_whole)
