"""What a recommender would be worth where logs know only what was seen: position bias weighed out.

A title far down a list is watched less because fewer eyes reach it, so held-out watches favour recommenders
that resemble the one that wrote the log. Under the position-based model

    P(watched at place j) = θ_j · P(wanted)

each watch weighs 1/θ_j, and in expectation all that was wanted counts once, wherever it was shown.
Source: Joachims, Swaminathan and Schnabel, WSDM 2017, doi:10.1145/3018661.3018699. What was never shown stays
unknown: no weight brings it back.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64, Int, Int64

from towers.data.dataset import Dataset, rows_of
from towers.data.split import HeldOut
from towers.errors import QueryError
from towers.evaluation.evaluate import Evaluation
from towers.settings import bounded, check_ranges

_MAX_ETA = 20.0


class Gain(StrEnum):
    """What a watched title is worth by its rank r in the recommender's own answer; 0 beyond k places."""

    SHOWN = "shown"
    """1: the sum over titles is what recall counts."""
    DISCOUNTED = "discounted"
    """1 / log2(r + 1): the sum over titles is DCG."""

    def of(self, rank: Int64[np.ndarray, " n"], k: int) -> Float64[np.ndarray, " n"]:
        """The gain of titles at these ranks, from 1; 0 where they are not shown."""
        shown = (rank > 0) & (rank <= k)
        match self:
            case Gain.SHOWN:
                return shown.astype(np.float64)
            case Gain.DISCOUNTED:
                return np.where(shown, 1.0 / np.log2(np.where(shown, rank, 1) + 1.0), 0.0)


@dataclass(frozen=True, slots=True)
class OffPolicySettings:
    """eta: place j is examined in proportion to j^-eta. max_weight: heavier weights are cut to it."""

    eta: float = bounded(1.0, ge=0.0, le=_MAX_ETA)
    max_weight: float = bounded(100.0, ge=1.0)


@dataclass(frozen=True, slots=True)
class OffPolicyValue:
    """The worth of one recommender by n logged watches with known places.

    naive: mean gain, as if every place were examined alike. snips: mean gain, weighed; both per watch.
    ips: weighed gain per display; None where the number of displays is not known.
    effective_sample_size: so many unweighed watches would be as sure, (Σ w)² / Σ w².
    num_clipped: weights that were cut: each makes ips too low and pulls snips towards naive.
    """

    naive: float
    snips: float
    ips: float | None
    effective_sample_size: float
    num_events: int
    num_clipped: int


def examination(position: Int[np.ndarray, " n"], eta: float) -> Float64[np.ndarray, " n"]:
    """θ_j = j^-eta, the chance that place j, from 1, is examined, that of the first being 1."""
    if np.any(position < 1):
        raise QueryError(f"position {int(position.min())}: expected places from 1")
    chance: np.ndarray = position.astype(np.float64) ** -eta
    return chance


def fit_eta(position: Int[np.ndarray, " n"], num_places: int) -> float:
    """The eta of places watched, 1 to num_places, in lists whose order was random.

    Maximum likelihood of P(j) = j^-η / Σ_i i^-η: where Σ_j P(j) · log j is the mean of log position. 0 where
    lower places are watched at least as much. Only where what is shown does not depend on the place do
    watches tell examination from quality: on a list that was ranked, this takes the one for the other.
    Source: Wang et al., WSDM 2018, doi:10.1145/3159652.3159732, who call such lists result randomisation.
    Raises QueryError on no places or others.
    """
    if len(position) == 0 or position.min() < 1 or position.max() > num_places:
        raise QueryError(f"{len(position)} positions; expected at least one, all from 1 to {num_places}")
    log_place = np.log(np.arange(1, num_places + 1))
    seen = float(np.log(position).mean())
    low, high = 0.0, _MAX_ETA
    for _ in range(60):
        middle = (low + high) / 2.0
        weight = np.exp(-middle * log_place)
        if weight @ log_place / weight.sum() > seen:
            low = middle
        else:
            high = middle
    return low


def off_policy_value(
    gain: Float64[np.ndarray, " n"],
    propensity: Float64[np.ndarray, " n"],
    *,
    num_displays: int | None = None,
    max_weight: float = 100.0,
) -> OffPolicyValue:
    """The value by n watches: gain of each in the recommender's answer, chance that its place was examined.

    With w = min(1/θ, max_weight): IPS = Σ w·gain / displays, unbiased while no weight is cut;
    SNIPS = Σ w·gain / Σ w, the share of all that was wanted, of less variance and with a bias that vanishes
    as n grows. Source of SNIPS: Swaminathan and Joachims, NeurIPS 2015, "The self-normalized estimator for
    counterfactual learning". Raises QueryError on no watches, a propensity not in (0, 1], or settings out
    of range.
    """
    if len(gain) == 0 or len(gain) != len(propensity):
        raise QueryError(
            f"{len(gain)} gains and {len(propensity)} propensities; expected as many, at least one"
        )
    if np.any(~((propensity > 0.0) & (propensity <= 1.0))):
        raise QueryError("propensities outside 0 to 1; expected chances above 0")
    if max_weight < 1.0 or (num_displays is not None and num_displays < 1):
        raise QueryError(f"max_weight = {max_weight}, num_displays = {num_displays}; expected at least 1")
    whole = 1.0 / propensity
    weight = np.minimum(whole, max_weight)
    total = float(weight @ gain)
    return OffPolicyValue(
        naive=float(gain.mean()),
        snips=total / float(weight.sum()),
        ips=None if num_displays is None else total / num_displays,
        effective_sample_size=float(weight.sum() ** 2 / (weight @ weight)),
        num_events=len(gain),
        num_clipped=int(np.sum(whole > max_weight)),
    )


def evaluate_off_policy(
    evaluation: Evaluation,
    position: Int64[np.ndarray, " T"],
    k: int,
    gain: Gain,
    settings: OffPolicySettings | None = None,
) -> OffPolicyValue:
    """The value of an evaluated recommender by those targets whose place in the log is known (not 0).

    position: of each target, by `target_positions`. Raises QueryError where none is known or k is beyond what
    was evaluated, ConfigError on settings out of range.
    """
    settings = settings or OffPolicySettings()
    check_ranges(settings, "off_policy")
    rank = evaluation.target_rank
    if rank is None or len(rank) != len(position) or not 1 <= k <= evaluation.ks[-1]:
        raise QueryError(
            f"{evaluation.recommender}: {len(position)} positions, k = {k}; expected one for each of the "
            f"{len(evaluation.target_row)} targets, and 1 to {evaluation.ks[-1]} places"
        )
    known = position > 0
    return off_policy_value(
        gain.of(rank[known], k),
        examination(position[known], settings.eta),
        max_weight=settings.max_weight,
    )


def target_positions(held_out: HeldOut, dataset: Dataset, events: pa.Table) -> Int64[np.ndarray, " T"]:
    """Where each target stood when it was watched, from 1; 0 where the log does not say.

    events: the events table of the same service. A target's event is the first of its profile and item at or
    after the question; where episodes count for their series it is not found, and unknown.
    """
    num_items = len(dataset.catalogue)
    profile = rows_of(events["profile_id"], dataset.profile_table["profile_id"])
    item = rows_of(events["item_id"], dataset.items["item_id"])
    start = events["start"].cast(pa.int64()).to_numpy() // 1000
    position = pc.fill_null(events["position"], 0).to_numpy().astype(np.int64)
    asked = np.full(len(dataset.profiles), np.iinfo(np.int64).max)
    asked[held_out.profile_row] = held_out.time_seconds
    later = np.flatnonzero(start >= asked[profile])
    key = profile[later] * num_items + item[later]
    order = np.lexsort((start[later], key))
    key, later = key[order], later[order]
    owner = np.repeat(held_out.profile_row, np.diff(held_out.target_offset))
    wanted = owner * num_items + held_out.target_row
    place = np.searchsorted(key, wanted)
    found = place < len(key)
    found[found] = key[place[found]] == wanted[found]
    positions = np.zeros(len(wanted), np.int64)
    positions[found] = position[later[place[found]]]
    return positions
