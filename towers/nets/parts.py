"""Encodes in parts, each again in the backward pass: a large batch in the memory of a small one."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

P = TypeVar("P")


def in_parts(encode: Callable[[P], Tensor], parts: Sequence[P], device: torch.device) -> list[Tensor]:
    """What `encode` gives for each part; only that is kept, and each part is encoded again for its gradient.

    The loss may be any function of all of them together, negatives of the same batch included: its gradients
    are those of one pass, and what is held at once is every part's result and the activations of one. It
    costs one forward pass more. Dropout draws in the second pass what it drew in the first; `device` is where
    `encode` computes, so that its generator is wound back too. Without gradients nothing is encoded twice.
    Source: the gradient cache, Gao et al. 2021, arXiv:2101.06983, with the recomputation left to autograd.
    """
    if not torch.is_grad_enabled():
        return [encode(part) for part in parts]
    # The generator of a device is only kept where an argument lies on it, and a part need not be a tensor.
    anchor = torch.empty(0, device=device)
    return [
        checkpoint(lambda one, _: encode(one), part, anchor, use_reentrant=False, preserve_rng_state=True)
        for part in parts
    ]
