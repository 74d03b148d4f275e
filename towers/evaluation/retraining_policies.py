"""Retraining policies on a simulated service whose decay has shocks, and the optimum that none can beat.

The loss of quality x grows by a day as A − (A − x)·exp(−λ), which from 0 gives A·(1 − exp(−λa)). On some days
a shock (a new season, a holiday, a change of the catalogue) takes a share of what was left besides. A retrain
brings x to 0.
"""

from dataclasses import dataclass
from math import exp, inf
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from towers.errors import ConfigError
from towers.settings import bounded, check_ranges

_NUM_STATES = 801
_NUM_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class StochasticDecay:
    """A world in which quality is lost steadily, and in shocks.

    rate: λ per day, shocks apart. amplitude: A, all that can be lost.
    shock_probability: per day. shock_share: the share of what is left that a shock takes.
    """

    rate: float = bounded(0.05, gt=0.0)
    amplitude: float = bounded(0.08, gt=0.0)
    shock_probability: float = bounded(0.02, ge=0.0, le=1.0)
    shock_share: float = bounded(0.2, ge=0.0, le=1.0)

    def __post_init__(self) -> None:
        check_ranges(self, "stochastic_decay")

    @property
    def mean_rate(self) -> float:
        """λ of the mean loss over many models, shocks included."""
        return self.rate - float(np.log1p(-self.shock_probability * self.shock_share))

    def lost_in_day(self, loss: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """Quality-days lost in a day that begins at a loss."""
        lost: np.ndarray = self.amplitude - (self.amplitude - loss) * (1.0 - exp(-self.rate)) / self.rate
        return lost

    def next_day(self, loss: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """The loss a day later, shocks apart."""
        after: np.ndarray = self.amplitude - (self.amplitude - loss) * exp(-self.rate)
        return after

    def shocked(self, loss: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """The loss right after a shock."""
        after: np.ndarray = loss + self.shock_share * (self.amplitude - loss)
        return after


@runtime_checkable
class Policy(Protocol):
    """When to retrain, from what an operator can see in the morning."""

    def retrains(
        self, age_days: Int64[np.ndarray, " n"], measured_loss: Float64[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Whether to retrain each of n models of this age, whose loss was measured with an error."""
        ...


@dataclass(frozen=True, slots=True)
class EveryDays:
    """Retrains at an age, or before it where the measured loss has reached a limit; inf for neither.

    EveryDays() never retrains, EveryDays(1) does so daily, EveryDays(at_loss=x) is triggered by drift alone.
    """

    days: float = inf
    at_loss: float = inf

    def retrains(
        self, age_days: Int64[np.ndarray, " n"], measured_loss: Float64[np.ndarray, " n"]
    ) -> Bool[np.ndarray, " n"]:
        """Those old enough, or that have lost enough; a model of this morning is never retrained again."""
        due: np.ndarray = (age_days >= 1) & ((age_days >= self.days) | (measured_loss >= self.at_loss))
        return due


def simulated_cost(
    world: StochasticDecay,
    policy: Policy,
    *,
    cost: float,
    value: float,
    measurement_error: float,
    num_days: int = 2_000,
    num_services: int = 32,
    seed: int = 0,
) -> float:
    """Mean cost per day of a policy over independent services, after as many days again to settle.

    measurement_error: standard deviation of the loss that the policy sees in the morning.
    Shocks and errors of one seed are the same under every policy.
    """
    if num_days < 1 or num_services < 1 or measurement_error < 0.0:
        raise ConfigError(
            f"num_days = {num_days}, num_services = {num_services}, measurement_error = {measurement_error}; "
            "expected >= 1, >= 1, >= 0"
        )
    rng = np.random.default_rng(seed)
    loss, age = np.zeros(num_services), np.zeros(num_services, dtype=np.int64)
    total = 0.0
    for day in range(2 * num_days):
        retrains = policy.retrains(age, loss + rng.normal(0.0, measurement_error, num_services))
        loss, age = np.where(retrains, 0.0, loss), np.where(retrains, 0, age)
        if day >= num_days:
            total += cost * float(retrains.sum()) + value * float(world.lost_in_day(loss).sum())
        shock = rng.random(num_services) < world.shock_probability
        loss, age = world.next_day(loss), age + 1
        loss = np.where(shock, world.shocked(loss), loss)
    return total / (num_days * num_services)


@dataclass(frozen=True, slots=True)
class Optimum:
    """The least cost per day of any policy that sees the loss, and the loss at which it retrains."""

    cost_per_day: float
    at_loss: float


def optimal_cost(world: StochasticDecay, *, cost: float, value: float) -> Optimum:
    """The optimum by dynamic programming over the loss, decided each morning.

    With a cost rate g to be met, let W(x) be the least cost over g from a loss x until the next retrain:

        W(x) = min(0, v·l(x) − g + E[W(x')]).

    Value iteration finds W on a grid of losses, and g is halved onto the rate at which a cycle that begins
    with a retrain breaks even, C + v·l(0) − g + E[W(x' | 0)] = 0 (Puterman 1994, Markov Decision Processes,
    section 8.2; Ross 1970, Applied Probability Models with Optimization Applications, on average-cost optimal
    stopping).
    """
    loss = np.linspace(0.0, world.amplitude, _NUM_STATES)
    running = value * world.lost_in_day(loss)
    calm = world.next_day(loss)
    shocked = world.shocked(calm)

    def expected(ahead: np.ndarray) -> np.ndarray:
        steady, hit = np.interp(calm, loss, ahead), np.interp(shocked, loss, ahead)
        mean: np.ndarray = (1.0 - world.shock_probability) * steady + world.shock_probability * hit
        return mean

    def ahead_at(rate: float) -> np.ndarray:
        ahead, change = np.zeros(_NUM_STATES), inf
        while change > 1e-9 * cost:
            following = np.minimum(0.0, running - rate + expected(ahead))
            change = float(np.abs(following - ahead).max())
            ahead = following
        kept: np.ndarray = running - rate + expected(ahead)
        return kept

    if cost <= 0.0:
        return Optimum(float(running[0]), 0.0)
    never = value * world.amplitude
    low, high = 0.0, never
    # At the rate of never every loss is worth keeping, and value iteration would creep: one look just below.
    if cost + ahead_at(never * (1.0 - 1e-6))[0] > 0.0:
        return Optimum(never, inf)
    for _ in range(_NUM_HALVINGS):
        rate = (low + high) / 2.0
        low, high = (rate, high) if cost + ahead_at(rate)[0] > 0.0 else (low, rate)
    ahead = ahead_at(high)
    retrains = np.flatnonzero(ahead >= 0.0)
    return Optimum(high, float(loss[retrains[0]]) if len(retrains) else inf)
