"""Dropout at the price of an eighth of the random numbers."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_DRAWS = 256


class Dropout(nn.Module):
    """Zeros a share of the entries in training, and scales the others so that the mean stays.

    On a CPU each entry draws one random byte, where torch draws a double: on a table of a million entries
    that is most of what dropout costs. The share is the nearest one of 256 that are, none below 1/512;
    what is kept is scaled by exactly that, so the mean is right. A GPU draws as torch does.
    Source: Srivastava et al. 2014, JMLR 15.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.num_dropped = min(round(share * _DRAWS), _DRAWS - 1)

    def forward(self, entries: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The entries, a share of them 0 in training."""
        if not self.training or not self.num_dropped:
            return entries
        if entries.device.type != "cpu":
            return F.dropout(entries, self.share)
        drawn = torch.empty(-(-entries.numel() // 8), dtype=torch.int64)
        drawn.random_(torch.iinfo(torch.int64).min, None)  # all 64 bits
        kept = drawn.view(torch.uint8)[: entries.numel()].view(entries.shape) >= self.num_dropped
        # As a factor: filling under a mask takes ten times as long, and again for the gradient.
        return entries * kept.to(entries.dtype).mul_(_DRAWS / (_DRAWS - self.num_dropped))

    def extra_repr(self) -> str:
        """What a printed model says of it."""
        return f"share={self.share}"
