"""What an ageing model loses and why, and what each kind of update wins back.

Every variant answers the same questions: those of an origin o at an age Δ, asked by what could be serving by
then. Retrained is the model of a later origin, o + Δ, so its difference to the others is free of what the day
does to all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64

from towers.errors import QueryError
from towers.evaluation.decay import Estimate, QualityMatrix


class Variant(StrEnum):
    """What answers the questions of an age, from the least update to the most."""

    FROZEN = "frozen"
    """The old model on its old index: new titles are missing."""
    REBUILT = "rebuilt"
    """The old model on the catalogue of the day, new titles embedded from their metadata."""
    WARM = "warm"
    """Trained on from the old weights, on what came since."""
    RETRAINED = "retrained"
    """Trained anew up to the day."""


class Cause(StrEnum):
    """Where the loss of a frozen model comes from; the three add up to it."""

    CATALOGUE = "catalogue"
    """New titles are missing from the index: rebuilt − frozen."""
    VOCABULARY = "vocabulary"
    """Ids the model never learned: retrained − rebuilt on the questions that hold one."""
    MODEL = "model"
    """Tastes have moved on: retrained − rebuilt on all other questions."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Quality lost, in the metric's unit per question of all.

    by_age: float64 (A,), mean over the questions of an age; NaN where there are none.
    overall: mean over all questions, with an interval by origin.
    """

    by_age: Float64[np.ndarray, " A"]
    overall: Estimate


@dataclass(frozen=True, slots=True)
class DecayStudy:
    """Origins × ages for every variant, apart for questions of known ids and of unknown ones.

    known: questions whose profile and targets were all in the vocabulary of the origin's model. unknown: the
    rest. Both hold frozen, rebuilt and retrained, and warm if it was tried. Raises QueryError unless all
    variants were measured on the same origins, ages and numbers of questions.
    """

    known: Mapping[Variant, QualityMatrix]
    unknown: Mapping[Variant, QualityMatrix]

    def __post_init__(self) -> None:
        needed = {Variant.FROZEN, Variant.REBUILT, Variant.RETRAINED}
        if not needed <= set(self.known) or set(self.known) != set(self.unknown):
            raise QueryError(
                f"variants {sorted(self.known)} of known and {sorted(self.unknown)} of unknown ids; "
                f"expected the same, {sorted(needed)} among them"
            )
        first = self.known[Variant.FROZEN]
        for part in (self.known, self.unknown):
            for variant, matrix in part.items():
                same = (
                    np.array_equal(matrix.origin_seconds, first.origin_seconds)
                    and np.array_equal(matrix.age_days, first.age_days)
                    and np.array_equal(matrix.num_queries, part[Variant.FROZEN].num_queries)
                )
                if not same:
                    raise QueryError(f"{variant}: other origins, ages or questions than {Variant.FROZEN}")

    def overall(self, variant: Variant) -> QualityMatrix:
        """A variant's quality over all questions, known and unknown ids together."""
        known, unknown = self._part(self.known, variant), self._part(self.unknown, variant)
        num_queries = known.num_queries + unknown.num_queries
        total = _sums(known) + _sums(unknown)
        quality = np.divide(total, num_queries, out=np.full(total.shape, np.nan), where=num_queries > 0)
        return QualityMatrix(known.origin_seconds, known.age_days, quality, num_queries)

    def relative(self, variant: Variant) -> QualityMatrix:
        """A variant's quality less a retrained model's on the same questions: what to fit a curve through.

        What a day does to all models cancels, which origins' levels alone cannot take out. From 0 at age 0 it
        falls to −A.
        """
        own, fresh = self.overall(variant), self.overall(Variant.RETRAINED)
        return QualityMatrix(own.origin_seconds, own.age_days, own.quality - fresh.quality, own.num_queries)

    def gap(self, variant: Variant, *, level: float = 0.95, seed: int = 0) -> Loss:
        """What a variant leaves below a full retrain: with frozen, all that age takes."""
        own, fresh = self.overall(variant), self.overall(Variant.RETRAINED)
        return self._loss(_sums(fresh) - _sums(own), level, seed)

    def causes(self, *, level: float = 0.95, seed: int = 0) -> dict[Cause, Loss]:
        """The loss of the frozen model by cause; at each age, and overall, they add up to its gap."""
        frozen, rebuilt = self.overall(Variant.FROZEN), self.overall(Variant.REBUILT)
        lost = {
            Cause.CATALOGUE: _sums(rebuilt) - _sums(frozen),
            Cause.VOCABULARY: _sums(self.unknown[Variant.RETRAINED]) - _sums(self.unknown[Variant.REBUILT]),
            Cause.MODEL: _sums(self.known[Variant.RETRAINED]) - _sums(self.known[Variant.REBUILT]),
        }
        return {cause: self._loss(total, level, seed) for cause, total in lost.items()}

    def _part(self, part: Mapping[Variant, QualityMatrix], variant: Variant) -> QualityMatrix:
        if variant not in part:
            raise QueryError(f"{variant} was not measured; have {', '.join(part)}")
        return part[variant]

    def _loss(self, lost: Float64[np.ndarray, "O A"], level: float, seed: int) -> Loss:
        """From the sums of what the questions of each cell lost."""
        num_queries = self.overall(Variant.FROZEN).num_queries
        asked = num_queries.sum(axis=0)
        by_age = np.divide(lost.sum(axis=0), asked, out=np.full(len(asked), np.nan), where=asked > 0)
        return Loss(by_age, mean_by_origin(lost.sum(axis=1), num_queries.sum(axis=1), level=level, seed=seed))


def mean_by_origin(
    total: np.ndarray, count: np.ndarray, *, level: float, num_resamples: int = 999, seed: int = 0
) -> Estimate:
    """Σ total / Σ count over origins, with a symmetric bootstrap-t interval over them, as in `fit_decay`.

    Raises QueryError on fewer than three origins with questions.
    """
    total, count = total[count > 0], count[count > 0]
    num_origins = len(count)
    if num_origins < 3:
        raise QueryError(f"{num_origins} origins with questions; expected at least 3")
    drawn = np.random.default_rng(seed).multinomial(
        num_origins, np.full(num_origins, 1 / num_origins), num_resamples
    )
    value, error = _ratio(np.ones((1, num_origins)), total, count)
    values, errors = _ratio(drawn.astype(np.float64), total, count)
    told = errors > 0.0
    scale = np.quantile(np.abs(values[told] - value[0]) / errors[told], level) if told.any() else 0.0
    half = float(scale * error[0])
    return Estimate(float(value[0]), float(value[0]) - half, float(value[0]) + half, level)


def _ratio(times: np.ndarray, total: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ratio of sums and its standard error, up to n / (n − 1); `times` (B, O) an origin was drawn."""
    asked = times @ count
    value = times @ total / asked
    left = total - value[:, None] * count
    return value, np.sqrt((times * left**2).sum(axis=1)) / asked


def _sums(matrix: QualityMatrix) -> Float64[np.ndarray, "O A"]:
    """Quality summed over the questions of each cell."""
    sums: np.ndarray = np.where(matrix.num_queries > 0, matrix.quality, 0.0) * matrix.num_queries
    return sums
