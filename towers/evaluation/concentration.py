"""How much an evaluation's rankings keep to what is popular: exposure, novelty and popularity lift."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.data.histories import Histories
from towers.errors import QueryError
from towers.recommender import PAD


@dataclass(frozen=True, slots=True)
class Concentration:
    """Of what Q rankings show in their top k, together.

    gini: of the exposure of all items, 0 where all are shown equally often.
    novelty: mean self-information in bits; None where no train events are known.
    popularity_lift: mean popularity of what is shown over that of the histories, 1 where equal; None where no
        train events are known or no question has a history.
    """

    gini: float
    novelty: float | None = None
    popularity_lift: float | None = None

    def at(self, k: int) -> Mapping[str, float | None]:
        """The figures by their names in an evaluation: gini@10."""
        return {
            f"gini@{k}": self.gini,
            f"novelty@{k}": self.novelty,
            f"popularity_lift@{k}": self.popularity_lift,
        }


def concentration(
    item_row: Int64[np.ndarray, "Q K"],
    k: int,
    *,
    num_items: int,
    num_watches: Int64[np.ndarray, " N"] | None = None,
    history: Histories | None = None,
) -> Concentration:
    """The figures of the top k of Q rankings; num_watches (Split.num_watches) and history where known."""
    if not 1 <= k <= item_row.shape[1]:
        raise QueryError(f"k = {k}: expected 1 to {item_row.shape[1]}, the places of the rankings given")
    top = item_row[:, :k]
    exposure = np.bincount(top[top != PAD], minlength=num_items)
    if num_watches is None:
        return Concentration(gini(exposure))
    return Concentration(
        gini(exposure),
        novelty(exposure, num_watches),
        None if history is None else popularity_lift(top, history, num_watches),
    )


def gini(exposure: Int64[np.ndarray, " N"]) -> float:
    """Gini index of how often each item of the whole catalogue is shown, never-shown ones too.

    G = Σ_i (2i - N - 1) · x_i / (N · Σ x), x rising, i from 1: 0 where all are shown equally often,
    1 - 1/N where one is shown alone; 0 where nothing is shown. Some divide by N - 1 instead of N. Source:
    Castells, Hurley and Vargas 2015, Recommender Systems Handbook, doi:10.1007/978-1-4899-7637-6_26.
    """
    num_items, total = len(exposure), int(exposure.sum())
    if total == 0:
        return 0.0
    place = np.arange(1, num_items + 1)
    return float(((2 * place - num_items - 1) * np.sort(exposure)).sum() / (num_items * total))


def self_information(num_watches: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Bits of surprise of each item: -log2 of its share of train events, one event added to every item.

    I_i = -log2((c_i + 1) / (Σ c + N)), so that a title without events is as surprising as a catalogue allows,
    not infinitely so.
    """
    bits: np.ndarray = np.log2(num_watches.sum() + len(num_watches)) - np.log2(num_watches + 1.0)
    return bits


def novelty(exposure: Int64[np.ndarray, " N"], num_watches: Int64[np.ndarray, " N"]) -> float | None:
    """Mean self-information, in bits, of the places that are filled; None where none is.

    Source: Zhou et al., PNAS 2010, doi:10.1073/pnas.1000488107, with the smoothing of `self_information`.
    """
    total = int(exposure.sum())
    return float(exposure @ self_information(num_watches)) / total if total else None


def popularity_lift(
    top: Int64[np.ndarray, "Q k"], history: Histories, num_watches: Int64[np.ndarray, " N"]
) -> float | None:
    """Mean popularity of what is shown over that of what the same profiles watched before.

    PL = GAP(shown) / GAP(histories), GAP(L) = mean over questions q of (Σ_{i ∈ L_q} c_i / |L_q|), c_i the
    train events of i; over the questions that have a history and are shown anything. None without such, or
    where no item of the histories has train events. Source: Abdollahpouri et al., RecSys 2020,
    doi:10.1145/3383313.3418487, who subtract 1.
    """
    shown = top != PAD
    asked = np.flatnonzero((history.lengths > 0) & shown.any(axis=1))
    if len(asked) == 0:
        return None
    of_shown = np.where(shown[asked], num_watches[top[asked]], 0).sum(axis=1) / shown[asked].sum(axis=1)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_watches[history.item_row])])
    of_history = (np.diff(before[history.offset])[asked]) / history.lengths[asked]
    watched = float(of_history.mean())
    return float(of_shown.mean()) / watched if watched > 0.0 else None
