"""The retraining schedule: what follows from a measured decay and declared prices, for the rebuild job."""

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from math import expm1, inf, isfinite
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np

from towers.data.days import SECONDS_PER_DAY
from towers.errors import ConfigError
from towers.evaluation.decay import DecayCurve, Estimate, QualityMatrix
from towers.evaluation.retraining import (
    RetrainingSettings,
    check_retraining,
    cost_per_day,
    optimal_days,
    whole_days,
)
from towers.folders import replace_file

_FORMAT = "retraining-schedule"
_VERSION = 2
# Prices that version 1 did not hold; the schedule does not rest on them, so their defaults may stand in.
_SINCE_VERSION_2 = ("warm_cost", "rebuild_cost")


class Verdict(StrEnum):
    """Why the schedule is what it is."""

    PAYS = "pays"
    """A retrain at the age given costs least."""
    NOT_WORTH_ITS_COST = "not_worth_its_cost"
    """A retrain costs more than all the quality it could win back."""
    NO_DECAY_SHOWN = "no_decay_shown"
    """The interval of the drop holds 0: these measurements do not show that age costs anything."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a schedule was derived from."""

    metric: str
    rate: Estimate
    amplitude: Estimate
    floor: Estimate
    drop: Estimate
    num_origins: int
    num_cells: int
    num_queries: int
    first_origin_seconds: int
    last_origin_seconds: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to retrain, why, and what that costs; written by `write_schedule`, read by the rebuild job.

    every_days: whole days between retrains, the settings' longest where none would pay; None is never.
    low_days, high_days: T* over the resamples of origins, the interval at the evidence's level; None is
        never.
    at_loss: the loss of quality at which a retrain pays at once, however young the model: that at T*; None is
        never.
    cost_per_day, never_cost_per_day: expected, of this schedule and of no retrain at all.
    """

    verdict: Verdict
    every_days: int | None
    low_days: float | None
    high_days: float | None
    at_loss: float | None
    cost_per_day: float
    never_cost_per_day: float
    settings: RetrainingSettings
    evidence: Evidence

    def is_due(self, *, trained_seconds: int, now_seconds: int, drifted: bool = False) -> bool:
        """Whether to retrain now a model trained up to then: by age, or earlier where inputs have drifted.

        Drift brings a retrain forward, never within `shortest_days` of the last one.
        """
        age_days = (now_seconds - trained_seconds) / SECONDS_PER_DAY
        if age_days < self.settings.shortest_days:
            return False
        return drifted or (self.every_days is not None and age_days >= self.every_days)


def recommend_schedule(
    curve: DecayCurve, matrix: QualityMatrix, settings: RetrainingSettings, *, metric: str
) -> Schedule:
    """The schedule of least expected cost under a fitted curve, in whole days within the settings' bounds."""
    check_retraining(settings)
    cost, value = settings.cost, settings.value
    rate, amplitude = curve.rate.value, curve.amplitude.value
    best = optimal_days(cost=cost, value=value, amplitude=amplitude, rate=rate) if curve.decays else inf
    drawn = [
        optimal_days(cost=cost, value=value, amplitude=float(a), rate=float(r))
        for r, a in zip(curve.drawn_rate, curve.drawn_amplitude, strict=True)
    ]
    # Order statistics and not interpolated quantiles: some of the draws are inf.
    tail = (1.0 - curve.rate.level) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail], method="inverted_cdf")
    every = whole_days(best, settings, amplitude=amplitude, rate=rate)
    if not curve.decays:
        verdict = Verdict.NO_DECAY_SHOWN
    else:
        verdict = Verdict.PAYS if isfinite(best) else Verdict.NOT_WORTH_ITS_COST
    measured = matrix.num_queries > 0
    return Schedule(
        verdict=verdict,
        every_days=every,
        low_days=_finite(low),
        high_days=_finite(high),
        at_loss=-amplitude * expm1(-rate * best) if isfinite(best) else None,
        cost_per_day=cost_per_day(
            float(every or inf), cost=cost, value=value, amplitude=amplitude, rate=rate
        ),
        never_cost_per_day=cost_per_day(inf, cost=cost, value=value, amplitude=amplitude, rate=rate),
        settings=settings,
        evidence=Evidence(
            metric=metric,
            rate=curve.rate,
            amplitude=curve.amplitude,
            floor=curve.floor,
            drop=curve.drop,
            num_origins=int(measured.any(axis=1).sum()),
            num_cells=int(measured.sum()),
            num_queries=int(matrix.num_queries.sum()),
            first_origin_seconds=int(matrix.origin_seconds[0]),
            last_origin_seconds=int(matrix.origin_seconds[-1]),
        ),
    )


def write_schedule(schedule: Schedule, path: Path) -> None:
    """Writes the schedule as JSON in place of what was there: a reader finds the old one or the new one."""
    plain = {"format": _FORMAT, "version": _VERSION, **_without_inf(asdict(schedule))}
    replace_file(path, json.dumps(plain, indent=2, allow_nan=False) + "\n")


def read_schedule(path: Path) -> Schedule:
    """The schedule that `write_schedule` wrote, version 1 too; ConfigError where the file is no such."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        found = (plain.pop("format"), plain.pop("version"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: {error!r}; expected a retraining schedule in JSON") from error
    if found not in ((_FORMAT, 1), (_FORMAT, _VERSION)):
        raise ConfigError(
            f"{path}: {found[0]!r} version {found[1]!r}; expected {_FORMAT!r} version {_VERSION}"
        )
    if found[1] == 1 and isinstance(plain.get("settings"), dict):
        defaults = asdict(RetrainingSettings())
        plain["settings"] = {name: defaults[name] for name in _SINCE_VERSION_2} | plain["settings"]
    schedule: Schedule = _typed(Schedule, plain, f"{path}: schedule")
    check_retraining(schedule.settings, f"{path}: schedule.settings")
    return schedule


def _without_inf(plain: Any) -> Any:
    """Plain values with null for the end that an interval does not have: JSON knows no infinity."""
    if isinstance(plain, dict):
        return {name: _without_inf(part) for name, part in plain.items()}
    return None if plain in (inf, -inf) else plain


def _typed(hint: Any, plain: Any, key: str) -> Any:
    """A plain value as its declared type, every field given and none besides; ConfigError naming the key."""
    arms = get_args(hint) or (hint,)
    if plain is None and NoneType in arms:
        return None
    wanted = arms[0]
    if is_dataclass(wanted) and isinstance(wanted, type):
        names = {item.name for item in fields(wanted)}
        if not isinstance(plain, dict) or set(plain) != names:
            found = sorted(plain) if isinstance(plain, dict) else plain
            raise ConfigError(f"{key}: {found!r}; expected {sorted(names)}")
        if wanted is Estimate:
            plain = plain | {end: far for end, far in (("low", -inf), ("high", inf)) if plain[end] is None}
        hints = get_type_hints(wanted)
        return wanted(**{name: _typed(hints[name], plain[name], f"{key}.{name}") for name in names})
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        if plain in list(wanted):
            return wanted(plain)
        raise ConfigError(f"{key}: {plain!r}; expected one of {', '.join(wanted)}")
    if wanted is float and type(plain) is int:
        return float(plain)
    if type(plain) is not wanted:
        raise ConfigError(f"{key}: {plain!r}; expected {hint}")
    return plain


def _finite(days: float) -> float | None:
    return float(days) if isfinite(days) else None
