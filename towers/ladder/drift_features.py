"""The features of two samples of a log, one by one: their bins, how both fell into them, and the reading."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from towers.evaluation.drift import CategoryBins, DriftSettings, NumericBins, Reading, feature_reading
from towers.evaluation.drift_decision import Moved
from towers.ladder.drift_inputs import Feature

MISSING, OTHERS = "missing", "new to train"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One feature of both samples.

    bins: the names of b bins; train, live: int64 (b,), the profiles in each.
    """

    feature: Feature
    bins: tuple[str, ...]
    train: Int64[np.ndarray, " b"]
    live: Int64[np.ndarray, " b"]
    reading: Reading

    @property
    def shares(self) -> tuple[Float64[np.ndarray, " b"], Float64[np.ndarray, " b"]]:
        """Of train and of newer events, each adding up to 1."""
        return self.train / self.train.sum(), self.live / self.live.sum()

    @property
    def moved(self) -> Moved:
        """The bin of the largest term of the index."""
        p, q = ((count + 0.5) / (count + 0.5).sum() for count in (self.train, self.live))
        place = int(np.argmax((q - p) * np.log(q / p)))
        train, live = self.shares
        return Moved(self.bins[place], float(train[place]), float(live[place]))


def compare(
    train: pl.DataFrame, live: pl.DataFrame, settings: DriftSettings
) -> tuple[tuple[Comparison, ...], Mapping[Feature, str]]:
    """A comparison per Feature of two samples, and why each of the others cannot be compared."""
    found, unread = [], {}
    for feature in Feature:
        before, after = train, live
        if feature is Feature.HOUR:
            known = train[Feature.COUNTRY].unique().implode()
            after = live.filter(pl.col(Feature.COUNTRY).is_in(known, nulls_equal=True))
        if feature is Feature.TASTE:
            before, after = (part.filter(pl.col(feature).is_not_null()) for part in (train, live))
        if before.is_empty() or after.is_empty():
            side = "train" if before.is_empty() else "newer"
            unread[feature] = f"no {side} event to read it from"
        elif before[feature].null_count() == before.height and after[feature].null_count() == after.height:
            unread[feature] = "neither log says it"
        else:
            found.append(_compared(feature, before[feature], after[feature], settings))
    return tuple(found), unread


def _compared(feature: Feature, train: pl.Series, live: pl.Series, settings: DriftSettings) -> Comparison:
    if train.dtype == pl.Float64:
        numeric = NumericBins.of(_numbers(train), settings.num_bins)
        return _comparison(
            feature, _ranges(numeric.edge), numeric.count, numeric.counts(_numbers(live)), settings
        )
    category = CategoryBins.of(train.to_list())
    names = (*(name or MISSING for name in category.category), OTHERS)
    return _comparison(feature, names, category.count, category.counts(live.to_list()), settings)


def _comparison(
    feature: Feature, bins: tuple[str, ...], train: np.ndarray, live: np.ndarray, settings: DriftSettings
) -> Comparison:
    reading = feature_reading(feature.value, train, live, settings)
    return Comparison(feature, bins, train, live, reading)


def _numbers(column: pl.Series) -> Float64[np.ndarray, " n"]:
    numbers: np.ndarray = column.fill_null(float("nan")).to_numpy()
    return numbers


def _ranges(edge: Float64[np.ndarray, " b"]) -> tuple[str, ...]:
    """Names of the bins of NumericBins: up to each edge, above the last one, and the missing."""
    ends = [f"{value:g}" for value in edge]
    if not ends:
        return ("any", MISSING)
    between = [f"{low} to {high}" for low, high in pairwise(ends)]
    return (f"up to {ends[0]}", *between, f"above {ends[-1]}", MISSING)
