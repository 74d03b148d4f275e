"""The user tower: watch history and profile features → one vector per position. No profile id enters it."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.data.batches import Batch
from towers.data.encoders import TableEncoder
from towers.nets.feature_tables import ProfileFeatures

# Gaps in buckets of powers of two of a second: row 0 is "no event before", the last is 2^30 s, 34 years.
_NUM_GAPS = 32


class UserTower(nn.Module):
    """Causal encoder of the watch history → unit vectors, (B, L + 1, D).

    Position 0 is a start token with the profile's features, by default its country: its vector is the learned
    prior of a profile that has watched nothing. Position l has seen the first l events: their item vectors,
    minutes watched and the time between them. With `request_time` it also knows how long after the last of
    them it is asked: whoever comes back after a month wants something else than whoever goes on. Every
    position is trained; the last one serves.
    """

    def __init__(
        self,
        profiles: TableEncoder,
        dim: int,
        *,
        num_layers: int,
        num_heads: int,
        max_history: int,
        request_time: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.request_time = request_time
        self.item = nn.Linear(dim, dim, bias=False)
        self.minutes = nn.Linear(2, dim)
        self.gap = nn.Embedding(_NUM_GAPS, dim)
        self.profile = ProfileFeatures(profiles, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        nn.init.normal_(self.gap.weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, dropout, max_history + 1) for _ in range(num_layers)
        )
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim))
        self.recency = nn.Parameter(0.7 ** torch.arange(max_history + 1))

    def forward(self, batch: Batch, item: Float[Tensor, "N D"]) -> Float[Tensor, "B L1 D"]:
        """Unit vectors of every position of a batch; `item` holds the vectors of the whole catalogue.

        Windows of like length share a batch, so padding them here, on the device, costs little.
        """
        event, shown = batch.layout()
        # Unit vectors have entries near dim**-0.5; the embeddings beside them are near 1 after the norm.
        vectors = item[batch.item_row[event].long()] * shown[..., None]
        watched = self.item(vectors * item.shape[1] ** 0.5)
        minutes = batch.minutes[event]
        known = shown & torch.isfinite(minutes)
        minutes = torch.stack([torch.log1p(minutes.masked_fill(~known, 0.0)), known.float()], dim=-1)
        start = self.start + self.profile(batch.profile_row, batch.profile_numeric)
        events = torch.cat([start[:, None], watched + self.minutes(minutes)], dim=1)
        hidden = self.dropout(events + self.gap(self._gap_row(batch.gap_seconds())))
        for block in self.blocks:
            hidden = block(hidden)
        return F.normalize(F.normalize(self.out(hidden), dim=-1) + self._recent(vectors), dim=-1)

    def _recent(self, vectors: Float[Tensor, "B L D"]) -> Float[Tensor, "B L1 D"]:
        """The sum of the item vectors that each position has seen, weighed by their distance.

        What was watched last is near what comes next before anything is learned: the network beside it has
        only to learn the rest, which a short log is too thin to teach from nothing.
        Source: the fusion of similarity and order in Fossil, He and McAuley 2016, arXiv:1609.09152.
        """
        seen = F.pad(vectors, (0, 0, 1, 0))
        place = torch.arange(seen.shape[1], device=seen.device)
        back = place[:, None] - place
        weight = self.recency[back.clamp(min=0)].masked_fill(back < 0, 0.0).to(seen.dtype)
        return torch.einsum("ts,bsd->btd", weight, seen)

    def _gap_row(self, gap_seconds: Float[Tensor, "B L1"]) -> Int64[Tensor, "B L1"]:
        """Bucket of the gap that each position may know: to the moment of its question, or else before it."""
        if not self.request_time:
            gap_seconds = F.pad(gap_seconds[:, :-1], (1, 0), value=torch.nan)
        bucket = torch.log2(gap_seconds.clamp(min=1.0)).floor().clamp(max=_NUM_GAPS - 2) + 1
        return torch.nan_to_num(bucket, nan=0.0).long()


class Block(nn.Module):
    """Pre-norm causal attention with a bias by distance, then a gated feed-forward; each gated by its input.

    The bias of an event `d` places back starts at -slope · d, a slope per head from steep to flat, and is
    learned from there: recent events count most before anything is learned.
    Source: the gates of LiGR, Borisyuk et al. 2025, arXiv:2502.03417; the bias' start, ALiBi, Press et al.
    2022, arXiv:2108.12409.
    """

    def __init__(self, dim: int, num_heads: int, dropout: float, num_positions: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        slope = 0.5 ** torch.linspace(1.0, 6.0, num_heads)
        self.distance_bias = nn.Parameter(-slope[:, None] * torch.arange(num_positions))
        self.attended = nn.Linear(dim, dim, bias=False)
        self.attention_gate = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = nn.Linear(dim, 4 * dim, bias=False)
        self.fed = nn.Linear(2 * dim, dim, bias=False)
        self.feed_gate = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """The next hidden states; position t reads none after it."""
        normed = self.attention_norm(hidden)
        q, k, v = self.qkv(normed).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(hidden.shape[1]).to(q.dtype))
        attended = self.dropout(self.attended(attended.transpose(1, 2).flatten(2)))
        hidden = hidden + attended * torch.sigmoid(self.attention_gate(normed))
        normed = self.feed_norm(hidden)
        left, right = self.feed(normed).chunk(2, dim=-1)
        fed = self.dropout(self.fed(F.silu(left) * right))
        gated: Tensor = hidden + fed * torch.sigmoid(self.feed_gate(normed))
        return gated

    def _bias(self, num_positions: int) -> Float[Tensor, "H T T"]:
        """Added to the attention scores: by distance, and -inf after the reading position."""
        place = torch.arange(num_positions, device=self.distance_bias.device)
        back = place[:, None] - place
        bias: Tensor = self.distance_bias[:, back.clamp(min=0)].masked_fill(back < 0, -torch.inf)
        return bias
