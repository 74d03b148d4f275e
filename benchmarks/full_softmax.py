"""Claim `full-softmax`: the softmax over a whole catalogue on a GPU, forward and backward.

Beside it, on the same vectors: plain cross-entropy in chunks whose logits are made again in the backward
pass; plain cross-entropy with all logits, at a quarter of the positions; Cut Cross-Entropy and Liger, where
they can be had. Operations are the formula's 6·positions·items·d, whatever is computed twice. The peak that
they are a share of is a product of square matrices in the same type, measured in the same rounds. Without a
GPU only small vectors are checked.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.claims import BenchmarkError
from benchmarks.environment import peer_python
from benchmarks.measurement import Measurement
from benchmarks.peers.fused_cross_entropy import Loss, milliseconds, peak_bytes, step_of
from towers.objectives.fused_softmax import fused_softmax, fused_softmax_fits
from towers.objectives.softmax import full_softmax

TEMPERATURE, SEED, NUM_ROUNDS = 0.05, 0, 5
SHAPE, SMALL, ON_CPU = (16_384, 1_000_000, 128), (4_096, 1_000_000, 128), (300, 2_000, 64)
"""Positions, items and d."""

PLAIN_CHUNK, SQUARE, NUM_SAMPLED = 2_048, 8_192, 256
LARGEST_ERROR = {"loss": 1e-4, "query_grad": 1e-2, "item_grad": 1e-2}
_TORCH = f"torch=={torch.__version__.partition('+')[0]}"
PEERS = {
    "cut_cross_entropy": ("cut-cross-entropy==25.1.1", _TORCH, "numpy==2.4.6"),
    "liger_kernel": ("liger-kernel==0.8.5", _TORCH, "numpy==2.4.6"),
}


def measure() -> Measurement:
    """Medians over rounds, in each of which all are measured one after another; peers after them."""
    if not torch.cuda.is_available():
        problem = Problem.drawn(ON_CPU, torch.float32, "cpu")
        loss = step_of(ours, problem.query, problem.item, problem.target)()
        return Measurement(
            figures=dict.fromkeys(
                ("share_of_matmul_peak", "over_plain_cross_entropy", "peak_gib_over_inputs")
            ),
            data=f"{_spelled(ON_CPU)}, float32, to be checked alone",
            seeds=(SEED,),
            details={"relative_errors": checked(errors(problem.answer(loss), problem.expected()))},
        )
    small = Problem.drawn(SMALL, torch.bfloat16, "cuda")
    at_small = _compared(small, {"ours": ours, "plain": plain})
    del small
    problem = Problem.drawn(SHAPE, torch.bfloat16, "cuda")
    found = _compared(problem, {"ours": ours, "plain, by chunks": plain_by_chunks})
    checked(found["ours"].errors)
    over_plain = {
        f"all logits, {_spelled(SMALL)}": at_small["plain"].over(at_small["ours"]),
        f"by chunks, {_spelled(SHAPE)}": found["plain, by chunks"].over(found["ours"]),
    }
    for name in PEERS:
        if (run := _peer(name, problem, found["ours"].peak_tflops)) is not None:
            found[name] = run
    inputs = 2 * (problem.query.nbytes + problem.item.nbytes)
    return Measurement(
        figures={
            "share_of_matmul_peak": round(found["ours"].share_of_peak(SHAPE), 3),
            "over_plain_cross_entropy": round(min(over_plain.values()), 2),
            "peak_gib_over_inputs": round(found["ours"].peak_bytes / inputs, 3),
        },
        data=f"unit vectors, bfloat16: {_spelled(SHAPE)}, temperature {TEMPERATURE}",
        seeds=(SEED,),
        details={
            "matmul_peak_tflops": round(median(found["ours"].peak_tflops), 1),
            "over_plain_cross_entropy": {name: round(ratio, 2) for name, ratio in over_plain.items()},
            _spelled(SHAPE): {name: run.row(SHAPE) for name, run in found.items()}
            | {name: None for name in PEERS if name not in found},
            _spelled(SMALL): {name: run.row(SMALL) for name, run in at_small.items()},
            "peers": {name: pins[0] for name, pins in PEERS.items()},
        },
    )


def ours(query: Tensor, item: Tensor, target: Tensor) -> Tensor:
    """What the project trains with: the fused kernel where it fits."""
    rows, weight = target[:, None], torch.ones_like(target[:, None], dtype=torch.float32)
    if fused_softmax_fits(query, item, weight):
        return fused_softmax(query, item, rows, weight, temperature=TEMPERATURE)
    return full_softmax(query, item, rows, weight, temperature=TEMPERATURE)


def plain(query: Tensor, item: Tensor, target: Tensor) -> Tensor:
    """Torch's cross-entropy of all logits."""
    return F.cross_entropy((query / TEMPERATURE) @ item.T, target)


def plain_by_chunks(query: Tensor, item: Tensor, target: Tensor) -> Tensor:
    """Torch's cross-entropy of some positions' logits at a time, made again in the backward pass."""

    def chunk(query: Tensor, item: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy((query / TEMPERATURE) @ item.T, target, reduction="sum")

    parts = zip(torch.split(query, PLAIN_CHUNK), torch.split(target, PLAIN_CHUNK), strict=True)
    sums = [checkpoint(chunk, part, item, rows, use_reentrant=False) for part, rows in parts]
    return torch.stack(sums).sum() / len(query)


@dataclass(frozen=True, slots=True)
class Answer:
    """A loss and the gradients of some positions and items."""

    loss: float
    query_grad: Tensor
    item_grad: Tensor


@dataclass(frozen=True, slots=True)
class Problem:
    """Vectors, one target row per position, and the rows whose gradients are looked at."""

    query: Tensor
    item: Tensor
    target: Tensor
    query_sample: Tensor
    item_sample: Tensor

    @classmethod
    def drawn(cls, shape: tuple[int, int, int], dtype: torch.dtype, device: str) -> "Problem":
        """Unit vectors in random directions; half of the items looked at are targets."""
        positions, items, dim = shape
        rng = torch.Generator(device).manual_seed(SEED)
        query, item = (
            F.normalize(torch.randn(size, dim, generator=rng, device=device)).to(dtype).requires_grad_()
            for size in (positions, items)
        )
        target = torch.randint(items, (positions,), generator=rng, device=device)
        sample = torch.randint(positions, (NUM_SAMPLED,), generator=rng, device=device)
        others = torch.randint(items, (NUM_SAMPLED // 2,), generator=rng, device=device)
        return cls(query, item, target, sample, torch.cat([target[: NUM_SAMPLED // 2], others]))

    def answer(self, loss: Tensor) -> Answer:
        """What a step left: its loss, and the gradients that are looked at."""
        if self.query.grad is None or self.item.grad is None:
            raise BenchmarkError("no gradient; expected one of positions and one of items")
        query_grad, item_grad = self.query.grad[self.query_sample], self.item.grad[self.item_sample]
        return Answer(float(loss), query_grad, item_grad)

    def expected(self) -> Answer:
        """The formula in float64, some positions at a time."""
        query, item = self.query.detach().double() / TEMPERATURE, self.item.detach().double()
        log_total = torch.cat([(part @ item.T).logsumexp(1) for part in torch.split(query, 256)])
        of_target = (query * item[self.target]).sum(1)
        odds = ((query[self.query_sample] @ item.T) - log_total[self.query_sample, None]).exp()
        query_grad = odds @ item - item[self.target[self.query_sample]]
        odds = (query @ item[self.item_sample].T - log_total[:, None]).exp()
        odds -= (self.target[:, None] == self.item_sample).double()
        return Answer(
            float((log_total - of_target).mean()),
            query_grad / (TEMPERATURE * len(query)),
            odds.T @ query / len(query),
        )


def errors(found: Answer, expected: Answer) -> dict[str, float]:
    """Relative errors: of the loss, and of the gradients by their norm over all rows that are looked at."""

    def relative(found: Tensor, expected: Tensor) -> float:
        return float(f"{float((found.to(expected) - expected).norm() / expected.norm()):.2e}")

    return {
        "loss": relative(torch.tensor(found.loss), torch.tensor(expected.loss, dtype=torch.float64)),
        "query_grad": relative(found.query_grad, expected.query_grad),
        "item_grad": relative(found.item_grad, expected.item_grad),
    }


def checked(relative: dict[str, float]) -> dict[str, float]:
    """The same errors; BenchmarkError where one is large: nobody wants a wrong answer quickly."""
    for name, error in relative.items():
        if not error <= LARGEST_ERROR[name]:
            raise BenchmarkError(f"{name}: relative error {error}; expected at most {LARGEST_ERROR[name]}")
    return relative


@dataclass(frozen=True, slots=True)
class Run:
    """Milliseconds of each round, the peak of the same round, memory and errors."""

    ms: list[float]
    peak_tflops: list[float]
    peak_bytes: int
    errors: dict[str, float]

    def over(self, other: "Run") -> float:
        """How many times as long as the other this one takes."""
        return median(mine / its for mine, its in zip(self.ms, other.ms, strict=True))

    def share_of_peak(self, shape: tuple[int, int, int]) -> float:
        """The formula's operations per second over those of a square matrix product."""
        rates = zip(self.ms, self.peak_tflops, strict=False)
        return median(_tflops(shape, ms) / peak for ms, peak in rates)

    def row(self, shape: tuple[int, int, int]) -> dict[str, object]:
        """For people, and to be computed with."""
        ms = median(self.ms)
        return {
            "ms": round(ms, 2),
            "rounds": [round(each, 2) for each in self.ms],
            "positions_per_second": round(shape[0] / ms * 1e3),
            "tflops": round(_tflops(shape, ms), 1),
            "share_of_matmul_peak": round(self.share_of_peak(shape), 3),
            "peak_gib": round(self.peak_bytes / 2**30, 3),
            "relative_errors": self.errors,
        }


def _compared(problem: Problem, losses: Mapping[str, Loss]) -> dict[str, Run]:
    """All of them in each round, beside the product of square matrices."""
    inputs, expected = (problem.query, problem.item), problem.expected()
    steps = {name: step_of(loss, *inputs, problem.target) for name, loss in losses.items()}
    wrong = {name: errors(problem.answer(step()), expected) for name, step in steps.items()}
    held = {name: peak_bytes(step, inputs) for name, step in steps.items()}
    square = torch.randn(2, SQUARE, SQUARE, device=problem.query.device, dtype=problem.query.dtype)
    product = torch.empty_like(square[0])
    ms: dict[str, list[float]] = {name: [] for name in ("square", *steps)}
    timed: dict[str, Callable[[], object]] = {
        "square": lambda: torch.mm(square[0], square[1], out=product),
        **steps,
    }
    for step in timed.values():
        step()
    for _ in range(NUM_ROUNDS):
        for name, step in timed.items():
            ms[name].append(milliseconds(step, 10 if name == "square" else 2))
    peaks = [2 * SQUARE**3 / each / 1e9 for each in ms["square"]]
    return {name: Run(ms[name], peaks, held[name], wrong[name]) for name in steps}


def _peer(name: str, problem: Problem, peak_tflops: list[float]) -> Run | None:
    """A peer on the same vectors, in a process of its own; None, and why, where there is none or it fails."""
    try:
        python = Path(sys.executable) if find_spec(name) else peer_python(name, PEERS[name])
    except BenchmarkError as error:
        print(f"not compared with: {error}", file=sys.stderr)
        return None
    expected = problem.expected()
    torch.cuda.empty_cache()
    with TemporaryDirectory() as place:
        folder = Path(place)
        for which, vectors in (("query", problem.query), ("item", problem.item)):
            np.save(folder / f"{which}.npy", vectors.detach().view(torch.int16).cpu().numpy())
        for which in ("target", "query_sample", "item_sample"):
            np.save(folder / f"{which}.npy", getattr(problem, which).cpu().numpy())
        script = Path(__file__).parent / "peers" / "fused_cross_entropy.py"
        command = [str(part) for part in (python, script, name, folder, TEMPERATURE, NUM_ROUNDS)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if answer.returncode:
            print(f"not compared with: {name} ended with exit code {answer.returncode}", file=sys.stderr)
            return None
        told = json.loads(answer.stdout.splitlines()[-1])
        grads = (torch.from_numpy(np.load(folder / f"{w}_grad.npy")) for w in ("query", "item"))
        found = Answer(told["loss"], *grads)
    return Run(told["ms"], peak_tflops, told["peak_bytes"], errors(found, expected))


def _tflops(shape: tuple[int, int, int], ms: float) -> float:
    positions, items, dim = shape
    return 6 * positions * items * dim / ms / 1e9


def _spelled(shape: tuple[int, int, int]) -> str:
    return "{:,} positions, {:,} items, d = {}".format(*shape)
