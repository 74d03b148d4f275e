"""What each fact of a title adds to the sum that its vector is made of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from towers.data.features import BAGS
from towers.nets.item_tower import ItemFeatureTensors, ItemTower


@dataclass(frozen=True, slots=True)
class Contributions:
    """Parts that add up, with the constant, to what `ItemTower.summed` gives in evaluation.

    parts: (N, F, D), one for each of the F columns. constant: (D,), the same for every title. days: (N, 0) or
    (N, 1), the moment of each title, which is refined beside the sum.
    """

    columns: tuple[str, ...]
    parts: Float[Tensor, "N F D"]
    constant: Float[Tensor, " D"]
    days: Float[Tensor, "N M"]

    def summed(self) -> Float[Tensor, "N W"]:
        """Them all together."""
        return torch.cat([self.parts.sum(dim=1) + self.constant, self.days], dim=1)


@torch.no_grad()
def contributions(tower: ItemTower, items: ItemFeatureTensors) -> Contributions:
    """Those of every title; features of one column count together, such as a year and its number."""
    numbers = items.get_buffer("numeric")
    found: dict[str, Tensor] = {}

    def add(column: str, vectors: Tensor) -> None:
        found[column] = found[column] + vectors if column in found else vectors

    constant = numbers.new_zeros(tower.dim)
    if tower.numeric is not None:
        constant = constant + tower.numeric.bias
        for place, feature in enumerate(tower.numbers):
            own = [place, place + len(tower.numbers)]  # the number, and whether it is known
            add(feature.column, numbers[:, own] @ tower.numeric.weight[:, own].T)
    for feature, table in zip(tower.features, tower.tables, strict=True):
        if feature.kind in BAGS:
            add(feature.column, table.sums(items.bags_of(feature.name)))  # type: ignore[operator]  # FeatureTable
        else:
            add(feature.column, table(items.categorical(feature.name)))
    for feature, layer in zip(tower.vectors, tower.maps, strict=True):
        add(feature.column, layer(items.vectors(feature.name)))
    days = numbers.new_zeros(items.num_items, 0)
    if tower.ages is not None:
        days = items.moments(tower.dated[0].name)[:, None]
    return Contributions(tuple(found), torch.stack(list(found.values()), dim=1), constant, days)
