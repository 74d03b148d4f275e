"""The walk in machine code, beside the formulas of its docstring in float64."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from towers.objectives.softmax import full_softmax
from towers.objectives.vector_tiles import LANES
from towers.objectives.vector_walk import vector_walk, vector_walk_fits

pytestmark = pytest.mark.skipif(not LANES, reason="the CPU has neither AVX-512 nor AVX2 with FMA")


def by_torch(query: Tensor, item: Tensor, whole: Tensor, exponent: float) -> tuple[Tensor, Tensor, Tensor]:
    """The formulas, in float64; the softmax is torch's own."""
    query, item = query.double(), item.double()
    score = query @ item.T * exponent * torch.log(torch.tensor(2.0, dtype=torch.float64))
    share = torch.softmax(score, dim=1)
    return score.logsumexp(1), share @ item, (share * whole.double()[:, None]).T @ query


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm().clamp(min=1e-30))


@given(
    positions=st.integers(1, 200),
    items=st.integers(1, 700),
    dim=st.integers(1, 80),
    exponent=st.floats(0.1, 40.0),
    seed=st.integers(0, 2**16),
)
# More than one chunk of positions and block of items, each with a rest; whole tiles and parts of one.
@example(positions=131, items=515, dim=67, exponent=28.9, seed=0)
@example(positions=64, items=256, dim=64, exponent=28.9, seed=0)
@example(positions=1, items=1, dim=1, exponent=28.9, seed=0)
def test_sums_are_those_of_the_formulas_whatever_the_shape(
    positions: int, items: int, dim: int, exponent: float, seed: int
) -> None:
    torch.manual_seed(seed)
    query, item = (
        torch.nn.functional.normalize(torch.randn(size, dim), dim=1) for size in (positions, items)
    )
    whole = torch.rand(positions) * (torch.rand(positions) < 0.8)
    expected = by_torch(query, item, whole, exponent)
    for peak in (torch.zeros(positions), torch.randn(positions) * 20.0):
        log_total, mean, gradient = vector_walk(query, item, whole, peak, exponent)
        assert float((log_total.double() - expected[0]).abs().max()) <= 1e-4
        assert distance(mean, expected[1]) <= 1e-5
        assert distance(gradient, expected[2]) <= 1e-5


def test_exponentials_are_right_to_the_last_digits_all_over_their_range() -> None:
    # One position of one item and one dimension: the total is the exponential itself.
    exponents = torch.linspace(-125.0, 126.0, 20_011)
    one = torch.ones(len(exponents))
    log_total, _, _ = vector_walk(
        exponents[:, None].contiguous(), one[:1, None], one, torch.zeros_like(one), 1.0
    )
    # Its logarithm to base 2, in float64, is known to 2^-23 of itself where the total is to 2^-23.
    torch.testing.assert_close(log_total / torch.log(torch.tensor(2.0)), exponents, rtol=3e-7, atol=3e-7)


def test_a_total_is_as_exact_over_many_items_as_over_few() -> None:
    torch.manual_seed(0)
    query, item = (torch.nn.functional.normalize(torch.randn(size, 8), dim=1) for size in (3, 200_000))
    whole = torch.ones(3)
    log_total, mean, _ = vector_walk(query, item, whole, torch.zeros(3), 5.0)
    expected = by_torch(query, item, whole, 5.0)
    assert float((log_total.double() - expected[0]).abs().max()) <= 2e-6
    assert distance(mean, expected[1]) <= 2e-6


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_not_hidden(number: float) -> None:
    query, item = torch.ones(70, 5, requires_grad=True), torch.ones(300, 5)
    item[270, 2] = number
    target, weight = torch.zeros(70, 1, dtype=torch.int64), torch.ones(70, 1)
    loss = full_softmax(query, item, target, weight, temperature=1.0)
    # A score of minus infinity is a probability of 0: it is the gradient that has no value there.
    (of_query,) = torch.autograd.grad(loss, query)
    assert not torch.isfinite(of_query).all(1).any()


def test_a_row_beyond_the_items_is_refused_before_anything_is_written_there() -> None:
    query, item = torch.ones(2, 16), torch.ones(3, 16)
    with pytest.raises((IndexError, RuntimeError)):
        full_softmax(query, item, torch.tensor([[0], [3]]), torch.ones(2, 1), temperature=1.0)


def test_other_types_and_empty_sides_are_left_to_torch() -> None:
    some, none = torch.ones(2, 3), torch.ones(0, 3)
    assert vector_walk_fits(some, some)
    assert not vector_walk_fits(some.double(), some.double())
    assert not vector_walk_fits(none, some)
    assert not vector_walk_fits(some, none)
