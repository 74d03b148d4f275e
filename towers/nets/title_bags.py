"""The bags of a catalogue on a device, and their weighted sums of embedding rows."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from towers.data.encoded import Bags


class TitleBags(nn.Module):
    """Bags of N titles as buffers, in no checkpoint: title i has row[offset[i]:offset[i + 1]]."""

    offset: Int64[Tensor, " N1"]
    row: Int64[Tensor, " V"]
    weight: Float32[Tensor, " V"]

    def __init__(self, offset: Tensor, row: Tensor, weight: Tensor, edges: Int64[np.ndarray, " N1"]) -> None:
        super().__init__()
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("row", row, persistent=False)
        self.register_buffer("weight", weight, persistent=False)
        self._edges = edges  # the offsets here: to read one of a device would wait for it
        self._turned: tuple[int, TitleBags] | None = None

    @staticmethod
    def of(bags: Bags) -> "TitleBags":
        """The bags of an encoded catalogue."""
        offset, row, weight = map(torch.from_numpy, (bags.offset, bags.row, bags.weight))
        return TitleBags(offset, row, weight, bags.offset)

    def part(self, start: int, stop: int) -> "TitleBags":
        """Those of the titles from `start` to `stop`."""
        edges = self._edges[start : stop + 1]
        own = slice(int(edges[0]), int(edges[-1]))
        offset = self.offset[start : stop + 1] - own.start
        return TitleBags(offset, self.row[own], self.weight[own], edges - own.start)

    def select(self, titles: Int64[Tensor, " n"]) -> "TitleBags":
        """Those of some titles, in that order."""
        length = torch.diff(self.offset)[titles]
        offset = F.pad(torch.cumsum(length, 0), (1, 0))
        edges = offset.cpu().numpy()
        shift = torch.repeat_interleave(self.offset[titles] - offset[:-1], length, output_size=int(edges[-1]))
        own = shift + torch.arange(len(shift), device=shift.device)
        return TitleBags(offset, self.row[own], self.weight[own], edges)

    def sums(self, table: Float[Tensor, "R W"]) -> Float[Tensor, "N W"]:
        """Each title's weighted sum of the rows of a table; 0 of an empty bag."""
        if self.row.is_cuda:
            return self.plain_sums(table)
        summed: Tensor = _Sums.apply(table, self)  # type: ignore[no-untyped-call]
        return summed

    def plain_sums(self, table: Float[Tensor, "R W"]) -> Float[Tensor, "N W"]:
        """As `sums`, with the gradient that torch has for it."""
        weight = self.weight.to(table.dtype)
        return F.embedding_bag(
            self.row, table, self.offset, mode="sum", per_sample_weights=weight, include_last_offset=True
        )

    def turned(self, num_rows: int) -> "TitleBags":
        """The bags of titles that each of so many rows stands in, worked out once."""
        if self._turned is None or self._turned[0] != num_rows:
            order = torch.argsort(self.row, stable=True)
            title = torch.repeat_interleave(torch.diff(self.offset))[order]
            count = torch.bincount(self.row, minlength=num_rows)
            offset = F.pad(torch.cumsum(count, 0), (1, 0))
            self._turned = num_rows, TitleBags(offset, title, self.weight[order], offset.numpy())
        return self._turned[1]


class _Sums(torch.autograd.Function):
    """Sums whose gradient is one of the same kind: that of a row is the sum over the titles that have it.

    On a CPU it takes a tenth of the time of torch's own, which sorts all rows again in every step. On a GPU
    it does not: there a row that many titles have would be summed by a single block.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, bags: TitleBags) -> Tensor:
        ctx.bags, ctx.num_rows = bags, len(table)
        return bags.plain_sums(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.bags.turned(ctx.num_rows).plain_sums(gradient.contiguous()), None
