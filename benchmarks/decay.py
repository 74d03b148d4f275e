"""Claim `decay`: planted decays are recovered, and the schedule that follows is close to the optimum.

The claim's figures: λ's median relative error and the share of 95 % intervals that hold it, over curves
measured on eight origins; and what the schedule costs over the dynamic-programming optimum of a service whose
decay has shocks, its own curve measured on that service.
"""

from dataclasses import dataclass
from math import inf, sqrt
from statistics import mean, median

import numpy as np

from benchmarks.measurement import Measurement
from towers.evaluation.decay import DecayCurve, QualityMatrix, fit_decay
from towers.evaluation.retraining import POINT, RetrainingSettings
from towers.evaluation.retraining_policies import (
    EveryDays,
    StochasticDecay,
    optimal_cost,
    simulated_cost,
)
from towers.evaluation.schedule import Schedule, recommend_schedule

SEEDS = range(100)
NUM_ORIGINS = 8
AGE_DAYS = np.arange(12) * 4.0 + 2.0
NUM_QUERIES = 20_000
FLOOR, AMPLITUDE = 0.12, 0.08
ALARM_SIGMAS = 3.0
_DAY = 86_400
_POINTS_WORTH = 100.0
_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Curve:
    """A planted rate per day and what was found of it."""

    planted: float
    found: DecayCurve

    @property
    def error(self) -> float:
        """Relative error of the rate."""
        return abs(self.found.rate.value / self.planted - 1.0)

    @property
    def is_held(self) -> bool:
        """Whether the interval holds the planted rate."""
        return self.found.rate.low <= self.planted <= self.found.rate.high


def measure() -> Measurement:
    """The three figures over a hundred seeds, with the distribution of each and the other policies beside."""
    curves = [planted_curve(seed) for seed in SEEDS]
    ratios = [policy_ratios(seed) for seed in SEEDS]
    by_policy = {name: [one[name] for one in ratios] for name in ratios[0]}
    schedule = by_policy["schedule"]
    errors = [curve.error for curve in curves]
    return Measurement(
        figures={
            "lambda_error": round(median(errors), 4),
            "interval_coverage": mean(curve.is_held for curve in curves),
            "policy_cost_over_optimum": round(mean(schedule), 4),
        },
        data=f"synthetic hit rates, {NUM_ORIGINS} origins × {len(AGE_DAYS)} ages, {NUM_QUERIES:,} each",
        seeds=list(SEEDS),
        details={
            "lambda_error_p90": round(float(np.quantile(errors, 0.9)), 4),
            "lambda_within_15_percent": mean(error <= 0.15 for error in errors),
            "lambda_interval_high_over_low_median": round(
                median(curve.found.rate.high / max(curve.found.rate.low, 1e-9) for curve in curves), 3
            ),
            "policy_cost_over_optimum": {
                name: {"mean": round(mean(costs), 4), "worst": round(max(costs), 4)}
                for name, costs in by_policy.items()
            },
            "schedule_beats": {
                name: mean(ours < other for ours, other in zip(schedule, costs, strict=True))
                for name, costs in by_policy.items()
                if name != "schedule"
            },
        },
    )


def planted_curve(seed: int) -> Curve:
    """A curve through hits counted around a planted one, λ from .03 to .12 a day."""
    rng = np.random.default_rng([seed, 0])
    rate = _between(rng, 0.03, 0.12)
    lost = -AMPLITUDE * np.expm1(-rate * AGE_DAYS) * np.ones((NUM_ORIGINS, 1))
    return Curve(rate, fit_decay(_counted(rng, lost), seed=seed))


def policy_ratios(seed: int) -> dict[str, float]:
    """Cost of each policy over the optimum, in a service with shocks at random prices.

    schedule: by age alone. schedule_or_loss: earlier where the measured loss is beyond that at which a
    retrain pays by two standard errors. drift_triggered: where a day's loss is significant, by three.
    best_threshold: triggered by the loss that turned out best of nine, which nobody could know.
    """
    rng = np.random.default_rng([seed, 1])
    world = StochasticDecay(
        rate=_between(rng, 0.03, 0.10),
        amplitude=AMPLITUDE,
        shock_probability=float(rng.uniform(0.0, 0.03)),
        shock_share=float(rng.uniform(0.1, 0.5)),
    )
    value = _POINTS_WORTH / POINT
    # From a retrain that pays within days to one that wins back less than twice its cost.
    cost = _between(rng, 0.01, 0.6) * value * AMPLITUDE / world.mean_rate
    settings = RetrainingSettings(cost=cost, value_per_point_day=_POINTS_WORTH)
    matrix = _counted(rng, _lost_by_age(world, rng))
    schedule = recommend_schedule(fit_decay(matrix, seed=seed), matrix, settings, metric="hit rate")
    # A day's own questions, twice: those of the model that serves, and of the fresh one it is compared with.
    error = sqrt(2.0 * FLOOR * (1.0 - FLOOR) / NUM_QUERIES)
    optimum = optimal_cost(world, cost=cost, value=value).cost_per_day

    def ratio(policy: EveryDays) -> float:
        spent = simulated_cost(
            world,
            policy,
            cost=cost,
            value=value,
            measurement_error=error,
            num_days=300,
            num_services=64,
            seed=seed,
        )
        return spent / optimum

    return {name: ratio(policy) for name, policy in _policies(schedule, error).items()} | {
        "best_threshold": min(ratio(EveryDays(at_loss=share * AMPLITUDE)) for share in _THRESHOLDS)
    }


def _policies(schedule: Schedule, error: float) -> dict[str, EveryDays]:
    every = float(schedule.every_days or inf)
    at_loss = inf if schedule.at_loss is None else schedule.at_loss + 2.0 * error
    return {
        "schedule": EveryDays(every),
        "schedule_or_loss": EveryDays(every, at_loss=at_loss),
        "never": EveryDays(),
        "daily": EveryDays(1.0),
        "drift_triggered": EveryDays(at_loss=ALARM_SIGMAS * error),
    }


def _lost_by_age(world: StochasticDecay, rng: np.random.Generator) -> np.ndarray:
    """(origins, ages), the mean loss of each window of four days after an origin, shocks included."""
    loss, days = np.zeros(NUM_ORIGINS), []
    for _ in range(4 * len(AGE_DAYS)):
        days.append(world.lost_in_day(loss))
        shock = rng.random(NUM_ORIGINS) < world.shock_probability
        loss = world.next_day(loss)
        loss = np.where(shock, world.shocked(loss), loss)
    windows: np.ndarray = np.stack(days, axis=1).reshape(NUM_ORIGINS, len(AGE_DAYS), 4).mean(axis=2)
    return windows


def _counted(rng: np.random.Generator, lost: np.ndarray) -> QualityMatrix:
    """Hits of a triangular matrix: levels differ by origin, weeks by one per cent, and every hit is drawn."""
    level = FLOOR + AMPLITUDE + rng.normal(0.0, 0.01, (NUM_ORIGINS, 1))
    origin_day = 4.0 * np.arange(NUM_ORIGINS)
    week = 1.0 + 0.01 * np.sin(2.0 * np.pi * (origin_day[:, None] + AGE_DAYS) / 7.0)
    measured = np.arange(NUM_ORIGINS)[:, None] + np.arange(len(AGE_DAYS)) < len(AGE_DAYS)
    count = np.where(measured, rng.poisson(NUM_QUERIES, measured.shape), 0)
    hits = rng.binomial(count, (level - lost) * week)
    return QualityMatrix((origin_day * _DAY).astype(np.int64), AGE_DAYS, hits / np.maximum(count, 1), count)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Drawn evenly on the log scale."""
    return float(low * (high / low) ** rng.random())
