"""The gap that can be seen is the one that a test of two means finds in four worlds of five."""

import math

import numpy as np
import pytest

from towers.errors import QueryError
from towers.evaluation.detectable import Spread, detectable_gap


def found_share(gap: float, num: int, rest: int, rate: float, seed: int) -> float:
    """How often Welch's test at 5 % finds a planted gap between two hit rates, over 4,000 worlds."""
    rng = np.random.default_rng(seed)
    one = rng.binomial(num, rate + gap, 4_000) / num
    other = rng.binomial(rest, rate, 4_000) / rest
    error = np.sqrt(one * (1 - one) / (num - 1) + other * (1 - other) / (rest - 1))
    return float(np.mean(np.abs(one - other) > 1.959964 * error))


@pytest.mark.parametrize(("num", "rest", "rate"), [(100, 5_000, 0.3), (400, 400, 0.2), (1_000, 300, 0.5)])
def test_a_planted_gap_of_that_size_is_found_in_four_worlds_of_five(num: int, rest: int, rate: float) -> None:
    # The variance of the slice is that at its own rate, so the gap solves for itself in a few steps.
    gap = 0.0
    for _ in range(20):
        own = rate + gap
        one = Spread(num, own, own * (1 - own) * num / (num - 1))
        found = detectable_gap(one, Spread(rest, rate, rate * (1 - rate) * rest / (rest - 1)))
        assert found is not None
        gap = found
    assert found_share(gap, num, rest, rate, seed=1) == pytest.approx(0.80, abs=0.03)
    assert found_share(0.0, num, rest, rate, seed=2) == pytest.approx(0.05, abs=0.02)
    assert found_share(gap / 2, num, rest, rate, seed=3) < 0.4


def test_the_gap_is_two_point_eight_standard_errors() -> None:
    gap = detectable_gap(Spread(50, 0.0, 2.0), Spread(200, 0.0, 4.0))
    assert gap == pytest.approx((1.959964 + 0.841621) * math.sqrt(2 / 50 + 4 / 200), rel=1e-6)


def test_four_times_as_many_questions_show_half_the_gap() -> None:
    small = detectable_gap(Spread(25, 0.1, 1.0), Spread(100, 0.1, 1.0))
    large = detectable_gap(Spread(100, 0.1, 1.0), Spread(400, 0.1, 1.0))
    assert small is not None
    assert large == pytest.approx(small / 2)


def test_one_question_shows_no_gap_at_all() -> None:
    many = Spread.of(np.array([0.0, 1.0, 1.0]))
    assert detectable_gap(Spread.of(np.array([1.0])), many) is None
    assert detectable_gap(many, Spread.of(np.zeros(0))) is None


def test_a_spread_is_the_mean_and_the_sample_variance() -> None:
    found = Spread.of(np.array([1.0, 2.0, 6.0]))
    assert (found.num, found.mean, found.variance) == (3, 3.0, (4 + 1 + 9) / 2)


@pytest.mark.parametrize(("level", "power"), [(1.0, 0.8), (0.95, 0.0)])
def test_a_level_or_power_that_is_no_probability_is_refused(level: float, power: float) -> None:
    with pytest.raises(QueryError, match="between 0 and 1"):
        detectable_gap(Spread(5, 0.0, 1.0), Spread(5, 0.0, 1.0), level=level, power=power)
