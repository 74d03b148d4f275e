"""What the facts of a title add to its score: integrated gradients through the item tower."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from towers.errors import MissingExtraError, QueryError
from towers.nets.contributions import Contributions, contributions
from towers.nets.item_tower import ItemFeatureTensors
from towers.nets.two_tower import TwoTower

MAX_ERROR = 1e-3
"""By so much the parts may miss what they add up to."""
_WANTED_ERROR = 1e-4
_STEPS = (32, 64, 128, 256, 512, 1024)
# The average title is that of at most so many, spread over the catalogue.
_MOST_AVERAGED = 10_000


@dataclass(frozen=True, slots=True)
class Attribution:
    """What one column of a title adds to its score, beside that of the average title."""

    column: str
    share: float


@dataclass(frozen=True, slots=True)
class Attributions:
    """What every column adds, the largest first.

    score: of the title. average: of one whose every column says what those of the catalogue say on average,
    and which is as old. error: |Σ shares − (score − average)|, at most MAX_ERROR.
    """

    shares: tuple[Attribution, ...]
    score: float
    average: float
    error: float


class Attributor:
    """Attributes scores to columns of the titles of one catalogue. Safe for any number of threads.

    items: its items table. dimension: how many of the vectors' first numbers are searched.
    MissingExtraError where captum is not installed.
    """

    def __init__(self, towers: TwoTower, items: pa.Table, dimension: int) -> None:
        self._gradients = _captum().IntegratedGradients
        self._towers, self._items, self._dimension = towers, items, dimension
        spread = np.unique(
            np.linspace(0, items.num_rows - 1, min(items.num_rows, _MOST_AVERAGED)).astype(int)
        )
        averaged = self._contributions(items.take(pa.array(spread)))
        self._average = tuple(one.parts.mean(dim=0, keepdim=True) for one in averaged)

    def attribute(self, row: int, query: Float32[np.ndarray, "*I d"]) -> Attributions:
        """The attributions of the title of a row to one query; of several interests to that which counts.

        attribution_f = Σ_d (x_fd − x̄_fd) ∫₀¹ ∂score / ∂x_fd (x̄ + α (x − x̄)) dα, x_f what column f adds to the
        sum the title's vector is made of, x̄_f that of the average title; the integral by Gauss-Legendre, of
        as many points as it takes. Source: Sundararajan, Taly and Yan, ICML 2017, arXiv:1703.01365.
        QueryError where so many points as are tried leave a larger error than MAX_ERROR.
        """
        found = self._contributions(self._items.slice(row, 1))
        parts = tuple(one.parts for one in found)
        interests = torch.from_numpy(np.atleast_2d(query))
        with torch.no_grad():
            scores = self._vectors(parts, found) @ interests.T
            wanted, score = interests[int(scores.argmax())], float(scores.max())
            average = float(self._vectors(self._average, found) @ wanted)
        gradients = self._gradients(lambda *moved: self._vectors(moved, found) @ wanted)
        error = float("inf")
        for steps in _STEPS:
            shares = gradients.attribute(
                parts, baselines=self._average, n_steps=steps, method="gausslegendre"
            )
            of_column = torch.stack([share[0].sum(dim=1) for share in shares]).sum(dim=0).double()
            error = abs(float(of_column.sum()) - (score - average))
            if error <= _WANTED_ERROR:
                break
        if error > MAX_ERROR:
            raise QueryError(
                f"attributions miss the score by {error:.2g} at {_STEPS[-1]} points; expected <= {MAX_ERROR}"
            )
        each = [Attribution(*one) for one in zip(found[0].columns, of_column.tolist(), strict=True)]
        return Attributions(tuple(sorted(each, key=lambda one: -abs(one.share))), score, average, error)

    def _contributions(self, items: pa.Table) -> list[Contributions]:
        encoded = ItemFeatureTensors(self._towers.encoder.encode(items))
        return [contributions(member.items, encoded) for member in self._towers.pairs()]

    def _vectors(
        self, parts: Sequence[Float[Tensor, "B F E"]], found: Sequence[Contributions]
    ) -> Float[Tensor, "B d"]:
        """Vectors of titles made of these parts, of each member, as old as the one found is."""
        vectors = []
        for member, part, of in zip(self._towers.pairs(), parts, found, strict=True):
            days = of.days.expand(len(part), -1)
            vectors.append(member.items.refined(torch.cat([part.sum(dim=1) + of.constant, days], dim=1)))
        whole = torch.cat(vectors, dim=1)[:, : self._dimension]
        return torch.nn.functional.normalize(whole, dim=1)


def _captum() -> ModuleType:
    try:
        return import_module("captum.attr")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"explain: {error.name} is not installed; expected the extra `audit`: "
            "pip install 'two-tower-retrieval[audit]'"
        ) from error
