"""How much profiles and segments weigh in training: each segment, and a profile at the most.

The loss is a weighted mean over targets, and a target weighs what its event does. So whoever watches much
decides what is learned, and so does a segment of many who watch much. Both can be bounded here.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64

from towers.data.histories import Histories, profile_blocks
from towers.data.split import Split
from towers.settings import bounded, check_ranges


class BalanceBy(StrEnum):
    """The column of the profiles table whose values are the segments."""

    NONE = "none"
    COUNTRY = "country"
    REGION = "region"
    LANGUAGE = "language"
    AGE_BAND = "age_band"


class BalanceTo(StrEnum):
    """The share of the weight that a segment is brought to."""

    PROFILES = "profiles"
    """Its share of the profiles that are learned from."""
    PARITY = "parity"
    """The same for every segment."""


@dataclass(frozen=True, slots=True)
class BalanceSettings:
    """Weights of what is learned, off by default; they change no history and no answer's rules.

    by: the segments; none weighs all alike. to: the share that each is brought to. max_factor: an event
    weighs at most so many times more, or less, for its segment; who does not say theirs is left as he is.
    max_profile_weight: of all events of a profile together, in whole titles watched; whoever has more has
    them scaled down to it, before segments are looked at. null: no bound.
    """

    by: BalanceBy = BalanceBy.NONE
    to: BalanceTo = BalanceTo.PROFILES
    max_factor: float = bounded(4.0, ge=1.0)
    max_profile_weight: float | None = bounded(None, gt=0.0)

    @property
    def on(self) -> bool:
        """Whether any weight is changed."""
        return self.by is not BalanceBy.NONE or self.max_profile_weight is not None


def balanced(split: Split, profiles: pa.Table, settings: BalanceSettings) -> Histories:
    """What is learned from, with the events' weights as the settings have them.

    profiles: the profiles table, in the order of the histories. With nothing set it is `split.learned`
    itself; else its columns are shared but for the weights. Raises ConfigError on a setting out of range.
    """
    check_ranges(settings, "trainer.balance")
    learned = split.learned
    if not settings.on:
        return learned
    factor = profile_factors(_totals(split), profiles, settings)
    weight = np.empty(learned.num_events, np.float32)
    for start, stop in profile_blocks(learned.offset):
        part = slice(int(learned.offset[start]), int(learned.offset[stop]))
        of_event = np.repeat(factor[start:stop], np.diff(learned.offset[start : stop + 1]))
        weight[part] = learned.weight[part] * of_event
    return Histories(learned.offset, learned.item_row, learned.time_seconds, learned.minutes, weight)


def profile_factors(
    total: Float64[np.ndarray, " P"], profiles: pa.Table, settings: BalanceSettings
) -> Float64[np.ndarray, " P"]:
    """By how much the events of each profile are multiplied; 1 where nothing is learned from it.

    total: of the weights of its train events. A profile's is min(1, max_profile_weight / total); a segment's,
    on top of it, is target share / share of the weight that is left, between 1 / max_factor and max_factor.
    """
    factor = np.ones(len(total))
    if settings.max_profile_weight is not None:
        factor = np.minimum(1.0, settings.max_profile_weight / np.maximum(total, settings.max_profile_weight))
    if settings.by is BalanceBy.NONE:
        return factor
    column = pc.fill_null(profiles[settings.by.value], "").combine_chunks().dictionary_encode()
    segment, names = column.indices.to_numpy(), column.dictionary.to_pylist()
    counted = (total > 0.0) & (np.array([name != "" for name in names], bool)[segment])
    weight = np.bincount(segment[counted], (total * factor)[counted], minlength=len(names))
    num = np.bincount(segment[counted], minlength=len(names)).astype(np.float64)
    target = num if settings.to is BalanceTo.PROFILES else (num > 0.0).astype(np.float64)
    if not counted.any():
        return factor
    wanted, found = target / target.sum(), weight / weight.sum()
    ratio = np.divide(wanted, found, out=np.ones(len(names)), where=found > 0.0)
    bound = settings.max_factor
    factor[counted] *= np.clip(ratio, 1.0 / bound, bound)[segment[counted]]
    return factor


def _totals(split: Split) -> Float64[np.ndarray, " P"]:
    """The weights of each profile's train events, added up a run of profiles at a time."""
    learned, total = split.learned, np.zeros(len(split.num_train))
    for start, stop in profile_blocks(learned.offset):
        first = int(learned.offset[start])
        weight = learned.weight[first : int(learned.offset[stop])].astype(np.float64)
        before = np.concatenate([np.zeros(1), np.cumsum(weight)])
        begin = learned.offset[start:stop] - first
        total[start:stop] = before[begin + split.num_train[start:stop]] - before[begin]
    return total
