"""The item tower: id and metadata → one vector per title."""

import copy
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from towers.data.encoded import EncodedItems
from towers.data.encoders import TableEncoder
from towers.data.features import BAGS, ID_COLUMN, TABLES, Feature, FeatureKind
from towers.nets.ages import Ticks, TitleAges
from towers.nets.dropout import Dropout
from towers.nets.feature_tables import FeatureTable, VectorFeature
from towers.nets.title_bags import TitleBags
from towers.nets.unit import unit

_BLOCK = 2048
"""Titles that a CPU refines at once, so that what lies between two layers stays in its cache."""


class ItemFeatureTensors(nn.Module):
    """The encoded items of a catalogue as buffers, so that they follow the model to its device.

    They are inputs, not weights: they are in no checkpoint and no export.
    """

    def __init__(self, encoded: EncodedItems) -> None:
        super().__init__()
        self.num_items = len(encoded)
        self.runs = {name: _run(row) for name, row in encoded.categorical.items()}
        """Per categorical feature: the first row where all titles' rows follow one another, else None."""
        for name, row in encoded.categorical.items():
            self.register_buffer(f"categorical_{name}", torch.from_numpy(row), persistent=False)
        self.bags = nn.ModuleDict({name: TitleBags.of(bags) for name, bags in encoded.bags.items()})
        self.register_buffer("numeric", torch.from_numpy(encoded.numeric), persistent=False)
        self.register_buffer("described", torch.from_numpy(encoded.described), persistent=False)
        for name, values in encoded.vectors.items():
            self.register_buffer(f"vectors_{name}", torch.from_numpy(values), persistent=False)
        for name, days in encoded.moments.items():
            self.register_buffer(f"moments_{name}", torch.from_numpy(days), persistent=False)

    def categorical(self, name: str) -> Int64[Tensor, " N"]:
        """Embedding rows of a categorical feature."""
        return self.get_buffer(f"categorical_{name}")

    def bags_of(self, name: str) -> TitleBags:
        """Embedding rows of a feature with several values."""
        return cast("TitleBags", self.bags[name])

    def vectors(self, name: str) -> Float[Tensor, "N E1"]:
        """Standardised vectors and their flag."""
        return self.get_buffer(f"vectors_{name}")

    def moments(self, name: str) -> Float[Tensor, " N"]:
        """Days since 1970, NaN where unknown."""
        return self.get_buffer(f"moments_{name}")

    def part(self, start: int, stop: int) -> "ItemFeatureTensors":
        """The titles from `start` to `stop`, as views; nothing is copied and no device is waited for."""
        part = copy.copy(self)
        part.num_items = min(stop, self.num_items) - start
        part.runs = {name: None if run is None else run + start for name, run in self.runs.items()}
        part._buffers = {name: cast("Tensor", held)[start:stop] for name, held in self._buffers.items()}
        bags = {name: self.bags_of(name).part(start, stop) for name in self.bags}
        part._modules = {"bags": nn.ModuleDict(bags)}
        return part

    def select(self, rows: Int64[Tensor, " n"]) -> "ItemFeatureTensors":
        """Some of the titles, in that order, copied."""
        part = copy.copy(self)
        part.num_items = len(rows)
        part.runs = dict.fromkeys(self.runs)
        part._buffers = {
            name: cast("Tensor", held).index_select(0, rows) for name, held in self._buffers.items()
        }
        part._modules = {"bags": nn.ModuleDict({name: self.bags_of(name).select(rows) for name in self.bags})}
        return part


class ItemTower(nn.Module):
    """Item features → float vectors of unit length, (N, D).

    The sum of the embeddings of every feature, refined by one residual layer; and beside it, where titles
    have a moment and `ages` says at which ticks, how much their age speaks for them at each.
    In training a share `id_dropout` of the items with metadata lose their id, as a cold item has none, so
    that metadata learns to place them; and a share `feature_dropout` lose one other feature, drawn anew for
    each, so that none carries all.
    `embedding_dropout` is the share of the id's own numbers that a step leaves out, of such items too: what a
    short log says of one title is little, and is soon known by heart. An id that is all there is of an item
    stays whole: there its numbers are all that tells it from others.
    """

    def __init__(
        self,
        encoder: TableEncoder,
        dim: int,
        *,
        dropout: float,
        id_dropout: float,
        feature_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        ages: Ticks | None = None,
    ) -> None:
        super().__init__()
        self.dim = dim = dim - (ages.num if ages else 0)
        self.id_dropout, self.feature_dropout = id_dropout, feature_dropout
        self.features = encoder.of_kind(*TABLES)
        self.ids = tuple(feature for feature in self.features if feature.column == ID_COLUMN)
        self.numbers = encoder.of_kind(FeatureKind.NUMERIC)
        self.vectors = encoder.of_kind(FeatureKind.VECTOR)
        self.tables = nn.ModuleList(
            FeatureTable(encoder, feature, dim, std=dim**-0.5) for feature in self.features
        )
        for module in self.tables:
            # Row 0 starts as "nothing known"; what a missing value means is learned where some lack it.
            nn.init.zeros_(cast("FeatureTable", module).row.weight[0])
        self.numeric = nn.Linear(2 * len(encoder.scales), dim) if encoder.scales else None
        self.maps = nn.ModuleList(
            VectorFeature(encoder.vector_scales[feature.name].width, dim) for feature in self.vectors
        )
        self.dated = encoder.of_kind(FeatureKind.MOMENT)
        self.ages = TitleAges(ages, dim) if ages else None
        self.dropout, self.id_entries = Dropout(dropout), Dropout(embedding_dropout)
        # What an id says is any vector already: alone it has nothing to be combined with.
        alone = {feature.column for feature in encoder.features} <= {ID_COLUMN}
        self.refine = (
            None
            if alone
            else nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        )

    def forward(self, items: ItemFeatureTensors) -> Float[Tensor, "N D"]:
        """Unit vectors of all items."""
        return self.refined(self.summed(items))

    def summed(self, items: ItemFeatureTensors) -> Float[Tensor, "N W"]:
        """The sum of the embeddings of each item's features; nothing between is kept for the gradient.

        Where there are ages, the last column has the title's moment, in days.
        """
        lost = self._lost(items)
        total = items.get_buffer("numeric").new_zeros(items.num_items, self.dim)
        if self.numeric is not None:
            total += self.numeric(self._known_numbers(items, lost))
        for feature, module in zip(self.features, self.tables, strict=True):
            table = cast("FeatureTable", module)
            if feature.kind in BAGS:
                total += _without(table.sums(items.bags_of(feature.name)), lost.get(feature.name))
            else:
                vectors = _categorical(table, items, feature, lost.get(feature.name))
                total += self._thinned(vectors, items) if feature in self.ids else vectors
        for feature, layer in zip(self.vectors, self.maps, strict=True):
            total += _without(layer(items.vectors(feature.name)), lost.get(feature.name))
        dropped: Tensor = self.dropout(total)
        if self.ages is None:
            return dropped
        return torch.cat([dropped, items.moments(self.dated[0].name)[:, None]], dim=1)

    def refined(self, total: Float[Tensor, "n W"]) -> Float[Tensor, "n D"]:
        """Unit vectors of what `summed` gives, each by itself: parts can be refined one after another.

        It holds seven times as much for the gradient as it gives, the sum before it nothing: where the whole
        catalogue is too large for that, `torch.cat(in_parts(tower.refined, total.split(n), device))` gives
        the same vectors and the same gradients, and each embedding table is still read once.
        """
        if self.refine is None:
            return unit(total)
        blocks = torch.split(total, max(1, len(total)) if total.is_cuda else _BLOCK)
        return torch.cat([self._refined(self.refine, block) for block in blocks])

    def _refined(self, refine: nn.Module, block: Float[Tensor, "n W"]) -> Float[Tensor, "n D"]:
        if self.ages is None:
            return unit(block + refine(block))
        total, days = block[:, :-1], block[:, -1]
        # What age says is measured against a vector of length one, however long the features' has grown.
        return unit(torch.cat([unit(total + refine(total)), self.ages(days, total)], dim=1))

    def _thinned(self, vectors: Float[Tensor, "n D"], items: ItemFeatureTensors) -> Float[Tensor, "n D"]:
        """The ids' vectors with a share of the entries of described titles left out."""
        if not self.training or not self.id_entries.share:
            return vectors
        return torch.where(items.get_buffer("described")[:, None], self.id_entries(vectors), vectors)

    def _lost(self, items: ItemFeatureTensors) -> dict[str, Bool[Tensor, " N"]]:
        """Which titles lose which feature in this step; features that none loses are left out."""
        if not self.training:
            return {}
        device = items.get_buffer("numeric").device
        lost = {}
        if self.id_dropout:
            # Of a title without metadata nothing would be left, and whoever watched it would be a stranger.
            gone = items.get_buffer("described") & (
                torch.rand(items.num_items, device=device) < self.id_dropout
            )
            lost = {feature.name: gone for feature in self.ids}
        others = [one for one in (*self.numbers, *self.features, *self.vectors) if one not in self.ids]
        if self.feature_dropout and others:
            # One draw says whether a title loses a feature, and which: evenly, below the share.
            drawn = torch.rand(items.num_items, device=device) / self.feature_dropout * len(others)
            lost |= {one.name: (place <= drawn) & (drawn < place + 1) for place, one in enumerate(others)}
        return lost

    def _known_numbers(
        self, items: ItemFeatureTensors, lost: dict[str, Bool[Tensor, " N"]]
    ) -> Float[Tensor, "N F2"]:
        numbers = items.get_buffer("numeric")
        if not any(one.name in lost for one in self.numbers):
            return numbers
        gone = torch.stack([lost[one.name] for one in self.numbers], dim=1)
        return numbers.masked_fill(torch.cat([gone, gone], dim=1), 0.0)


def _categorical(
    table: FeatureTable, items: ItemFeatureTensors, feature: Feature, lost: Bool[Tensor, " N"] | None
) -> Float[Tensor, "_ D"]:
    """The vector of each title's row, and of row 0 where it has lost the feature."""
    row, run = items.categorical(feature.name), items.runs[feature.name]
    if table.num_rows == 1:
        return table.between(0, 1)
    if run is None:
        vectors: Tensor = table(row if lost is None else row.masked_fill(lost, 0))
        return vectors
    own = table.between(run, run + items.num_items)
    return own if lost is None else torch.where(lost[:, None], table.between(0, 1), own)


def _without(vectors: Float[Tensor, "n D"], lost: Bool[Tensor, " N"] | None) -> Float[Tensor, "n D"]:
    return vectors if lost is None else vectors.masked_fill(lost[:, None], 0.0)


def _run(row: Int64[np.ndarray, " N"]) -> int | None:
    return int(row[0]) if len(row) and (np.diff(row) == 1).all() else None
