"""The interval between retrains against integration, search and the limits that theory knows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import ConfigError
from towers.evaluation.retraining import (
    RetrainingSettings,
    check_retraining,
    cost_per_day,
    optimal_days,
    whole_days,
)


@pytest.mark.parametrize("days", [0.01, 1.0, 30.0, 400.0])
@pytest.mark.parametrize("rate", [1e-6, 0.05, 2.0])
def test_the_cost_is_that_of_the_loss_integrated_over_the_interval(days: float, rate: float) -> None:
    middle = (np.arange(200_000) + 0.5) * days / 200_000
    lost = float(np.mean(-np.expm1(-rate * middle))) * days
    expected = (70.0 + 500.0 * 0.08 * lost) / days
    assert cost_per_day(days, cost=70.0, value=500.0, amplitude=0.08, rate=rate) == pytest.approx(
        expected, rel=1e-9
    )


def test_never_costs_the_whole_amplitude_and_is_the_limit_of_long_intervals() -> None:
    never = cost_per_day(math.inf, cost=70.0, value=500.0, amplitude=0.08, rate=0.05)
    assert never == pytest.approx(40.0)
    assert cost_per_day(1e9, cost=70.0, value=500.0, amplitude=0.08, rate=0.05) == pytest.approx(never)


@given(share=st.floats(1e-9, 0.999), rate=st.floats(1e-4, 5.0), amplitude=st.floats(1e-3, 0.5))
def test_no_interval_costs_less_than_the_best(share: float, rate: float, amplitude: float) -> None:
    value = 1_000.0
    cost = share * value * amplitude / rate
    prices = {"cost": cost, "value": value, "amplitude": amplitude, "rate": rate}
    best = optimal_days(**prices)
    least = cost_per_day(best, **prices)
    for factor in (0.1, 0.5, 0.9, 0.999, 1.001, 1.1, 2.0, 10.0, math.inf):
        assert least <= cost_per_day(best * factor, **prices) * (1.0 + 1e-12)
    # At the best interval the loss of the next day costs what an average day does.
    assert least == pytest.approx(-value * amplitude * math.expm1(-rate * best), rel=1e-6)


@given(share=st.floats(1e-12, 1.0 - 1e-9))
def test_it_solves_its_first_order_condition(share: float) -> None:
    u = optimal_days(cost=share, value=1.0, amplitude=1.0, rate=1.0)
    low, high = 0.0, 50.0
    for _ in range(200):
        middle = (low + high) / 2.0
        # 1 − (1 + u)·exp(−u) = ∫ t·exp(−t) dt up to u: the series of its tail never cancels.
        term, tail = middle**2 / 2.0, 0.0
        for k in range(3, 400):
            tail += term
            term *= middle / k
        low, high = (middle, high) if tail * math.exp(-middle) < share else (low, middle)
    assert u == pytest.approx(low, rel=1e-6)


def test_the_limits_are_those_of_theory() -> None:
    assert optimal_days(cost=0.0, value=1.0, amplitude=0.1, rate=0.1) == 0.0
    # A retrain that costs all it could ever win back, vA/λ, or more.
    assert optimal_days(cost=1.0, value=1.0, amplitude=0.1, rate=0.1) == math.inf
    assert optimal_days(cost=0.999, value=1.0, amplitude=0.1, rate=0.1) < math.inf
    for amplitude, rate, value in ((0.0, 0.1, 1.0), (-0.1, 0.1, 1.0), (0.1, 0.0, 1.0), (0.1, 0.1, 0.0)):
        assert optimal_days(cost=1.0, value=value, amplitude=amplitude, rate=rate) == math.inf
    # λ → 0 at a slope λA of .004 a day: √(2C / (v·slope)).
    slow = optimal_days(cost=8.0, value=10.0, amplitude=0.004 / 1e-9, rate=1e-9)
    assert slow == pytest.approx(math.sqrt(2 * 8.0 / (10.0 * 0.004)), rel=1e-6)


def test_whole_days_are_the_cheaper_neighbour_within_bounds() -> None:
    settings = RetrainingSettings(cost=100.0, value_per_point_day=50.0, shortest_days=2, longest_days=30)
    for rate in (0.02, 0.05, 0.1, 0.4):
        prices = {"cost": 100.0, "value": 5_000.0, "amplitude": 0.08, "rate": rate}
        best = optimal_days(**prices)
        costs = {days: cost_per_day(float(days), **prices) for days in range(2, 31)}
        assert whole_days(best, settings, amplitude=0.08, rate=rate) == min(costs, key=costs.__getitem__)
    assert whole_days(0.0, settings, amplitude=0.08, rate=0.1) == 2
    assert whole_days(math.inf, settings, amplitude=0.08, rate=0.1) == 30
    assert whole_days(math.inf, RetrainingSettings(), amplitude=0.08, rate=0.1) is None


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"retraining\.cost: -1\.0 is out of range"):
        check_retraining(RetrainingSettings(cost=-1.0))
    with pytest.raises(ConfigError, match=r"retraining\.longest_days: 3; expected at least shortest_days, 7"):
        check_retraining(RetrainingSettings(shortest_days=7, longest_days=3))
