"""The item tower: id and metadata → one vector per title."""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.data.features import ID_FEATURE, ITEM_FEATURES, EncodedItems, FeatureEncoder, FeatureKind


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

    def __init__(self, encoder: FeatureEncoder, dim: int, *, dropout: float, id_dropout: float) -> None:
        super().__init__()
        self.id_dropout = id_dropout
        self.table = nn.ModuleDict()
        for name, vocabulary in encoder.vocabularies.items():
            table = nn.Embedding(vocabulary.table_size, dim)
            nn.init.normal_(table.weight, std=dim**-0.5)
            # Row 0 starts as "nothing known"; what a missing value means is learned where training has some.
            with torch.no_grad():
                table.weight[0] = 0.0
            self.table[name] = table
        self.numeric = nn.Linear(2 * len(encoder.scales), dim)
        self.dropout = nn.Dropout(dropout)
        self.refine = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim)
        )

    def forward(self, items: ItemFeatureTensors) -> Float[Tensor, "N D"]:
        """Unit vectors of all items."""
        total = self.numeric(items.numeric)
        for feature in ITEM_FEATURES:
            match feature.kind:
                case FeatureKind.CATEGORICAL:
                    row = items.categorical(feature.name)
                    if feature.name == ID_FEATURE and self.training:
                        row = row.masked_fill(torch.rand(row.shape, device=row.device) < self.id_dropout, 0)
                    total = total + self.table[feature.name](row)
                case FeatureKind.MULTI:
                    offset, row = items.bags(feature.name)
                    weight = cast("nn.Embedding", self.table[feature.name]).weight
                    total = total + F.embedding_bag(
                        row, weight, offset, mode="mean", include_last_offset=True
                    )
                case FeatureKind.NUMERIC:
                    pass  # all of them are in items.numeric
        total = self.dropout(total)
        return F.normalize(total + self.refine(total), dim=-1)
