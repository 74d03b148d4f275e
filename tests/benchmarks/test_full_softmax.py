"""The claim `full-softmax`: what it compares computes the same, checked by the formula in float64."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks import full_softmax
from benchmarks.claims import BenchmarkError
from benchmarks.full_softmax import TEMPERATURE, Answer, Problem, Run, checked, errors, measure, ours, plain
from benchmarks.peers.fused_cross_entropy import Loss, step_of

SHAPE = (300, 700, 16)


def test_the_formula_is_torchs_cross_entropy_in_float64() -> None:
    problem = Problem.drawn(SHAPE, torch.float32, "cpu")
    query, item = (x.detach().double().requires_grad_() for x in (problem.query, problem.item))
    loss = F.cross_entropy(query @ item.T / TEMPERATURE, problem.target)
    query_grad, item_grad = torch.autograd.grad(loss, (query, item))
    expected = problem.expected()
    assert expected.loss == pytest.approx(loss.item(), rel=1e-12)
    torch.testing.assert_close(expected.query_grad, query_grad[problem.query_sample])
    torch.testing.assert_close(expected.item_grad, item_grad[problem.item_sample])


@pytest.mark.parametrize("loss", [ours, plain, full_softmax.plain_by_chunks])
def test_all_that_are_compared_compute_the_same(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_softmax, "PLAIN_CHUNK", 128)  # the last chunk has fewer
    problem = Problem.drawn(SHAPE, torch.float32, "cpu")
    step = step_of(loss, problem.query, problem.item, problem.target)
    for _ in range(2):  # gradients of a second step are not added to those of the first
        found = problem.answer(step())
        assert max(errors(found, problem.expected()).values()) < 1e-5


def test_errors_are_relative_and_large_ones_end_the_measurement() -> None:
    expected = Answer(2.0, torch.tensor([[3.0, 4.0]]).double(), torch.tensor([[1.0]]).double())
    found = Answer(2.0, torch.tensor([[3.0, 4.5]]), torch.tensor([[1.0]]))
    assert errors(found, expected) == {"loss": 0.0, "query_grad": 0.1, "item_grad": 0.0}
    with pytest.raises(BenchmarkError, match=r"query_grad: relative error 0\.1; expected at most 0\.01"):
        checked(errors(found, expected))
    with pytest.raises(BenchmarkError, match="loss: relative error nan"):
        checked({"loss": float("nan")})


def test_ratios_are_medians_of_what_was_measured_in_the_same_round() -> None:
    shape = (1_000, 1_000_000, 100)  # 6e11 operations: 1 ms is 600 TFLOP/s
    mine = Run([1.0, 2.0, 4.0], [1_200.0, 600.0, 600.0], 2**30, {})
    other = Run([2.0, 10.0, 16.0], [1.0, 1.0, 1.0], 0, {})
    assert other.over(mine) == 4.0
    assert mine.share_of_peak(shape) == 0.5
    row = mine.row(shape)
    assert (row["ms"], row["tflops"], row["positions_per_second"]) == (2.0, 300.0, 500_000)
    assert row["peak_gib"] == 1.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is at hand: this would measure the whole claim")
def test_without_a_gpu_no_figure_is_given_and_small_vectors_are_checked() -> None:
    measured = measure()
    assert set(measured.figures.values()) == {None}
    assert set(measured.details["relative_errors"]) == {"loss", "query_grad", "item_grad"}  # type: ignore[call-overload]
