"""Encoded features → vectors: an embedding table per feature, a linear layer for the numbers."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor, nn

from towers.data.encoders import TableEncoder
from towers.data.features import Feature, FeatureKind
from towers.errors import ConfigError


class FeatureTable(nn.Module):
    """Embedding rows of one feature → vectors of the tower's width.

    A feature of smaller dimension is learned in that, and carried up by one matrix: a table of many rows then
    has few weights, and what its values share is learned from all of them.
    """

    def __init__(self, encoder: TableEncoder, feature: Feature, dim: int, *, std: float) -> None:
        super().__init__()
        width = feature.dimension or dim
        if width > dim:
            raise ConfigError(
                f"features: the dimension of {feature.name} is {width}; expected at most model.dim, {dim}"
            )
        self.row = nn.Embedding(encoder.table_size(feature), width)
        nn.init.normal_(self.row.weight, std=std)
        self.up: nn.Module = nn.Identity()
        if width < dim:
            self.up = nn.Linear(width, dim, bias=False)
            nn.init.normal_(self.up.weight, std=width**-0.5)  # keeps the size of what it carries up

    def forward(self, row: Int[Tensor, " n"]) -> Float[Tensor, "n D"]:
        """The vector of each row."""
        vectors: Tensor = self.up(self.row(row))
        return vectors

    def mean(self, offset: Int64[Tensor, " n1"], row: Int64[Tensor, " V"]) -> Float[Tensor, "n D"]:
        """The mean of the vectors of each bag of rows; 0 of an empty one."""
        vectors: Tensor = self.up(self.narrow_mean(offset, row))
        return vectors

    def narrow_mean(self, offset: Int64[Tensor, " n1"], row: Int64[Tensor, " V"]) -> Float[Tensor, "n W"]:
        """The mean of each bag of rows in the feature's own dimension."""
        return F.embedding_bag(row, self.row.weight, offset, mode="mean", include_last_offset=True)


class ProfileFeatures(nn.Module):
    """Encoded profiles → the sum of the vectors of their features, (n, D); zeros where none is declared."""

    def __init__(self, encoder: TableEncoder, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.tables = nn.ModuleList(
            FeatureTable(encoder, feature, dim, std=0.02)
            for feature in encoder.of_kind(FeatureKind.CATEGORICAL)
        )
        self.numeric = nn.Linear(2 * len(encoder.scales), dim, bias=False) if encoder.scales else None

    def forward(self, row: Int[Tensor, "n C"], numeric: Float32[Tensor, "n F2"]) -> Float[Tensor, "n D"]:
        """One vector per profile, of the arrays of EncodedProfiles."""
        total = torch.zeros(len(row), self.dim, device=row.device)
        for place, table in enumerate(self.tables):
            total = total + table(row[:, place])
        return total if self.numeric is None else total + self.numeric(numeric)
