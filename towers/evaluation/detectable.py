"""The smallest gap between a slice and the rest that samples of their size could show."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64

from towers.errors import QueryError


@dataclass(frozen=True, slots=True)
class Spread:
    """Of `num` values: their mean, and their sample variance (over num - 1), NaN where there are too few."""

    num: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Float64[np.ndarray, " n"]) -> "Spread":
        """The spread of these values."""
        num = len(values)
        mean = float(values.mean()) if num else math.nan
        return cls(num, mean, float(values.var(ddof=1)) if num > 1 else math.nan)


def detectable_gap(one: Spread, other: Spread, *, level: float = 0.95, power: float = 0.8) -> float | None:
    """The difference of two means that a two-sided test at 1 - level finds with probability `power`.

    δ = (z_{(1 + level)/2} + z_power) · sqrt(s₁²/n₁ + s₂²/n₂), at the defaults 2.80 standard errors. That
    no gap was found says nothing of smaller ones. Normal approximation, rough below some thirty values a
    side; the two sides are taken as independent, which those of one question with targets on both are not
    quite. None where a side has fewer than two values. Source: Cohen 1988, Statistical Power Analysis for
    the Behavioral Sciences, chapter 2. Raises QueryError on a level or a power not between 0 and 1.
    """
    if not (0.0 < level < 1.0 and 0.0 < power < 1.0):
        raise QueryError(f"level = {level}, power = {power}; expected both between 0 and 1")
    if min(one.num, other.num) < 2:
        return None
    normal = NormalDist()
    errors = normal.inv_cdf((1.0 + level) / 2.0) + normal.inv_cdf(power)
    return errors * math.sqrt(one.variance / one.num + other.variance / other.num)
