"""What each way of keeping up costs a day: nothing, rebuilding the index, starting warm, retraining.

A way pairs what is done to the model (nothing, a warm start or a full retrain every T days) with what is
done to the index between (nothing, or a rebuild every R days). With L(a) = A·(1 − exp(−λa)) the loss at age a
below a model retrained that day, of the frozen or of the rebuilt variant, it costs per day

    C/T + C_r/R + v·[G + (1/T)·∫₀ᵀ L(a) da],      T = ∞: C_r/R + v·A,

C what its action costs, C_r a rebuild, v a unit of quality per day, and G what the action itself leaves below
a retrain: 0 for a full one, retrained − warm for a warm start. G and C_r/R do not depend on T, so T* is that
of `optimal_days`, in whole days. R is the study's window: the rebuilt variant has the catalogue of the start
of each window, and no other pace was measured.

Assumed: rebuilds go by the calendar, whatever the retrains do; a warm start leaves the same gap, the mean of
those measured R days and more after a full retrain, whether it is the first or the hundredth in a chain, and
ages from there as a retrained model does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from math import exp, inf, sqrt
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64

from towers.errors import QueryError
from towers.evaluation.decay import DecayCurve, Estimate, QualityMatrix, fit_decay
from towers.evaluation.decay_causes import DecayStudy, Variant, mean_by_origin
from towers.evaluation.retraining import (
    RetrainingSettings,
    check_retraining,
    cost_per_day,
    optimal_days,
    whole_days,
)


class Way(StrEnum):
    """How a service keeps up, from the least work to the most."""

    NOTHING = "nothing"
    """The old model on its old index, for ever."""
    REBUILD = "rebuild"
    """The old model for ever, on an index rebuilt in every window."""
    WARM = "warm"
    """A warm start every T days, and nothing between."""
    WARM_REBUILD = "warm_rebuild"
    """A warm start every T days, the index rebuilt between."""
    RETRAIN = "retrain"
    """A full retrain every T days, and nothing between."""
    RETRAIN_REBUILD = "retrain_rebuild"
    """A full retrain every T days, the index rebuilt between."""

    @property
    def serving(self) -> Variant:
        """What stands between two actions on the model."""
        rebuilds = self in (Way.REBUILD, Way.WARM_REBUILD, Way.RETRAIN_REBUILD)
        return Variant.REBUILT if rebuilds else Variant.FROZEN

    @property
    def update(self) -> Variant | None:
        """What an action makes of the model, warm or retrained; None where nothing is ever done to it."""
        match self:
            case Way.NOTHING | Way.REBUILD:
                return None
            case Way.WARM | Way.WARM_REBUILD:
                return Variant.WARM
            case Way.RETRAIN | Way.RETRAIN_REBUILD:
                return Variant.RETRAINED


class Standing(StrEnum):
    """What can be said of a way."""

    PRICED = "priced"
    """It has a cost per day."""
    NEVER_PAYS = "never_pays"
    """No interval of it costs less than leaving its action out."""
    UNKNOWN = "unknown"
    """What its cost rests on was not measured."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """A way of keeping up and its expected cost per day, in the currency of the settings.

    every_days: T*, whole days between warm starts or retrains; None for none at all.
    rebuild_days: R, days between rebuilds of the index; None where it is left alone.
    cost: per day, with its interval over the resamples of origins at this T*; None unless priced, as are the
        next three.
    actions, lost: the parts of the cost for retrains, warm starts and rebuilds, and for lost quality.
    cheapest: share of the resamples in which it costs least of all ways that are priced and allowed.
    note: why it is not priced or not compared, or what to know of its price.
    """

    way: Way
    standing: Standing
    every_days: int | None = None
    rebuild_days: float | None = None
    cost: Estimate | None = None
    actions: float | None = None
    lost: float | None = None
    cheapest: float | None = None
    note: str | None = None


def compare_ways(
    study: DecayStudy, curves: Mapping[Variant, DecayCurve], settings: RetrainingSettings, *, seed: int = 0
) -> tuple[Upkeep, ...]:
    """Every way at its own best interval, in the order of `Way`.

    curves: through `study.relative` of frozen and of rebuilt, both fitted with this seed and as many
    resamples: then the same draw of origins stands behind each resample of every way.

    A cost is given for T up to the oldest age measured, and for longer T and for ever only where the curve
    halves within the ages measured: else it is unknown. So is a way of which no rebuild would fall between
    two updates of the model, T <= R: it would be the way without rebuilds. Where no decay of a variant is
    shown, what it lost over the ages measured counts as its loss at any age, and the note says so. Ways
    without a retrain are priced but not compared where `longest_days` forbids them.

    Intervals are quantiles over the resamples of what the plan, T* as it is, would cost, taken further out as
    few origins need (Hesterberg 2015, doi:10.1080/00031305.2015.1089789, on expanded percentiles).

    Raises ConfigError on settings out of range, QueryError on other curves.
    """
    check_retraining(settings)
    asked = study.overall(Variant.FROZEN)
    num_resamples = {len(curve.drawn_rate) for curve in curves.values()}
    if set(curves) != {Variant.FROZEN, Variant.REBUILT} or len(num_resamples) != 1:
        raise QueryError(
            f"curves of {', '.join(curves)} with {sorted(num_resamples)} resamples; "
            "expected frozen and rebuilt with the same number"
        )
    ages = asked.age_days[asked.num_queries.any(axis=0)]
    num_origins = int(asked.num_queries.any(axis=1).sum())
    losses = {serving: _Losses(curve, serving, ages, num_origins) for serving, curve in curves.items()}
    no_gap = _Gap(0.0, np.zeros(num_resamples.pop()))
    gaps: dict[Variant | None, _Gap | None] = {None: no_gap, Variant.RETRAINED: no_gap, Variant.WARM: None}
    if Variant.WARM in study.known:
        gaps[Variant.WARM] = _warm_gap(study, len(no_gap.drawn), curves[Variant.FROZEN].drop.level, seed)
    rebuild_days = float(np.diff(asked.age_days).min())
    plans = [_plan(way, losses[way.serving], gaps[way.update], settings, rebuild_days) for way in Way]
    return _compared(plans)


def unknown_ways(reason: str) -> tuple[Upkeep, ...]:
    """Every way, unknown for one reason."""
    return tuple(Upkeep(way, Standing.UNKNOWN, note=reason) for way in Way)


@dataclass(frozen=True, slots=True)
class _Losses:
    """What a variant loses, by the curve and by each of its resamples; over these ages, rising."""

    curve: DecayCurve
    serving: Variant
    ages: Float64[np.ndarray, " A"]
    num_origins: int

    def reaches(self, days: float) -> bool:
        """Whether the curve tells the loss up to an age: as measured, or as levelling off in what was."""
        oldest = float(self.ages[-1])
        return not self.curve.decays or days <= oldest or self.curve.half_life_days <= oldest

    def mean(self, days: float) -> tuple[float, Float64[np.ndarray, " B"]]:
        """Quality lost on average from age 0 to `days`: (1/T)·∫ L, by the curve and by each resample."""
        curve = self.curve
        if not curve.decays:
            # λ is of noise then, and A with it; what was lost by the oldest age is sure within its interval.
            young, old = (np.exp(-curve.drawn_rate * age) for age in (self.ages[0], self.ages[-1]))
            return curve.drop.value, curve.drawn_amplitude * (young - old)
        drawn = zip(curve.drawn_rate.tolist(), curve.drawn_amplitude.tolist(), strict=True)
        return _mean_lost(days, curve.rate.value, curve.amplitude.value), np.array(
            [_mean_lost(days, rate, amplitude) for rate, amplitude in drawn]
        )


@dataclass(frozen=True, slots=True)
class _Gap:
    """Quality that an update leaves below a full retrain, and in each resample."""

    value: float
    drawn: Float64[np.ndarray, " B"]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """A way, and where it is compared its cost per day in each resample."""

    upkeep: Upkeep
    drawn: Float64[np.ndarray, " B"] | None = None


def _plan(
    way: Way, losses: _Losses, gap: _Gap | None, settings: RetrainingSettings, rebuild_days: float
) -> _Plan:
    curve, serving = losses.curve, losses.serving
    if gap is None:
        return _Plan(Upkeep(way, Standing.UNKNOWN, note="no warm start was measured"))
    action = settings.warm_cost if way.update is Variant.WARM else settings.cost
    every = None if way.update is None else _best_days(curve, replace(settings, cost=action))
    days = float(every or inf)
    if not losses.reaches(days):
        return _Plan(
            Upkeep(
                way,
                Standing.UNKNOWN,
                note=f"the half-life of {serving.value}, {curve.half_life_days:.0f} days, is beyond the ages "
                f"measured, up to {losses.ages[-1]:g}: what it loses later was not seen",
            )
        )
    rebuilds = serving is Variant.REBUILT
    if rebuilds and days <= rebuild_days:
        return _Plan(
            Upkeep(
                way,
                Standing.UNKNOWN,
                note=f"it pays every {every} days, and the study rebuilds the index every {rebuild_days:g}: "
                "a rebuild between was not measured",
            )
        )
    notes = [] if gap.note is None else [gap.note]
    if not curve.decays:
        notes.append(
            f"no decay of {serving.value} is shown; what it lost over the ages measured is counted, "
            f"{curve.drop.value:+.4f} [{curve.drop.low:+.4f}, {curve.drop.high:+.4f}]"
        )
    if way.update is not None and every is None:
        why = "costs more than it could win back" if curve.decays else f"no decay of {serving.value} is shown"
        return _Plan(Upkeep(way, Standing.NEVER_PAYS, note=why))
    actions = (action / days if every else 0.0) + (settings.rebuild_cost / rebuild_days if rebuilds else 0.0)
    lost, drawn_lost = losses.mean(days)
    lost, drawn = settings.value * (lost + gap.value), actions + settings.value * (drawn_lost + gap.drawn)
    tail = _tail(curve.rate.level, losses.num_origins)
    low, high = np.quantile(drawn[np.isfinite(drawn)], [tail, 1.0 - tail])
    is_allowed = way.update is not None or settings.longest_days is None
    if not is_allowed:
        notes.append(f"not compared: no model may be older than longest_days, {settings.longest_days}")
    upkeep = Upkeep(
        way,
        Standing.PRICED,
        every_days=every,
        rebuild_days=rebuild_days if rebuilds else None,
        cost=Estimate(actions + lost, float(low), float(high), curve.rate.level),
        actions=actions,
        lost=lost,
        note="; ".join(notes) or None,
    )
    return _Plan(upkeep, drawn if is_allowed else None)


def _tail(level: float, num_origins: int) -> float:
    """The quantile to take of either side: Φ(−t·√(n/(n−1))), t Student's with n − 1 degrees of freedom.

    t from the normal by Wallace's transformation (Annals of Mathematical Statistics 30, 1959, p. 1121), a few
    per cent too wide at three origins and exact to three digits from six on.
    """
    normal, freedom = NormalDist(), num_origins - 1
    deviation = normal.inv_cdf((1.0 + level) / 2.0) * (8 * freedom + 3) / (8 * freedom + 1)
    student = sqrt(freedom * (exp(deviation**2 / freedom) - 1.0))
    return normal.cdf(-student * sqrt(num_origins / freedom))


def _best_days(curve: DecayCurve, settings: RetrainingSettings) -> int | None:
    """T* in whole days; None for never."""
    rate, amplitude = curve.rate.value, curve.amplitude.value
    best = optimal_days(cost=settings.cost, value=settings.value, amplitude=amplitude, rate=rate)
    return whole_days(best if curve.decays else inf, settings, amplitude=amplitude, rate=rate)


def _compared(plans: list[_Plan]) -> tuple[Upkeep, ...]:
    """The ways with the share of resamples in which each costs least; of equals the one of less work."""
    places = [place for place, plan in enumerate(plans) if plan.drawn is not None]
    ways = [plan.upkeep for plan in plans]
    if places:
        drawn = np.stack([plan.drawn for plan in plans if plan.drawn is not None])
        # A resample of origins that were measured at one age each tells no amplitude.
        told = drawn[:, np.isfinite(drawn).all(axis=0)]
        share = np.bincount(told.argmin(axis=0), minlength=len(places)) / told.shape[1]
        for place, part in zip(places, share.tolist(), strict=True):
            ways[place] = replace(ways[place], cheapest=part)
    return tuple(ways)


def _warm_gap(study: DecayStudy, num_resamples: int, level: float, seed: int) -> _Gap:
    """Retrained − warm, mean over the questions of all ages but the first, at which warm is retrained."""
    relative = study.relative(Variant.WARM)
    count = relative.num_queries
    is_asked = count.any(axis=1)
    later = count[is_asked, 1:]
    lost = -np.where(later > 0, relative.quality[is_asked, 1:], 0.0) * later
    total, asked = lost.sum(axis=1), later.sum(axis=1)
    told = mean_by_origin(total, asked, level=level, seed=seed)
    # The draws of fit_decay, so that a resample of the gap is of the same origins as one of the curves.
    num_origins = len(total)
    times = np.random.default_rng(seed).multinomial(
        num_origins, np.full(num_origins, 1 / num_origins), num_resamples
    )
    drawn_asked = times @ asked
    drawn = np.divide(times @ total, drawn_asked, out=np.full(num_resamples, np.nan), where=drawn_asked > 0)
    note = f"below retrained by {told.value:+.4f} [{told.low:+.4f}, {told.high:+.4f}], which is counted"
    if told.low <= 0.0 <= told.high:
        note += " though the interval holds 0"
    if _grows(relative):
        note += "; it grows with age, so a chain of warm starts may lose more"
    return _Gap(told.value, drawn, note)


def _grows(relative: QualityMatrix) -> bool:
    """Whether the gap of a warm start is shown to grow with the days since the full retrain."""
    later = QualityMatrix(
        relative.origin_seconds, relative.age_days[1:], relative.quality[:, 1:], relative.num_queries[:, 1:]
    )
    try:
        return fit_decay(later).decays
    except QueryError:
        return False


def _mean_lost(days: float, rate: float, amplitude: float) -> float:
    return cost_per_day(days, cost=0.0, value=1.0, amplitude=amplitude, rate=rate)
