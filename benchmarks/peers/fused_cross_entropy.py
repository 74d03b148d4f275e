"""A cross-entropy of others that holds no logits, forward and backward; run by its own interpreter, prints
JSON.

Its clock is the one by which we measure ourselves: this file imports nothing of ours.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The mean cross-entropy of scores (P, D) · (N, D) against target rows (P)."""


def step_of(loss: Loss, query: Tensor, item: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """A forward and backward pass; both gradients are then those of the vectors."""

    def step() -> Tensor:
        query.grad = item.grad = None
        found = loss(query, item, target)
        found.backward()  # type: ignore[no-untyped-call]
        return found.detach()

    return step


def milliseconds(step: Callable[[], object], times: int = 1) -> float:
    """What one step takes on the GPU, on average of so many in a row."""
    begun, ended = (
        torch.cuda.Event(enable_timing=True),  # type: ignore[no-untyped-call]
        torch.cuda.Event(enable_timing=True),  # type: ignore[no-untyped-call]
    )
    begun.record()
    for _ in range(times):
        step()
    ended.record()
    ended.synchronize()
    return float(begun.elapsed_time(ended)) / times


def peak_bytes(step: Callable[[], object], inputs: Sequence[Tensor]) -> int:
    """The most GPU memory held at once during a step: inputs, their gradients, all between them."""
    for vectors in inputs:
        vectors.grad = None
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    others = torch.cuda.memory_allocated() - sum(vectors.nbytes for vectors in inputs)
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - others


def loss_of(peer: str, temperature: float) -> Loss:
    """The loss of a peer, with its own settings."""
    if peer == "cut_cross_entropy":
        from cut_cross_entropy import linear_cross_entropy  # type: ignore[import-not-found]

        return lambda query, item, target: linear_cross_entropy(query / temperature, item, target)
    from liger_kernel.transformers import (  # type: ignore[import-not-found]
        LigerFusedLinearCrossEntropyLoss,
    )

    fused = LigerFusedLinearCrossEntropyLoss()
    return lambda query, item, target: fused(item, query / temperature, target)


def main(peer: str, place: str, temperature: float, repeats: int) -> None:
    """Reads the vectors and which rows to show; prints times and memory, writes those rows' gradients."""
    folder = Path(place)
    read = {path.stem: torch.from_numpy(np.load(path)).cuda() for path in folder.glob("*.npy")}
    query, item = (read[name].view(torch.bfloat16).requires_grad_() for name in ("query", "item"))
    step = step_of(loss_of(peer, temperature), query, item, read["target"])
    step()  # what only the first costs
    peak = peak_bytes(step, (query, item))
    ms = [milliseconds(step) for _ in range(repeats)]
    loss = float(step())
    for name, vectors in (("query", query), ("item", item)):
        if vectors.grad is None:
            raise RuntimeError(f"{peer} gave no gradient of {name}")
        np.save(folder / f"{name}_grad.npy", vectors.grad[read[f"{name}_sample"]].float().cpu().numpy())
    print(json.dumps({"ms": ms, "peak_bytes": peak, "loss": loss}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
