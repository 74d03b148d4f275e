"""Whether live inputs still look like those of train: monitors that bring a retrain forward.

They see inputs alone and need no outcome, so they speak before quality can be measured. A monitor triggers
where it passes its threshold by more than chance explains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from statistics import NormalDist

import numpy as np
from jaxtyping import Float32, Float64, Int64

from towers.errors import QueryError
from towers.settings import bounded, check_ranges

# An empty bin would make the index infinite; half an event in each is its usual mend.
_PSEUDO_COUNT = 0.5


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """Thresholds of the monitors.

    feature_stability: population stability index; by convention .1 is a moderate shift, .25 a large one.
    unknown_ids: share of live events whose id the model never learned.
    embedding: 1 − mean cosine of an item's old and new embedding, after the best rotation.
    num_bins: of a numeric feature, of equal share in train.
    chance: how often a monitor may pass for chance alone.
    days: of newer events, at most so many, the newest, are read.
    """

    feature_stability: float = bounded(0.25, gt=0.0)
    unknown_ids: float = bounded(0.05, ge=0.0, lt=1.0)
    embedding: float = bounded(0.2, gt=0.0, le=2.0)
    num_bins: int = bounded(10, ge=2)
    chance: float = bounded(0.001, gt=0.0, lt=1.0)
    days: float = bounded(28.0, gt=0.0, le=3650.0)

    def __post_init__(self) -> None:
        check_ranges(self, "drift")


class Monitor(StrEnum):
    """What was compared with train."""

    FEATURE_STABILITY = "feature_stability"
    UNKNOWN_IDS = "unknown_ids"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one monitor read of one subject, such as a feature, and the value beyond which it triggers.

    limit: the threshold of the settings, or more where so few were seen that chance alone could pass it.
    """

    monitor: Monitor
    subject: str
    value: float
    limit: float

    @property
    def triggered(self) -> bool:
        """Whether inputs have drifted by this reading."""
        return self.value > self.limit


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All readings of one look at the inputs."""

    readings: tuple[Reading, ...]

    @property
    def triggered(self) -> tuple[Reading, ...]:
        """The readings that call for a retrain; empty where inputs look as in train."""
        return tuple(reading for reading in self.readings if reading.triggered)

    @property
    def drifted(self) -> bool:
        """Whether any monitor triggered."""
        return bool(self.triggered)


@dataclass(frozen=True, slots=True)
class NumericBins:
    """Bins of a numeric feature by quantiles of train, and how train fell into them.

    edge: float64 (b,), rising, the right ends of all but the last bin, so that ties stay together.
    count: int64 (b + 2,), of train; the last bin is for missing values (NaN).
    """

    edge: Float64[np.ndarray, " b"]
    count: Int64[np.ndarray, " b2"]

    @classmethod
    def of(cls, train: Float64[np.ndarray, " n"], num_bins: int) -> "NumericBins":
        """At most num_bins bins of about equal share; fewer where one value is very common."""
        present = train[~np.isnan(train)]
        if len(present) == 0:
            return cls(np.empty(0), np.array([0, len(train)]))
        shares = np.arange(1, num_bins) / num_bins
        edge = np.unique(np.quantile(present, shares, method="inverted_cdf"))
        # An edge at the largest value would leave an empty bin behind it.
        edge = edge[edge < present.max()]
        return cls(edge, _binned(train, edge))

    def counts(self, live: Float64[np.ndarray, " n"]) -> Int64[np.ndarray, " b2"]:
        """How live values fall into the bins of train."""
        return _binned(live, self.edge)


@dataclass(frozen=True, slots=True)
class CategoryBins:
    """Categories of train and how often each came; what train never had falls into one more bin."""

    category: tuple[str, ...]
    count: Int64[np.ndarray, " b"]

    @classmethod
    def of(cls, train: Sequence[str | None]) -> "CategoryBins":
        """One bin per category of train; a missing value is the category ''."""
        category, count = np.unique([value or "" for value in train], return_counts=True)
        return cls(tuple(str(one) for one in category), np.append(count.astype(np.int64), 0))

    def counts(self, live: Sequence[str | None]) -> Int64[np.ndarray, " b"]:
        """How live values fall into the categories of train."""
        place = {category: row for row, category in enumerate(self.category)}
        row = np.array([place.get(value or "", len(place)) for value in live], dtype=np.int64)
        return np.bincount(row, minlength=len(place) + 1)


def population_stability(train: Int64[np.ndarray, " b"], live: Int64[np.ndarray, " b"]) -> float:
    """Population stability index of counts in the same bins: Σ (q − p)·ln(q / p), p of train, q of live.

    It is the symmetric Kullback–Leibler divergence. Bins that both leave empty do not count, in the others
    each count has a half added. Raises QueryError on unequal bins or no values.
    """
    if len(train) != len(live) or train.sum() == 0 or live.sum() == 0:
        raise QueryError(
            f"{train.sum()} values in {len(train)} bins against {live.sum()} in {len(live)}; expected the "
            "same bins and at least one value each"
        )
    used = (train > 0) | (live > 0)
    p, q = train[used] + _PSEUDO_COUNT, live[used] + _PSEUDO_COUNT
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def feature_reading(
    feature: str,
    train: Int64[np.ndarray, " b"],
    live: Int64[np.ndarray, " b"],
    settings: DriftSettings,
) -> Reading:
    """The stability of one feature from its counts in train's bins.

    Without drift PSI / (1/n + 1/m) is about χ² with bins − 1 degrees of freedom (Yurdakul and Naranjo 2020,
    Statistical properties of the population stability index, Journal of Risk Model Validation 14(4)), which
    is the least that the limit can be.
    """
    value = population_stability(train, live)
    freedom = int(((train > 0) | (live > 0)).sum()) - 1
    num_train, num_live = int(train.sum()), int(live.sum())
    by_chance = _chi_squared_quantile(1.0 - settings.chance, freedom) * (1 / num_train + 1 / num_live)
    return Reading(Monitor.FEATURE_STABILITY, feature, value, max(settings.feature_stability, by_chance))


def unknown_ids_reading(subject: str, num_unknown: int, num_events: int, settings: DriftSettings) -> Reading:
    """The share of live events whose id of a kind, such as items, is not in the vocabulary.

    The limit is the largest share that a true share at the threshold is likely to show in so many events
    (normal approximation, with one event's room for few). Raises QueryError on no events.
    """
    if not 0 <= num_unknown <= num_events or num_events == 0:
        raise QueryError(
            f"{num_unknown} unknown of {num_events} events; expected at least one event, and no more"
        )
    threshold = settings.unknown_ids
    room = NormalDist().inv_cdf(1.0 - settings.chance) * sqrt(threshold * (1.0 - threshold) / num_events)
    return Reading(
        Monitor.UNKNOWN_IDS, subject, num_unknown / num_events, threshold + room + 1.0 / num_events
    )


def embedding_drift(old: Float32[np.ndarray, "n D"], new: Float32[np.ndarray, "n D"]) -> float:
    """1 − mean cosine of matched embeddings, the old ones turned to come as close as they can.

    A model trained anew may turn its whole space without changing an answer; only what no rotation undoes is
    drift. Orthogonal Procrustes: with old'·new = U·S·V', the rotation is U·V' (Schönemann 1966,
    doi:10.1007/BF02289451). Raises QueryError unless there are more matched items than dimensions, which any
    rotation would fit, and all are finite and not zero.
    """
    if old.shape != new.shape or len(old) <= old.shape[1]:
        raise QueryError(f"embeddings {old.shape} against {new.shape}; expected the same n × D with n > D")
    first, second = (_unit(part.astype(np.float64)) for part in (old, new))
    left, _, right = np.linalg.svd(first.T @ second)
    return float(1.0 - ((first @ (left @ right)) * second).sum(axis=1).mean())


def embedding_reading(
    subject: str,
    old: Float32[np.ndarray, "n D"],
    new: Float32[np.ndarray, "n D"],
    settings: DriftSettings,
) -> Reading:
    """The drift of the embeddings of matched items, row by row the same item in both."""
    return Reading(Monitor.EMBEDDING, subject, embedding_drift(old, new), settings.embedding)


def _binned(values: np.ndarray, edge: np.ndarray) -> np.ndarray:
    missing = np.isnan(values)
    row = np.searchsorted(edge, values[~missing], side="left")
    return np.append(np.bincount(row, minlength=len(edge) + 1), missing.sum()).astype(np.int64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(length) & (length > 0.0)):
        raise QueryError("embeddings that are zero or not finite have no direction; expected none")
    unit: np.ndarray = vectors / length
    return unit


def _chi_squared_quantile(share: float, freedom: int) -> float:
    """Quantile of χ² (Wilson and Hilferty 1931, doi:10.1073/pnas.17.12.684); 0 where freedom is 0."""
    if freedom < 1:
        return 0.0
    spread = 2.0 / (9.0 * freedom)
    return freedom * float(1.0 - spread + NormalDist().inv_cdf(share) * sqrt(spread)) ** 3
