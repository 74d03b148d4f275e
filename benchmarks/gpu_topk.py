"""Claim `gpu-topk`: exact search of ten million vectors on a GPU, kept in bfloat16, scored again in float32.

Beside it, on the same vectors: torch's product of a batch with all items and its top-k of that, in parts that
fit the memory. Rates are shares of a copy between two places of the GPU's memory and of a product of square
matrices in bfloat16, measured in the same rounds. Without a GPU only small vectors are checked.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.claims import BenchmarkError
from benchmarks.measurement import Measurement
from benchmarks.peers.fused_cross_entropy import milliseconds
from retrieval.index.gpu import GpuIndex
from retrieval.index.groups import TILE, Passing

SEED, NUM_ROUNDS, K = 0, 7, 100
NUM_ITEMS, DIM, ON_CPU = 10_000_000, 128, 20_000
FEW, SOME, MANY = 16, 1_024, 4_096
"""Queries of a batch: where bytes count, where torch is compared with, where products count."""

RULES = 16
SQUARE, COPIED, PLAIN_PARTS, NUM_CHECKED = 8_192, 1 << 30, (128, 256, 512), 64
LARGEST_ERROR = 1e-5
_PART = 1 << 20


def measure() -> Measurement:
    """Medians over rounds, in each of which all are measured one after another."""
    keys = ("share_of_bandwidth_b16", "share_of_matmul_peak_b4096", "over_torch_topk_b1024")
    if not torch.cuda.is_available():
        item, query = drawn(ON_CPU, "cpu", spread=0.0), drawn(NUM_CHECKED, "cpu", spread=0.0, seed=1)
        return Measurement(
            figures=dict.fromkeys(keys),
            data=f"{_spelled(ON_CPU)}, to be checked alone",
            seeds=(SEED,),
            details={"checked": checked(GpuIndex(item.numpy(), "cpu"), item, query)},
        )
    details = dict[str, Any]()
    for name, spread in (("in tastes", 0.5), ("in random directions", 0.0)):
        item = drawn(NUM_ITEMS, "cuda", spread=spread)
        queries = {num: drawn(num, "cuda", spread=spread, seed=num) for num in (FEW, SOME, MANY)}
        index = GpuIndex.of(item)
        details[name] = {"checked": checked(index, item, queries[SOME][:NUM_CHECKED])}
        details[name] |= _compared(index, item, queries, plain=spread == 0.0)
    found = details["in random directions"]
    return Measurement(
        figures={
            keys[0]: found[f"{FEW} queries"]["share_of_bandwidth"],
            keys[1]: found[f"{MANY} queries"]["share_of_matmul_peak"],
            keys[2]: found["over_torch_topk"],
        },
        data=f"{_spelled(NUM_ITEMS)}, k = {K}",
        seeds=(SEED,),
        details=details,
    )


def drawn(num: int, device: str, *, spread: float, seed: int = SEED) -> Tensor:
    """Unit vectors in random directions; with a spread, near one of a thousand tastes that all share."""
    tastes = torch.randn(1_000, DIM, generator=torch.Generator(device).manual_seed(SEED + 99), device=device)
    rng = torch.Generator(device).manual_seed(seed)
    made = torch.empty(num, DIM, device=device)
    for part in torch.split(made, _PART):
        vector = torch.randn(len(part), DIM, generator=rng, device=device)
        if spread:
            vector = (
                vector * spread + tastes[torch.randint(1_000, (len(part),), generator=rng, device=device)]
            )
        part.copy_(F.normalize(vector))
    return made


def checked(index: GpuIndex, item: Tensor, query: Tensor) -> dict[str, float]:
    """How far scores and rows are from those in float64; BenchmarkError where it is more than rounding."""
    score, row, _ = index.search_tensors(query, K)
    best = [torch.empty(len(query), 0, dtype=torch.float64, device=item.device), row[:, :0]]
    for start in range(0, len(item), _PART):
        some = (query.double() @ item[start : start + _PART].double().T).topk(K)
        both = torch.cat([best[0], some.values], 1), torch.cat([best[1], some.indices + start], 1)
        order = both[0].topk(K).indices
        best = [each.gather(1, order) for each in both]
    error = float((score - best[0]).abs().max())
    # A row may differ where two scores are the same within rounding; which rows there are may not.
    same = float((row.sort(1).values == best[1].sort(1).values).double().mean())
    if not error <= LARGEST_ERROR or same < 0.999:
        raise BenchmarkError(f"scores differ by {error}, {same:.4f} of the rows are the same; expected all")
    return {"score_error": float(f"{error:.1e}"), "rows_the_same": round(same, 5)}


def ruled(num_queries: int, num_items: int) -> Passing:
    """Sixteen rules by turns, each of which a tenth of the items pass."""
    num_bytes = -(-num_items // TILE) * TILE // 8
    drawn = torch.randint(0, 10, (RULES, num_items), dtype=torch.uint8, device="cuda") == 0
    passes = F.pad(drawn, (0, 8 * num_bytes - num_items)).view(RULES, num_bytes, 8)
    bit = 1 << torch.arange(8, dtype=torch.uint8, device="cuda")
    return Passing((passes * bit).sum(2, dtype=torch.uint8), torch.arange(num_queries, device="cuda") % RULES)


def plain_topk(query: Tensor, item: Tensor, part: int) -> Tensor:
    """Torch's product in bfloat16 of a part of the queries with all items, and its top-k."""
    return torch.cat([torch.topk(some @ item.T, K).indices for some in torch.split(query, part)])


def _compared(index: GpuIndex, item: Tensor, queries: dict[int, Tensor], *, plain: bool) -> dict[str, Any]:
    square = torch.randn(2, SQUARE, SQUARE, device="cuda", dtype=torch.bfloat16)
    product, copied = torch.empty_like(square[0]), torch.empty(2, COPIED, dtype=torch.uint8, device="cuda")
    timed: dict[str, tuple[Callable[[], object], int]] = {
        "copy": (lambda: copied[0].copy_(copied[1]), 5),
        "square": (lambda: torch.mm(square[0], square[1], out=product), 10),
    }
    for num, query in queries.items():
        times = 2 if num > FEW else 20
        timed[f"{num}"] = partial(index.search_tensors, query, K), times
        timed[f"{num} ruled"] = partial(index.search_tensors, query, K, ruled(num, len(item))), times
    if plain:
        rounded, query = item.bfloat16(), queries[SOME].bfloat16()
        for part in PLAIN_PARTS:
            timed[f"plain {part}"] = partial(plain_topk, query, rounded, part), 1
    for step, _ in timed.values():
        step()
    ms: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(NUM_ROUNDS):
        for name, (step, times) in timed.items():
            ms[name].append(milliseconds(step, times))
    bytes_per_ms = [2 * COPIED / each for each in ms["copy"]]
    flops_per_ms = [2 * SQUARE**3 / each for each in ms["square"]]
    details: dict[str, Any] = {
        "copy_gigabytes_per_second": round(median(bytes_per_ms) / 1e6),
        "matmul_peak_tflops": round(median(flops_per_ms) / 1e9, 1),
    }
    for num, query in queries.items():
        took, scores = ms[f"{num}"], 2 * num * item.numel()
        details[f"{num} queries"] = {
            "ms": round(median(took), 3),
            "queries_per_second": round(num / median(took) * 1e3),
            "ms_with_rules": round(median(ms[f"{num} ruled"]), 3),
            "share_of_bandwidth": _share(2 * item.numel(), took, bytes_per_ms),
            "share_of_matmul_peak": _share(scores, took, flops_per_ms),
            "scored_whole_in_float32": index.search_tensors(query, K)[2],
        }
    if plain:
        by_part = {f"{part} at a time": ms[f"plain {part}"] for part in PLAIN_PARTS}
        quickest = [min(each) for each in zip(*by_part.values(), strict=True)]
        details["torch_topk_ms"] = {name: round(median(each), 1) for name, each in by_part.items()}
        ratio = [theirs / ours for theirs, ours in zip(quickest, ms[f"{SOME}"], strict=True)]
        details["over_torch_topk"] = round(median(ratio), 2)
    return details


def _share(work: int, took: list[float], peak: list[float]) -> float:
    """Of the peak of the same round."""
    return round(median(work / ms / most for ms, most in zip(took, peak, strict=True)), 3)


def _spelled(num_items: int) -> str:
    return f"{num_items:,} unit vectors, d = {DIM}"
