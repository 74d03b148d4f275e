"""Encoded features → vectors: an embedding table per feature, linear layers for numbers and vectors."""

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from towers.data.encoders import TableEncoder
from towers.data.features import Feature, FeatureKind
from towers.errors import ConfigError
from towers.nets.title_bags import TitleBags


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

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return self.row.num_embeddings

    def forward(self, row: Int[Tensor, " n"]) -> Float[Tensor, "n D"]:
        """The vector of each row."""
        # On a CPU the gradient of an index_select is added up at half the cost; on a GPU rows that many have
        # would wait for one another there, and F.embedding sorts them first.
        weight = self.row.weight
        vectors: Tensor = self.up(self.row(row) if row.is_cuda else weight.index_select(0, row))
        return vectors

    def between(self, start: int, stop: int) -> Float[Tensor, "n D"]:
        """The vectors of the rows from `start` to `stop`, without a look-up."""
        vectors: Tensor = self.up(self.row.weight[start:stop])
        return vectors

    def sums(self, bags: TitleBags) -> Float[Tensor, "n D"]:
        """The weighted sum of the vectors of each bag of rows; 0 of an empty one."""
        if len(bags.row) == 0:
            # All are empty. The weights still get a gradient: distributed training waits for every one.
            return (self.between(0, 1) * 0.0).expand(len(bags.offset) - 1, -1)
        vectors: Tensor = self.up(bags.sums(self.row.weight))
        return vectors


class VectorFeature(nn.Module):
    """Vectors that another model made, (n, E + 1) with their flag → the tower's width, by one map."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(width + 1, dim, bias=False)
        nn.init.normal_(self.map.weight, std=(width * dim) ** -0.5)  # starts as large as an embedding

    def forward(self, values: Float[Tensor, "n E1"]) -> Float[Tensor, "n D"]:
        """One vector per row; 0 where none is known."""
        vectors: Tensor = self.map(values)
        return vectors


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
