"""The kernels beside the formula in float64: interpreted where Triton is installed, compiled on a GPU."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.towers.objectives.kernels import FACTOR
from towers.errors import TrainingError
from towers.objectives.fused_softmax import (
    _as_operands,
    _shift,
    _subtract_targets,
    fused_softmax,
    fused_softmax_fits,
)

Test = TypeVar("Test", bound=Callable[..., None])
ROOT = Path(__file__).resolve().parents[3]
TRITON = tuple(map(int, version("triton").split(".")[:2])) if find_spec("triton") else (0, 0)
# Older interpreters break on NumPy 2.4.
interpreter = pytest.mark.skipif(TRITON < (3, 7), reason="Triton 3.7 or later is not installed")


def compiler(test: Test) -> Test:
    """The test needs a GPU, and is skipped where there is none."""
    absent = TRITON == (0, 0) or not torch.cuda.is_available()
    skipped: Test = pytest.mark.skipif(absent, reason="no CUDA device, or Triton is not installed")(test)
    marked: Test = pytest.mark.gpu(skipped)
    return marked


@dataclass(frozen=True)
class Case:
    """Vectors of these sizes and types; unit: of length one; length: what they are multiplied by."""

    positions: int
    items: int
    dim: int
    targets: int = 1
    temperature: float = 0.05
    query_type: str = "bfloat16"
    item_type: str = "bfloat16"
    biased: bool = False
    length: float = 1.0
    idle: bool = False

    def drawn(self) -> dict[str, np.ndarray]:
        """Some targets are missing and one position has none; idle: no position has any."""
        rng = torch.Generator().manual_seed(self.positions + 7 * self.items)
        query, item = (
            (self.length * torch.nn.functional.normalize(torch.randn(size, self.dim, generator=rng), dim=1))
            .to(getattr(torch, kind))
            .float()
            for size, kind in ((self.positions, self.query_type), (self.items, self.item_type))
        )
        target = torch.randint(0, self.items, (self.positions, self.targets), generator=rng)
        weight = torch.rand(self.positions, self.targets, generator=rng) + 0.1
        if self.positions > 1:
            missing = torch.rand(self.positions, self.targets, generator=rng) < 0.3
            missing[0], missing[1] = True, False
            target, weight = target.masked_fill(missing, -1), weight.masked_fill(missing, 0.0)
        if self.idle:
            weight.zero_()
        made = {"query": query, "item": item, "target": target, "weight": weight}
        if self.biased:
            made["bias"] = 3.0 * torch.randn(self.items, generator=rng)
        return {name: value.numpy() for name, value in made.items()} | {
            "temperature": np.array(self.temperature),
            "query_type": np.array(self.query_type),
            "item_type": np.array(self.item_type),
        }


CASES = (
    Case(64, 128, 128),  # whole tiles
    Case(65, 129, 128, targets=3),
    Case(2, 3, 16),
    Case(7, 2_000, 64, targets=2),  # few positions: the items are split
    Case(700, 5, 64),  # few items
    Case(33, 300, 3),  # rows that are not whole 16 bytes
    Case(40, 200, 100, targets=2, biased=True),
    Case(70, 150, 256, targets=2),
    Case(70, 400, 32, targets=2, temperature=0.004),  # where a fixed shift would not do
    Case(70, 400, 32, temperature=0.004, biased=True),
    Case(30, 260, 24, temperature=1.0, length=30.0),
    Case(50, 140, 60, query_type="float16", item_type="float16", biased=True),
    Case(66, 140, 128, targets=2, query_type="float32", item_type="float32"),
    Case(30, 140, 20, query_type="bfloat16", item_type="float32"),
    Case(20, 140, 32, idle=True),
)


Answers = dict[Case, tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]
"""Per case, what was found and what is expected: the loss and both gradients."""


def formula(case: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The loss of the docstring and its derivatives, with all scores, in float64."""
    query, item, weight = (case[name].astype(np.float64) for name in ("query", "item", "weight"))
    tau = float(case["temperature"])
    score = query @ item.T / tau + case.get("bias", 0.0)
    largest = score.max(1, keepdims=True)
    log_total = largest + np.log(np.exp(score - largest).sum(1, keepdims=True))
    wanted = np.zeros_like(score)
    for (p, t), row in np.ndenumerate(case["target"]):
        wanted[p, max(row, 0)] += weight[p, t]
    of_all = weight.sum() or 1.0
    by_score = FACTOR * (weight.sum(1, keepdims=True) * np.exp(score - log_total) - wanted) / of_all
    return {
        "loss": np.array((wanted * (log_total - score)).sum() / of_all),
        "query_grad": by_score @ item / tau,
        "item_grad": by_score.T @ query / tau,
        "query_pull": FACTOR * wanted @ item / of_all / tau,
        "item_pull": FACTOR * wanted.T @ query / of_all / tau,
    }


def answers(device: str, folder: Path) -> Answers:
    """What the kernels say of every case, and what is expected.

    Interpreted, the vectors are float32: Triton's interpreter multiplies bfloat16's bits as whole numbers.
    """
    drawn = [case.drawn() for case in CASES]
    for number, case in enumerate(drawn):
        as_float32 = dict.fromkeys(("query_type", "item_type"), "float32") if device == "cpu" else {}
        np.savez(folder / f"{number:02}.case.npz", **(case | as_float32))  # type: ignore[arg-type]
    environment = {**os.environ, "TRITON_INTERPRET": "1" if device == "cpu" else "0"}
    command = [sys.executable, "-m", "tests.towers.objectives.kernels", device, str(folder)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, check=False, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 0, ended.stderr
    found = [dict(np.load(folder / f"{number:02}.answer.npz")) for number in range(len(CASES))]
    return {case: (one, formula(made)) for case, one, made in zip(CASES, found, drawn, strict=True)}


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return answers("cpu", tmp_path_factory.mktemp("interpreted"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return answers("cuda", tmp_path_factory.mktemp("compiled"))


def check(
    answer: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
    of_loss: float,
    of_grad: float,
    of_pull: float = 0.0,
) -> None:
    """A loss to 1 at least; gradients relative to their norm, and to that of the targets' part of them.

    A gradient is what all items say less what the targets say, and much smaller than both where a target is
    all but certain: what was rounded before the difference is as large as it was.
    """
    found, expected = answer
    assert abs(found["loss"] - expected["loss"]) <= of_loss * max(1.0, abs(float(expected["loss"])))
    for name in ("query", "item"):
        whole, pull = expected[f"{name}_grad"], expected[f"{name}_pull"]
        allowed = of_grad * np.linalg.norm(whole) + of_pull * np.linalg.norm(pull)
        assert np.linalg.norm(found[f"{name}_grad"] - whole) <= allowed, name


@interpreter
@pytest.mark.parametrize("case", CASES, ids=str)
def test_interpreted_kernels_give_the_loss_and_both_gradients(case: Case, interpreted: Answers) -> None:
    check(interpreted[case], of_loss=1e-5, of_grad=5e-5)


@compiler
@pytest.mark.parametrize("case", CASES, ids=str)
def test_compiled_kernels_give_the_loss_and_both_gradients(case: Case, compiled: Answers) -> None:
    # Exponentials, sums and gradients in bfloat16 are each rounded to 2^-9 of a number.
    check(
        compiled[case],
        of_loss=1e-3 if case.item_type == "float32" else 1e-5,
        of_grad=3 / 2**9,
        of_pull=2 / 2**9,
    )


def on_gpu(positions: int, items: int, dim: int = 128) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = torch.Generator("cuda").manual_seed(0)
    query, item = (
        torch.nn.functional.normalize(torch.randn(size, dim, device="cuda", generator=rng), dim=1).bfloat16()
        for size in (positions, items)
    )
    target = torch.randint(0, items, (positions, 2), device="cuda", generator=rng)
    return query.requires_grad_(), item.requires_grad_(), target, torch.ones(positions, 2, device="cuda")


@compiler
def test_memory_is_little_more_than_vectors_and_gradients() -> None:
    query, item, target, weight = on_gpu(4_096, 200_000)

    def step() -> None:
        loss = fused_softmax(query, item, target, weight, temperature=0.05)
        torch.autograd.grad(loss, (query, item))

    step()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    # All scores in bfloat16 would be thirty times the vectors.
    assert torch.cuda.max_memory_allocated() - before <= 1.5 * (query.nbytes + item.nbytes)


@compiler
def test_two_runs_give_the_same_loss_and_gradient_of_positions() -> None:
    query, item, target, weight = on_gpu(1_000, 20_001)
    losses = [fused_softmax(query, item, target, weight, temperature=0.05) for _ in range(2)]
    gradients = [torch.autograd.grad(loss, query)[0] for loss in losses]
    assert torch.equal(*losses)
    assert torch.equal(*gradients)


@pytest.fixture
def tf32_as_before() -> Iterator[None]:
    # No monkeypatch: older versions of torch have no such attribute to delete.
    before = torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@compiler
@pytest.mark.usefixtures("tf32_as_before")
def test_what_fits_is_what_the_kernels_multiply_exactly_enough() -> None:
    def fits(dim: int, dtype: torch.dtype, items: int = 3, targets: int = 1) -> bool:
        query, item = (torch.zeros(size, dim, device="cuda", dtype=dtype) for size in (2, items))
        return fused_softmax_fits(query, item, torch.zeros(2, targets, device="cuda"))

    assert fits(256, torch.bfloat16)
    assert not fits(257, torch.bfloat16)
    assert fits(128, torch.float16)
    assert not fits(129, torch.float16)
    assert not fits(64, torch.float64)
    assert not fits(64, torch.bfloat16, items=0)
    assert not fits(64, torch.bfloat16, targets=0)
    torch.backends.cuda.matmul.allow_tf32 = False
    assert not fits(64, torch.float32)
    torch.backends.cuda.matmul.allow_tf32 = True
    assert fits(64, torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_nothing_on_a_cpu_fits(dtype: torch.dtype) -> None:
    assert not fused_softmax_fits(
        torch.ones(2, 8, dtype=dtype), torch.ones(3, 8, dtype=dtype), torch.ones(2, 1)
    )


def test_weights_that_sum_to_less_than_nothing_are_refused() -> None:
    query, item, target = torch.ones(2, 8), torch.ones(3, 8), torch.zeros(2, 2, dtype=torch.int64)
    with pytest.raises(TrainingError, match=r"weights sum to -0\.5; expected 0 or more"):
        fused_softmax(query, item, target, torch.tensor([[1.0, 0.0], [0.5, -1.0]]), temperature=0.05)


@given(st.integers(0, 2**32), st.floats(0.0145, 2.0), st.sampled_from([0.0, 0.5]))
def test_with_the_bound_as_shift_no_exponential_of_unit_vectors_over_or_underflows(
    seed: int, temperature: float, spread: float
) -> None:
    rng = torch.Generator().manual_seed(seed)
    # Opposite directions are the widest that scores can lie apart.
    item = torch.nn.functional.normalize(torch.randn(6, 16, generator=rng), dim=1)
    item = torch.cat([item, -item])
    bias = spread * torch.randn(12, generator=rng) if temperature > 0.05 else torch.zeros(12)
    scale = 1.4426950408889634 / temperature
    shift = _shift(item, item, scale, bias, torch.ones(12))
    exponent = scale * (item.double() @ item.double().T) + bias + shift[:, None]
    assert exponent.min() > -126
    assert exponent.max() < 81


@pytest.mark.parametrize(
    ("dim", "of_query", "of_item"),
    list(product((1, 8, 20, 64), (torch.bfloat16, torch.float16), (torch.bfloat16, torch.float32))),
)
def test_operands_are_the_vectors_in_rows_of_whole_16_bytes(
    dim: int, of_query: torch.dtype, of_item: torch.dtype
) -> None:
    query, item = torch.randn(5, dim).to(of_query), torch.randn(7 * dim + 1).to(of_item)[1:].view(7, dim)
    operands = _as_operands(query, item)
    both_bfloat16 = of_query == of_item == torch.bfloat16
    for vectors, operand in zip((query, item), operands, strict=True):
        assert operand.dtype == (torch.bfloat16 if both_bfloat16 else torch.float32)
        assert operand.is_contiguous()
        assert operand.shape[1] * operand.element_size() % 16 == operand.data_ptr() % 16 == 0
        assert torch.equal(operand[:, :dim], vectors.to(operand.dtype))
        assert not operand[:, dim:].any()


def test_targets_are_taken_from_the_gradients_of_their_rows() -> None:
    rng = torch.Generator().manual_seed(0)
    query, weight = torch.randn(40, 6, generator=rng), torch.rand(40, 3, generator=rng)
    target = torch.randint(0, 10, (40, 3), generator=rng)
    gradient = torch.randn(12, 6, generator=rng)
    expected = gradient.double()
    for p, t in product(range(40), range(3)):
        expected[target[p, t]] -= weight[p, t].double() * query[p].double()
    _subtract_targets(gradient, query, target, weight)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=1e-5)
