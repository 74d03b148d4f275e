"""One layer of the user tower: causal attention over a window, and a gated feed-forward."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from towers.nets.dropout import Dropout


@dataclass(frozen=True, slots=True)
class Layout:
    """Where S packed positions stand among B windows padded to T.

    slot: int64 (S,), window · T + place. ahead: bool (T, T), whether the column lies ahead of the reader.
    age_row: int64 (B, T, T), the bucket of the time between what is read and who reads; None where time is
    not read.
    """

    slot: Int64[Tensor, " S"]
    num_windows: int
    ahead: Bool[Tensor, "T T"]
    age_row: Int64[Tensor, "B T T"] | None

    def padded(self, packed: Float[Tensor, "S D"]) -> Float[Tensor, "B T D"]:
        """The windows, a line each, zeros where there is no position."""
        lines = packed.new_zeros(self.num_windows * len(self.ahead), packed.shape[1])
        return lines.index_copy(0, self.slot, packed).view(self.num_windows, len(self.ahead), -1)

    def packed(self, padded: Float[Tensor, "B T D"]) -> Float[Tensor, "S D"]:
        """The positions there are."""
        return padded.flatten(0, 1).index_select(0, self.slot)

    def by_distance(self, value: Float[Tensor, "... L"]) -> Float[Tensor, "... T T"]:
        """For each reader and place, the value of their distance; 0 ahead.

        A line that goes round, value[0], zeros, value[L-1] … value[1], read by a width one less than it has:
        every reader's begins one earlier. The gradient of an indexing would add one value after the other,
        which on a GPU takes longer than the rest of the layer; that of windows into a line compiles anew for
        every length.
        """
        length = len(self.ahead)
        value = value[..., :length]
        line = torch.cat([value[..., :1], torch.zeros_like(value), value[..., 1:].flip(-1)], dim=-1)
        turns = line.unsqueeze(-2).expand(*value.shape, 2 * length).flatten(-2)
        lines = turns[..., : length * (2 * length - 1)].reshape(*value.shape, 2 * length - 1)
        return lines[..., :length]


class Block(nn.Module):
    """Pre-norm causal attention with biases by distance and time, then a gated feed-forward.

    Each is gated by its input. The bias of an event `d` places back starts at -slope · d, a slope per head
    from steep to flat, and is learned from there: recent events count most before anything is learned. The
    bias by time, one of `num_ages` buckets per head, starts at 0.
    Source: the gates of LiGR, Borisyuk et al. 2025, arXiv:2502.03417; the start of the bias by distance,
    ALiBi, Press et al. 2022, arXiv:2108.12409; the bias by time, HSTU, Zhai et al. 2024, arXiv:2402.17152.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float, num_positions: int, num_ages: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        slope = 0.5 ** torch.linspace(1.0, 6.0, num_heads)
        self.distance_bias = nn.Parameter(-slope[:, None] * torch.arange(num_positions))
        self.age_bias = nn.Parameter(torch.zeros(num_ages, num_heads)) if num_ages else None
        self.attended = nn.Linear(dim, dim, bias=False)
        self.attention_gate = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = nn.Linear(dim, 4 * dim, bias=False)
        self.fed = nn.Linear(2 * dim, dim, bias=False)
        self.feed_gate = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Float[Tensor, "S D"], layout: Layout) -> Float[Tensor, "S D"]:
        """The next hidden states; a position reads none after it, and none of another window."""
        normed = self.attention_norm(hidden)
        windows = layout.padded(self.qkv(normed))
        split = windows.view(*windows.shape[:2], 3, self.num_heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(layout).to(q.dtype))
        attended = layout.packed(attended.transpose(1, 2).flatten(2))
        hidden = hidden + self.dropout(self.attended(attended)) * torch.sigmoid(self.attention_gate(normed))
        normed = self.feed_norm(hidden)
        left, right = self.feed(normed).chunk(2, dim=-1)
        fed = self.dropout(self.fed(F.silu(left) * right))
        gated: Tensor = hidden + fed * torch.sigmoid(self.feed_gate(normed))
        return gated

    def _bias(self, layout: Layout) -> Float[Tensor, "B1 H T T"]:
        """Added to the attention scores: by distance and by time, -inf after the reading position."""
        bias = layout.by_distance(self.distance_bias).masked_fill(layout.ahead, -torch.inf)[None]
        if self.age_bias is None or layout.age_row is None:
            return bias
        by_age = self.age_bias.index_select(0, layout.age_row.flatten()).view(*layout.age_row.shape, -1)
        return bias + by_age.permute(0, 3, 1, 2)
