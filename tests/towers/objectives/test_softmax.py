import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from towers.errors import ConfigError
from towers.objectives import softmax
from towers.objectives.settings import ObjectiveSettings
from towers.objectives.softmax import falling_weights, full_softmax
from towers.settings import check_ranges


def by_hand(query: np.ndarray, item: np.ndarray, target: np.ndarray, share: np.ndarray, tau: float) -> float:
    """The formula of the docstring, one position and one target at a time, in float64."""
    total = 0.0
    for q, rows, shares in zip(query, target, share, strict=True):
        scores = [float(q @ v) / tau for v in item]
        largest = max(scores)
        log_total = largest + math.log(sum(math.exp(s - largest) for s in scores))
        total += sum(w * (log_total - scores[row]) for row, w in zip(rows, shares, strict=True) if w)
    return total / float(share.sum())


def by_torch(query: Tensor, item: Tensor, target: Tensor, share: Tensor, tau: float) -> Tensor:
    """Torch's own cross-entropy, which holds all scores: its gradients are what to compare with."""
    wanted = torch.zeros(len(query), len(item), dtype=share.dtype)
    wanted.scatter_add_(1, target.clamp(min=0), share)
    return torch.nn.functional.cross_entropy(query @ item.T / tau, wanted, reduction="sum") / share.sum()


@contextmanager
def blocks_of(scores: int, fewest_positions: int) -> Iterator[None]:
    """Blocks so small that a few positions and items fill several."""
    with (
        mock.patch.dict(softmax._BLOCK_SCORES, {False: scores}),
        mock.patch.object(softmax, "_FEWEST_POSITIONS", fewest_positions),
    ):
        yield


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def drawn(
    positions: int, items: int, dim: int, targets: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit vectors that need a gradient, targets some of which are missing, and weights."""
    rng = torch.Generator().manual_seed(positions)
    query, item = (
        torch.nn.functional.normalize(torch.randn(size, dim, generator=rng, dtype=dtype), dim=1)
        for size in (positions, items)
    )
    target = torch.randint(0, items, (positions, targets), generator=rng)
    share = torch.rand(positions, targets, generator=rng, dtype=dtype)
    missing = torch.rand(positions, targets, generator=rng) < 0.3
    return (
        query.requires_grad_(),
        item.requires_grad_(),
        target.masked_fill(missing, -1),
        share.masked_fill(missing, 0.0),
    )


def value_and_gradients(loss: Tensor, query: Tensor, item: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    of_query, of_item = torch.autograd.grad(loss, (query, item))
    return loss.detach(), of_query, of_item


@given(
    positions=st.integers(1, 7),
    items=st.integers(1, 9),
    dim=st.integers(1, 5),
    targets=st.integers(1, 4),
    tau=st.floats(0.05, 2.0),
    scores=st.integers(1, 30),
    fewest=st.integers(1, 8),
    size=st.sampled_from([1.0, 30.0]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=120, deadline=None)
def test_value_and_gradients_equal_the_formula_whatever_the_blocks_and_the_size_of_scores(
    positions: int,
    items: int,
    dim: int,
    targets: int,
    tau: float,
    scores: int,
    fewest: int,
    size: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    query, item = size * rng.normal(size=(positions, dim)), rng.normal(size=(items, dim))
    target = rng.integers(-1, items, (positions, targets))
    target[:, 0] = rng.integers(0, items, positions)  # a position that is asked has a next event
    q, v = torch.tensor(query, requires_grad=True), torch.tensor(item, requires_grad=True)
    rows = torch.from_numpy(target)
    share = falling_weights(rows, torch.from_numpy(rng.uniform(0.1, 3.0, target.shape).astype(np.float32)))
    share = share.double()
    with blocks_of(scores, fewest):
        loss = full_softmax(q, v, rows, share, temperature=tau)
        found = torch.autograd.grad(loss, (q, v))
    assert loss.item() == pytest.approx(by_hand(query, item, target, share.numpy(), tau), rel=1e-9)
    for one, other in zip(found, torch.autograd.grad(by_torch(q, v, rows, share, tau), (q, v)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_weights_fall_with_the_distance_and_sum_to_one() -> None:
    rows = torch.tensor([[4, 2, 7], [4, 2, -1], [4, -1, -1], [-1, -1, -1]])
    expected = torch.tensor([[6 / 11, 3 / 11, 2 / 11], [2 / 3, 1 / 3, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(falling_weights(rows), expected)


def test_a_targets_own_weight_multiplies_and_does_not_fall_out_again() -> None:
    rows = torch.tensor([[4, 2, 7], [4, -1, -1], [3, 1, -1]])
    preference = torch.tensor([[1.0, 0.5, 2.0], [0.25, 9.0, 9.0], [1.0, 1.0, 1.0]])
    expected = torch.tensor([[6 / 11, 1.5 / 11, 4 / 11], [0.25, 0.0, 0.0], [2 / 3, 1 / 3, 0.0]])
    torch.testing.assert_close(falling_weights(rows, preference), expected)
    torch.testing.assert_close(falling_weights(rows, torch.ones(3, 3)), falling_weights(rows), rtol=0, atol=0)


def test_the_scale_of_all_weights_changes_neither_loss_nor_gradient() -> None:
    torch.manual_seed(0)
    query, item = (torch.randn(size, 4, dtype=torch.float64, requires_grad=True) for size in (6, 5))
    target, share = torch.randint(0, 5, (6, 2)), torch.rand(6, 2, dtype=torch.float64)
    one = full_softmax(query, item, target, share, temperature=0.5)
    other = full_softmax(query, item, target, 7 * share, temperature=0.5)
    torch.testing.assert_close(one, other)
    grads = (torch.autograd.grad(loss, (query, item)) for loss in (one, other))
    torch.testing.assert_close(*grads)


def test_an_upstream_factor_scales_both_gradients() -> None:
    query = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    item = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    target, share = torch.tensor([[0], [4], [2]]), torch.ones(3, 1, dtype=torch.float64)
    (one,) = torch.autograd.grad(full_softmax(query, item, target, share, temperature=0.5), query)
    (three,) = torch.autograd.grad(3 * full_softmax(query, item, target, share, temperature=0.5), query)
    torch.testing.assert_close(three, 3 * one)


def test_no_positions_give_no_loss_and_no_gradient() -> None:
    item = torch.randn(5, 4, requires_grad=True)
    nothing = torch.zeros(0, 2, dtype=torch.int64)
    loss = full_softmax(torch.zeros(0, 4), item, nothing, torch.zeros(0, 2), temperature=0.1)
    (grad,) = torch.autograd.grad(loss, item)
    assert loss.item() == 0.0
    assert not grad.any()


def test_large_scores_do_not_overflow() -> None:
    query, item = torch.full((2, 3), 30.0), torch.tensor([[30.0] * 3, [-30.0] * 3])
    loss = full_softmax(query, item, torch.tensor([[0], [1]]), torch.ones(2, 1), temperature=0.01)
    assert torch.isfinite(loss)
    assert loss.item() == pytest.approx(5400.0 / 0.01 / 2)


@pytest.mark.parametrize("tau", [1e-3, 0.02, 0.05, 50.0])
def test_float32_is_exact_to_five_digits_at_any_temperature(tau: float) -> None:
    query, item, target, share = drawn(150, 700, 16, 3, torch.float32)
    found = value_and_gradients(full_softmax(query, item, target, share, temperature=tau), query, item)
    # Unlike powers of two, 1 / tau is rounded in float32; the oracle divides as exactly as it can.
    q, v = (one.detach().double().requires_grad_() for one in (query, item))
    expected = value_and_gradients(by_torch(q, v, target, share.double(), tau), q, v)
    # A score of s is known to about s · 2^-24, whoever computes it in float32.
    unit = max(1.0, 0.05 / tau) * 1e-5
    for one, other in zip(found, expected, strict=True):
        assert float((one.double() - other).norm() / other.norm()) <= unit


def test_vectors_of_any_length_do_not_overflow_where_products_are_moderate() -> None:
    query, item, target, share = drawn(40, 60, 8, 2, torch.float32)
    long, short = (1e18 * query).detach().requires_grad_(), (1e-18 * item).detach().requires_grad_()
    loss, of_query, of_item = value_and_gradients(
        full_softmax(long, short, target, share, temperature=0.1), long, short
    )
    q, v = (one.detach().double().requires_grad_() for one in (long, short))
    expected = value_and_gradients(by_torch(q, v, target, share.double(), 0.1), q, v)
    for one, other in zip((loss, of_query, of_item), expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("number", [2, 3])
def test_threads_add_up_to_the_same_loss_and_gradients_every_time(number: int) -> None:
    query, item, target, share = drawn(101, 90, 8, 2, torch.float64)
    with blocks_of(scores=64, fewest_positions=8), threads(number):
        loss = full_softmax(query, item, target, share, temperature=0.1)
        found = value_and_gradients(loss, query, item)
        again = full_softmax(query, item, target, share, temperature=0.1)
        assert torch.get_num_threads() == number
        for one, other in zip(found, value_and_gradients(again, query, item), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
    expected = value_and_gradients(by_torch(query, item, target, share, 0.1), query, item)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_threads_of_its_own() -> None:
    query, item, target, share = drawn(32, 20, 4, 1, torch.float64)
    with blocks_of(scores=64, fewest_positions=8), threads(2):
        full_softmax(query, item, target, share, temperature=0.1)
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends it if it waits for threads that did not come along
            torch.set_num_threads(1)  # nor did torch's own
            with mock.patch.object(torch, "get_num_threads", return_value=2):
                loss = full_softmax(query, item, target, share, temperature=0.1)
            os._exit(0 if bool(torch.isfinite(loss)) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_score_matrix_is_held() -> None:
    # 2,000 positions × 3,000 items are 48 MB of float64; blocks, and what grows with either, are 2 MB.
    query, item, target, share = drawn(2000, 3000, 8, 1, torch.float64)
    tracked = _Largest()  # type: ignore[no-untyped-call]
    with tracked, threads(1):
        full_softmax(query, item, target, share, temperature=0.1)
    assert 0 < tracked.numbers <= 64 * 3000 + 2**18


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most numbers that any tensor made within has."""

    numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.numbers = max(self.numbers, made.numel())
        return made


def test_under_autocast_the_wider_type_decides() -> None:
    query = torch.randn(6, 4).to(torch.bfloat16).requires_grad_()
    item = torch.randn(5, 4, requires_grad=True)
    target, share = torch.tensor([[0], [4], [2], [1], [3], [3]]), torch.ones(6, 1)
    with torch.autocast("cpu", torch.bfloat16):
        loss = full_softmax(query, item, target, share, temperature=0.5)
        of_query, of_item = torch.autograd.grad(loss, (query, item))
    whole = by_torch(query.float(), item, target, share, 0.5)
    (of_whole,) = torch.autograd.grad(whole, item)
    assert (loss.dtype, of_query.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(of_item, of_whole)


def test_a_temperature_that_would_overflow_the_scores_is_refused() -> None:
    check_ranges(ObjectiveSettings(temperature=1e-3), "objective")
    with pytest.raises(ConfigError, match=r"^objective\.temperature: 1e-06 .* expected >= 0\.001$"):
        check_ranges(ObjectiveSettings(temperature=1e-6), "objective")
