"""The user tower: watch history and profile features → the vectors of each position. No profile id enters."""

from enum import StrEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.data.batches import Batch, Positions
from towers.data.encoders import TableEncoder
from towers.nets.ages import Ticks
from towers.nets.attention import Block, Layout
from towers.nets.dropout import Dropout
from towers.nets.feature_tables import ProfileFeatures
from towers.nets.moments import Clock, Moments
from towers.nets.unit import unit

# Spans in buckets of powers of two of a second: row 0 is "no event before", the last is 2^30 s, 34 years.
_NUM_SPANS = 32


class TimeUse(StrEnum):
    """What a query's vector may know of time."""

    REQUEST = "request"
    """When it is asked and when every event was: whoever comes back after a month wants something else than
    whoever goes on, and in December everybody does."""
    HISTORY = "history"
    """When every event was, not when it is asked."""
    NONE = "none"
    """The order of the events alone."""


class UserTower(nn.Module):
    """Causal encoder of the watch history → unit vectors of the S positions of a batch, packed, (S, D).

    Position 0 of a window is a start token with the profile's features, by default its country: its vector is
    the learned prior of a profile that has watched nothing. Position l has seen the first l events: their
    item vectors, minutes watched and, as far as `time` says, when they were. Every position is trained; the
    last one serves. Where titles have an age, `ages` are its ticks, and the last entries of a vector say when
    it is asked and how much what is new is wanted.
    Layers run over the positions there are. Attention alone pads, to the longest window of a batch, in which
    windows are of like length.
    """

    def __init__(
        self,
        profiles: TableEncoder,
        dim: int,
        *,
        num_layers: int,
        num_heads: int,
        num_interests: int,
        max_history: int,
        time: TimeUse,
        clock: Clock | None,
        ages: Ticks | None,
        dropout: float,
        event_dropout: float,
    ) -> None:
        super().__init__()
        self.num_interests = num_interests
        several = num_interests > 1
        self.time = time
        self.event_dropout = event_dropout
        self.item = nn.Linear(dim, dim, bias=False)
        self.minutes = nn.Linear(2, dim)
        self.gap = nn.Embedding(_NUM_SPANS, dim)
        nn.init.normal_(self.gap.weight, std=0.02)
        self.profile = ProfileFeatures(profiles, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        # What a moment changes before the layers, and what it adds to what they give.
        self.width = width = dim - (ages.num if ages else 0)
        self.moment_in = Moments(clock, dim) if clock else None
        self.moment_out = Moments(clock, width) if clock else None
        # How much each question wants what is new, beside what it wants.
        self.ages = ages
        self.newness = nn.Linear(dim, num_interests) if ages else None
        if self.newness is not None:
            nn.init.zeros_(self.newness.weight)
            nn.init.ones_(self.newness.bias)
        self.dropout = Dropout(dropout)
        num_ages = 0 if time is TimeUse.NONE else _NUM_SPANS
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, dropout, max_history + 1, num_ages) for _ in range(num_layers)
        )
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_interests * width))
        self.recency = nn.Parameter(0.7 ** torch.arange(max_history + 1))
        # Four sharpens: an event is mostly one interest's, and its direction has a gradient still.
        self.taste = nn.Parameter(4.0 * unit(torch.randn(num_interests, width))) if several else None

    def forward(self, batch: Batch, item: Float[Tensor, "N D"]) -> Float[Tensor, "S *K D"]:
        """Unit vectors of every position of a batch, (S, K, D) where K > 1 interests are asked for.

        item: the vectors of the whole catalogue.
        """
        positions = batch.positions()
        layout = self._layout(batch, positions)
        # Unit vectors have entries near dim**-0.5; the embeddings beside them are near 1 after the norm.
        seen = self._kept(positions.seen)[:, None] * item.index_select(0, positions.item_row)
        hidden = self.item(seen * item.shape[1] ** 0.5) + self.minutes(_minutes(positions))
        start = self.start + self.profile(batch.profile_row, batch.profile_numeric)
        hidden = torch.where(positions.seen[:, None], hidden, start.index_select(0, positions.window))
        if self.time is not TimeUse.NONE:
            hidden = hidden + F.embedding(self._gap_row(positions), self.gap.weight)
        if self.moment_in is not None:
            hidden = hidden + self.moment_in(positions.asked_seconds)
        hidden = self.dropout(hidden)
        for block in self.blocks:
            hidden = block(hidden, layout)
        recent = layout.packed(self._recent(layout.padded(self._by_taste(seen[:, : self.width])), layout))
        query = unit(self._of_interests(self.out(hidden))) + self._of_interests(recent)
        if self.moment_out is not None:
            query = query + self._of_interests(self.moment_out(positions.asked_seconds))
        if self.ages is not None and self.newness is not None:
            asked = self.ages.shares(positions.asked_seconds)
            wanted: Tensor = self.newness(hidden)
            age = wanted * asked if self.num_interests == 1 else wanted[:, :, None] * asked[:, None]
            query = torch.cat([query, age], dim=-1)
        return unit(query)

    def _of_interests(self, vector: Float[Tensor, "S W"]) -> Float[Tensor, "S *K D"]:
        """A vector for each interest; what all share is one, to be broadcast."""
        return vector if self.num_interests == 1 else vector.view(len(vector), -1, self.width)

    def moments(self) -> list[Moments]:
        """What was learned of moments; none where none is asked for."""
        return [one for one in (self.moment_in, self.moment_out) if one is not None]

    def _by_taste(self, seen: Float[Tensor, "S D"]) -> Float[Tensor, "S W"]:
        """What each interest reads of an event, side by side: shares by its own taste, which add up to it.

        Heads over one summary of the history stay near it, all of them: what tells interests apart is that
        they read different events.
        Source: the self-attentive extraction of ComiRec, Cen et al. 2020, arXiv:2005.09347, with a softmax
        over the interests, as in its dynamic routing, in place of one over the events.
        """
        if self.taste is None:
            return seen
        share = torch.softmax(seen @ self.taste.T, dim=-1)
        return (share[:, :, None] * seen[:, None]).flatten(1)

    def _recent(self, seen: Float[Tensor, "B T W"], layout: Layout) -> Float[Tensor, "B T W"]:
        """The sum of the item vectors that each position has seen, weighed by their distance.

        What was watched last is near what comes next before anything is learned: the network beside it has
        only to learn the rest, which a short log is too thin to teach from nothing.
        Source: the fusion of similarity and order in Fossil, He and McAuley 2016, arXiv:1609.09152.
        """
        return layout.by_distance(self.recency).to(seen.dtype) @ seen

    def _kept(self, seen: Tensor) -> Tensor:
        """Which positions show their event: all, but for a share in training."""
        if not self.training or self.event_dropout == 0.0:
            return seen
        return seen & (torch.rand(seen.shape, device=seen.device) >= self.event_dropout)

    def _gap_row(self, positions: Positions) -> Int64[Tensor, " S"]:
        """Bucket of the time before each position's question, or without it before its event."""
        if self.time is TimeUse.REQUEST:
            return _bucket(positions.asked_seconds - positions.seconds, positions.seen)
        return _bucket(positions.seconds - positions.seconds.roll(1), positions.seen & (positions.place > 1))

    def _layout(self, batch: Batch, positions: Positions) -> Layout:
        length = batch.longest + 1
        place = torch.arange(length, device=positions.place.device)
        slot = positions.window * length + positions.place
        age = None if self.time is TimeUse.NONE else self._age_row(len(batch), length, slot, positions)
        return Layout(slot, len(batch), place > place[:, None], age)

    def _age_row(
        self, num_windows: int, length: int, slot: Int64[Tensor, " S"], positions: Positions
    ) -> Int64[Tensor, "B T T"]:
        """Bucket of the time between each event and the question, or without it the event, that reads it."""
        asked = positions.asked_seconds if self.time is TimeUse.REQUEST else positions.seconds
        reader, read, seen = (
            column.new_zeros(num_windows * length).index_copy(0, slot, column).view(-1, length)
            for column in (asked, positions.seconds, positions.seen)
        )
        return _bucket(reader[:, :, None] - read[:, None], seen[:, None].expand(-1, length, -1))


def _minutes(positions: Positions) -> Float[Tensor, "S 2"]:
    """Logarithm of the minutes, and whether they are known."""
    known = positions.seen & torch.isfinite(positions.minutes)
    return torch.stack([torch.log1p(positions.minutes.masked_fill(~known, 0.0)), known.float()], dim=-1)


def _bucket(seconds: Int64[Tensor, "*n"], known: Tensor) -> Int64[Tensor, "*n"]:
    """1 + the whole logarithm of a span to base 2, 0 where it is not known."""
    row = torch.log2(seconds.clamp(min=1).to(torch.float32)).floor().clamp(max=_NUM_SPANS - 2) + 1
    return row.long().masked_fill(~known, 0)
