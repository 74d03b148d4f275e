"""Whether titles are shown as they deserve: exposure by group over merit, which is the watching itself.

Source: Singh and Joachims, KDD 2018, Fairness of Exposure in Rankings, doi:10.1145/3219819.3220088.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.errors import QueryError
from towers.recommender import PAD


@dataclass(frozen=True, slots=True)
class GroupExposure:
    """One group of titles: its share of all exposure, and of the held-out watches, which is its merit."""

    group: str
    num_titles: int
    exposure: float
    merit: float

    @property
    def ratio(self) -> float | None:
        """Exposure over merit: 1 where it is shown as much as it is watched; None without merit."""
        return self.exposure / self.merit if self.merit > 0.0 else None


def place_worth(num_places: int) -> Float64[np.ndarray, " K"]:
    """1 / log2(place + 1), places from 1: how much of the attention a place has."""
    worth: np.ndarray = 1.0 / np.log2(np.arange(num_places) + 2.0)
    return worth


def item_exposure(item_row: Int64[np.ndarray, "Q K"], num_items: int) -> Float64[np.ndarray, " N"]:
    """Σ over rankings and places of 1 / log2(place + 1), of each title, places from 1."""
    filled = item_row != PAD
    weight = np.broadcast_to(place_worth(item_row.shape[1]), item_row.shape)
    return np.bincount(item_row[filled], weight[filled], minlength=num_items)


def group_exposure(
    exposure: Float64[np.ndarray, " N"],
    merit: Float64[np.ndarray, " N"],
    labels: Sequence[Sequence[str]],
) -> tuple[GroupExposure, ...]:
    """By label, the largest group first; a title of several labels counts for each in equal parts.

    Raises QueryError unless there are labels for every title.
    """
    if not len(exposure) == len(merit) == len(labels):
        raise QueryError(
            f"exposure of {len(exposure)} titles, merit of {len(merit)}, labels of {len(labels)}; "
            "expected one catalogue"
        )
    title = np.repeat(np.arange(len(labels)), [max(1, len(each)) for each in labels])
    flat = np.array([label for each in labels for label in (each or ("unknown",))], dtype=np.str_)
    part = 1.0 / np.array([max(1, len(each)) for each in labels])[title]
    values, code = np.unique(flat, return_inverse=True)
    of_group = [np.bincount(code, part * each[title], minlength=len(values)) for each in (exposure, merit)]
    shares = [each / each.sum() if each.sum() > 0.0 else each for each in of_group]
    count = np.bincount(code, minlength=len(values))
    return tuple(
        GroupExposure(str(values[place]), int(count[place]), float(shares[0][place]), float(shares[1][place]))
        for place in np.argsort(-count, kind="stable")
    )
