"""What the fused softmax gives for the cases of a folder: python -m …objectives.kernels <device> <folder>.

A process of its own: whether Triton compiles its kernels or interprets them is settled when it is loaded.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from towers.objectives.fused_softmax import fused_softmax

FACTOR = 2.5
"""What the loss is multiplied by before the backward pass: gradients that come in are not always 1."""


def main(device: str, folder: Path) -> None:
    """Answers each case with its loss and both gradients, and the types of the latter."""
    for path in sorted(folder.glob("*.case.npz")):
        case = np.load(path)
        query, item = (
            _unaligned(torch.from_numpy(case[name]).to(getattr(torch, str(case[f"{name}_type"]))).to(device))
            for name in ("query", "item")
        )
        target, weight = (torch.from_numpy(case[name]).to(device) for name in ("target", "weight"))
        bias = torch.from_numpy(case["bias"]).to(device) if "bias" in case else None
        loss = fused_softmax(query, item, target, weight, temperature=float(case["temperature"]), bias=bias)
        query_grad, item_grad = torch.autograd.grad(FACTOR * loss, (query, item))
        if (query_grad.dtype, item_grad.dtype) != (query.dtype, item.dtype):
            raise SystemExit(f"{path.name}: gradients of {query_grad.dtype} and {item_grad.dtype}")
        np.savez(
            folder / path.name.replace(".case", ".answer"),
            loss=loss.detach().cpu().numpy(),
            query_grad=query_grad.float().cpu().numpy(),
            item_grad=item_grad.float().cpu().numpy(),
        )


def _unaligned(vectors: Tensor) -> Tensor:
    """The same vectors one number into their memory, as a slice of something else may be."""
    held = vectors.new_empty(vectors.numel() + 1)[1:].view(vectors.shape)
    return held.copy_(vectors).requires_grad_()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
