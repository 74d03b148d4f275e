"""Comparing two groups of profiles while the numbers come in, as often as one likes to look."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.errors import QueryError


@dataclass(frozen=True, slots=True)
class Arm:
    """What P profiles of one group did: answers, 1 or more each, and their outcome together.

    The profile is the unit: what one does at several times goes together.
    """

    num_answers: Int64[np.ndarray, " P"]
    outcome: Float64[np.ndarray, " P"]

    def __post_init__(self) -> None:
        if len(self.num_answers) != len(self.outcome) or np.any(self.num_answers < 1):
            raise QueryError("an arm: expected an outcome for each profile, and at least one answer")
        if not np.all(np.isfinite(self.outcome)) or np.any(self.outcome < 0.0):
            raise QueryError("an arm: outcomes that are negative or not finite; expected minutes or plays")


@dataclass(frozen=True, slots=True)
class Lift:
    """By what share the outcome per answer of one group exceeds the other's, and the ends of an interval."""

    lift: float
    low: float
    high: float


def anytime_lift(arm: Arm, reference: Arm, *, effect: float, alpha: float) -> Lift | None:
    """The lift over the reference, with an interval that holds it at all looks together with 1 - alpha.

    With R = Σ outcome / Σ answers of each group, L = ln R - ln R₀ and v = Var R / R² + Var R₀ / R₀², where
    Var R = P / (P - 1) Σ (outcome - R · answers)² / (Σ answers)² over profiles, the interval of L is

        L ± sqrt( v (1 + v / effect²) (2 ln(1 / alpha) + ln(1 + effect² / v)) )

    the normal mixture over effects of that size, so that it is tightest where the lift is about `effect`; it
    holds in the limit of many profiles. Sources: Robbins 1970, doi:10.1214/aoms/1177696786;
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, arXiv:2103.06476; Deng, Knoblich and Lu, KDD 2018,
    doi:10.1145/3219819.3219919, of the variance of a ratio. An arm without any outcome has no
    logarithm: its upper end is that of the share of profiles that have any. None while an arm has fewer than
    two profiles, or the reference no outcome.
    """
    if not (effect > 0.0 and 0.0 < alpha < 1.0):
        raise QueryError(f"effect = {effect}, alpha = {alpha}; expected above 0, and between 0 and 1")
    if min(len(arm.outcome), len(reference.outcome)) < 2:
        return None
    if not reference.outcome.any():
        return None
    if not arm.outcome.any():
        # Of P profiles none did anything: at most 1 - alpha^(1/P) of all do, and to have seen none before
        # is part of having seen none now.
        most = 1.0 - alpha ** (1.0 / len(arm.outcome))
        return Lift(-1.0, -1.0, most / float(np.mean(reference.outcome > 0.0)) - 1.0)
    mean, variance = _ratio(arm)
    other, other_variance = _ratio(reference)
    logarithm, v = math.log(mean / other), variance / mean**2 + other_variance / other**2
    if v == 0.0:
        return Lift(*[math.expm1(logarithm)] * 3)
    width = math.sqrt(v * (1.0 + v / effect**2) * (2.0 * math.log(1.0 / alpha) + math.log1p(effect**2 / v)))
    # Of a width that says nothing, the exponential would be past what a float holds.
    low, high = logarithm - min(width, 50.0), logarithm + min(width, 50.0)
    return Lift(math.expm1(logarithm), math.expm1(low), math.expm1(high))


def _ratio(arm: Arm) -> tuple[float, float]:
    num, answers = len(arm.outcome), float(arm.num_answers.sum())
    ratio = float(arm.outcome.sum()) / answers
    rest = arm.outcome - ratio * arm.num_answers
    return ratio, num / (num - 1) * float(rest @ rest) / answers**2
