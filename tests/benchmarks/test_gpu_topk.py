"""The claim `gpu-topk`: what it compares is checked, and without a GPU no figure is given."""

import pytest
import torch

from benchmarks import gpu_topk
from benchmarks.claims import BenchmarkError
from benchmarks.gpu_topk import DIM, checked, drawn, measure, plain_topk
from retrieval.index.gpu import GpuIndex


def test_draws_are_unit_vectors_and_the_same_again() -> None:
    for spread in (0.0, 0.5):
        made = drawn(300, "cpu", spread=spread, seed=3)
        assert torch.equal(made, drawn(300, "cpu", spread=spread, seed=3))
        torch.testing.assert_close(made.norm(dim=1), torch.ones(300))


def test_with_a_spread_draws_share_tastes() -> None:
    alone, shared = (
        (drawn(2_000, "cpu", spread=spread, seed=1) @ drawn(2_000, "cpu", spread=spread, seed=2).T)
        .amax(1)
        .mean()
        for spread in (0.0, 0.5)
    )
    assert shared > 0.7 > alone


def test_a_wrong_answer_is_no_figure() -> None:
    item, query = drawn(3_000, "cpu", spread=0.0), drawn(5, "cpu", spread=0.0, seed=1)
    index = GpuIndex.of(item)
    assert checked(index, item, query)["rows_the_same"] == 1.0
    other = item.clone()
    other[int((query[0] @ item.T).argmax())] *= -1  # one title that the index knows and the check does not
    with pytest.raises(BenchmarkError, match="expected all"):
        checked(index, other, query)


def test_the_check_goes_over_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_topk, "_PART", 1_000)
    item, query = drawn(3_500, "cpu", spread=0.5), drawn(5, "cpu", spread=0.5, seed=1)
    assert checked(GpuIndex.of(item), item, query)["rows_the_same"] == 1.0


def test_torchs_answer_does_not_hang_on_the_parts() -> None:
    item, query = drawn(2_000, "cpu", spread=0.0), drawn(7, "cpu", spread=0.0, seed=1)
    expected = (query @ item.T).topk(gpu_topk.K).indices
    assert torch.equal(plain_topk(query, item, 3), expected)
    assert query.shape == (7, DIM)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_no_figure_is_given_and_small_vectors_are_checked() -> None:
    measured = measure()
    assert set(measured.figures.values()) == {None}
    assert measured.details["checked"]["rows_the_same"] == 1.0  # type: ignore[index]
