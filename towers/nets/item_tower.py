"""The item tower: id and metadata → one vector per title."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.data.encoded import EncodedItems
from towers.data.encoders import TableEncoder
from towers.data.features import ID_COLUMN, FeatureKind
from towers.nets.feature_tables import FeatureTable


class ItemFeatureTensors(nn.Module):
    """The encoded items of a catalogue as buffers, so that they follow the model to its device.

    They are inputs, not weights: they are in no checkpoint and no export.
    """

    def __init__(self, encoded: EncodedItems) -> None:
        super().__init__()
        self.num_items = len(encoded)
        for name, row in encoded.categorical.items():
            self.register_buffer(f"categorical_{name}", torch.from_numpy(row), persistent=False)
        for name, bags in encoded.multi.items():
            self.register_buffer(f"offset_{name}", torch.from_numpy(bags.offset), persistent=False)
            self.register_buffer(f"row_{name}", torch.from_numpy(bags.row), persistent=False)
        self.register_buffer("numeric", torch.from_numpy(encoded.numeric), persistent=False)

    def categorical(self, name: str) -> Int64[Tensor, " N"]:
        """Embedding rows of a categorical feature."""
        return self.get_buffer(f"categorical_{name}")

    def bags(self, name: str) -> tuple[Int64[Tensor, " N1"], Int64[Tensor, " V"]]:
        """Offsets and embedding rows of a multi-valued feature."""
        return self.get_buffer(f"offset_{name}"), self.get_buffer(f"row_{name}")


class ItemTower(nn.Module):
    """Item features → float vectors of unit length, (N, D).

    The sum of the embeddings of every feature, refined by one residual layer. In training a share
    `id_dropout` of the items lose their id, as a cold item has none, so that metadata learns to place them.
    """

    def __init__(self, encoder: TableEncoder, dim: int, *, dropout: float, id_dropout: float) -> None:
        super().__init__()
        self.id_dropout = id_dropout
        self.features = tuple(one for one in encoder.features if one.kind is not FeatureKind.NUMERIC)
        self.tables = nn.ModuleList(
            FeatureTable(encoder, feature, dim, std=dim**-0.5) for feature in self.features
        )
        for module in self.tables:
            # Row 0 starts as "nothing known"; what a missing value means is learned where some lack it.
            nn.init.zeros_(cast("FeatureTable", module).row.weight[0])
        self.numeric = nn.Linear(2 * len(encoder.scales), dim) if encoder.scales else None
        self.dropout = nn.Dropout(dropout)
        self.refine = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, items: ItemFeatureTensors) -> Float[Tensor, "N D"]:
        """Unit vectors of all items."""
        numbers = items.get_buffer("numeric")
        total = numbers.new_zeros(()) if self.numeric is None else self.numeric(numbers)
        for feature, module in zip(self.features, self.tables, strict=True):
            table = cast("FeatureTable", module)
            if feature.kind is FeatureKind.MULTI:
                total = total + table.mean(*items.bags(feature.name))
                continue
            row = items.categorical(feature.name)
            if feature.column == ID_COLUMN and self.training:
                row = row.masked_fill(torch.rand(row.shape, device=row.device) < self.id_dropout, 0)
            total = total + table(row)
        total = self.dropout(total)
        return F.normalize(total + self.refine(total), dim=-1)
