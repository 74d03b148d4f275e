"""The simulated service and its optimum against closed forms and a search over all thresholds."""

import math
from typing import TypedDict

import numpy as np
import pytest

from towers.errors import ConfigError
from towers.evaluation.retraining import cost_per_day, optimal_days
from towers.evaluation.retraining_policies import (
    EveryDays,
    StochasticDecay,
    optimal_cost,
    simulated_cost,
)

CALM = StochasticDecay(rate=0.06, amplitude=0.08, shock_probability=0.0, shock_share=0.0)
SHOCKS = StochasticDecay(rate=0.04, amplitude=0.08, shock_probability=0.03, shock_share=0.5)


class Prices(TypedDict):
    cost: float
    value: float


PRICES = Prices(cost=800.0, value=10_000.0)


def simulated(
    world: StochasticDecay,
    policy: EveryDays,
    *,
    num_days: int = 600,
    num_services: int = 200,
    error: float = 0.0,
) -> float:
    return simulated_cost(
        world,
        policy,
        **PRICES,
        measurement_error=error,
        num_days=num_days,
        num_services=num_services,
    )


@pytest.mark.parametrize("days", [1, 7, 20])
def test_without_shocks_a_simulated_interval_costs_what_the_formula_says(days: int) -> None:
    expected = cost_per_day(float(days), **PRICES, amplitude=0.08, rate=0.06)
    found = simulated(CALM, EveryDays(float(days)), num_days=20 * days, num_services=2, error=0.01)
    assert found == pytest.approx(expected, rel=1e-9)


def test_never_costs_the_whole_amplitude() -> None:
    assert simulated(CALM, EveryDays(), num_services=2) == pytest.approx(800.0)


def test_the_mean_loss_of_many_models_follows_the_mean_rate() -> None:
    rng = np.random.default_rng(0)
    loss = np.zeros(20_000)
    for _ in range(25):
        loss = SHOCKS.next_day(loss)
        loss = np.where(rng.random(len(loss)) < 0.03, SHOCKS.shocked(loss), loss)
    assert loss.mean() == pytest.approx(0.08 * (1.0 - math.exp(-SHOCKS.mean_rate * 25)), rel=0.01)


@pytest.mark.parametrize("cost", [20.0, 800.0, 5_000.0])
def test_without_shocks_the_optimum_is_the_best_of_all_intervals(cost: float) -> None:
    optimum = optimal_cost(CALM, cost=cost, value=10_000.0)
    best = min(
        cost_per_day(float(days), cost=cost, value=10_000.0, amplitude=0.08, rate=0.06)
        for days in range(1, 400)
    )
    assert optimum.cost_per_day == pytest.approx(best, rel=1e-3)


def test_with_shocks_no_threshold_on_the_true_loss_costs_less_than_the_optimum() -> None:
    optimum = optimal_cost(SHOCKS, **PRICES)
    costs = {
        at_loss: simulated(SHOCKS, EveryDays(at_loss=at_loss))
        for at_loss in (0.5 * optimum.at_loss, optimum.at_loss, 1.6 * optimum.at_loss)
    }
    assert costs[optimum.at_loss] == pytest.approx(optimum.cost_per_day, rel=0.01)
    assert min(costs.values()) == costs[optimum.at_loss]
    assert max(costs.values()) > 1.02 * optimum.cost_per_day


def test_under_hard_shocks_the_interval_of_the_mean_curve_costs_little_and_a_limit_on_loss_wins_it_back() -> (
    None
):
    days = optimal_days(**PRICES, amplitude=0.08, rate=SHOCKS.mean_rate)
    at_loss = 0.08 * (1.0 - math.exp(-SHOCKS.mean_rate * days))
    optimum = optimal_cost(SHOCKS, **PRICES).cost_per_day
    by_age = simulated(SHOCKS, EveryDays(float(round(days))))
    by_either = simulated(SHOCKS, EveryDays(float(round(days)), at_loss=at_loss))
    assert 1.05 < by_age / optimum < 1.15
    assert by_either / optimum < 1.02


def test_the_optimum_of_a_free_and_of_a_ruinous_retrain() -> None:
    free = optimal_cost(CALM, cost=0.0, value=10_000.0)
    assert free.cost_per_day == pytest.approx(
        cost_per_day(1.0, cost=0.0, value=10_000.0, amplitude=0.08, rate=0.06), rel=1e-9
    )
    ruinous = optimal_cost(CALM, cost=1e6, value=10_000.0)
    assert (ruinous.cost_per_day, ruinous.at_loss) == (800.0, math.inf)


def test_a_policy_retrains_by_age_or_by_loss_but_not_a_model_of_this_morning() -> None:
    age = np.array([0, 3, 3, 7])
    loss = np.array([9.0, 0.4, 0.5, 0.0])
    assert EveryDays(7.0, at_loss=0.5).retrains(age, loss).tolist() == [False, False, True, True]
    assert EveryDays().retrains(age, loss).tolist() == [False] * 4


def test_a_world_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stochastic_decay\.rate"):
        StochasticDecay(rate=0.0)
    with pytest.raises(ConfigError, match="num_days = 0"):
        simulated(CALM, EveryDays(), num_days=0)
