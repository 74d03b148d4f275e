"""The interval of a lift holds at all looks together, and finds what is there."""

import math

import numpy as np
import pytest

from towers.errors import QueryError
from towers.evaluation.sequential import Arm, anytime_lift


def _arm(outcome: np.ndarray, answers: np.ndarray | None = None) -> Arm:
    return Arm(np.ones(len(outcome), np.int64) if answers is None else answers, outcome)


def test_the_interval_is_that_of_the_formula() -> None:
    arm, other = _arm(np.array([2.0, 4.0])), _arm(np.array([1.0, 3.0]))
    found = anytime_lift(arm, other, effect=0.5, alpha=0.05)
    assert found is not None
    # Means 3 and 2; variances of the means 1 and 1: v = 1/9 + 1/4.
    v = 1 / 9 + 1 / 4
    width = math.sqrt(v * (1 + v / 0.25) * (2 * math.log(20) + math.log(1 + 0.25 / v)))
    assert found.lift == pytest.approx(0.5)
    assert math.log1p(found.low) == pytest.approx(math.log(1.5) - width)
    assert math.log1p(found.high) == pytest.approx(math.log(1.5) + width)


def test_answers_of_one_profile_go_together() -> None:
    rng = np.random.default_rng(0)
    liking = rng.gamma(2.0, 1.0, 400)
    together = _arm(10 * liking, np.full(400, 10))
    apart = _arm(np.repeat(liking, 10))  # as if they were of ten profiles each
    wide, narrow = (anytime_lift(each, each, effect=0.1, alpha=0.05) for each in (together, apart))
    assert wide is not None
    assert narrow is not None
    assert math.log1p(wide.high) > 2.0 * math.log1p(narrow.high)


def test_looking_at_every_profile_finds_no_difference_where_there_is_none() -> None:
    rng = np.random.default_rng(1)
    num_seeds, num_found, num_wrong_at_any_look = 200, 0, 0
    looks = np.arange(100, 2001, 50)
    for _ in range(num_seeds):
        one, two = rng.lognormal(3.0, 1.0, (2, 2000))
        intervals = [
            anytime_lift(_arm(one[:look]), _arm(two[:look]), effect=0.1, alpha=0.05) for look in looks
        ]
        num_wrong_at_any_look += any(
            each is not None and not each.low < 0.0 < each.high for each in intervals
        )
        worse = [
            anytime_lift(_arm(0.7 * one[:look]), _arm(two[:look]), effect=0.1, alpha=0.05) for look in looks
        ]
        num_found += any(each is not None and each.high < 0.0 for each in worse)
    assert num_wrong_at_any_look <= 0.05 * num_seeds
    assert num_found >= 0.95 * num_seeds


def test_nothing_is_said_of_arms_that_hold_nothing_and_of_what_is_no_outcome() -> None:
    full = _arm(np.array([1.0, 2.0]))
    assert anytime_lift(_arm(np.array([1.0])), full, effect=0.1, alpha=0.05) is None
    assert anytime_lift(full, _arm(np.zeros(5)), effect=0.1, alpha=0.05) is None
    same = anytime_lift(_arm(np.ones(3)), _arm(np.ones(3)), effect=0.1, alpha=0.05)
    assert same is not None
    assert (same.low, same.high) == (0.0, 0.0)
    for outcome in (np.array([-1.0, 2.0]), np.array([np.nan, 1.0])):
        with pytest.raises(QueryError, match="negative or not finite"):
            _arm(outcome)
    with pytest.raises(QueryError, match="at least one answer"):
        _arm(np.ones(2), np.array([1, 0]))
    with pytest.raises(QueryError, match="effect"):
        anytime_lift(full, full, effect=0.0, alpha=0.05)


def test_an_arm_that_does_nothing_at_all_is_worse_once_there_are_enough() -> None:
    half = _arm(np.tile([0.0, 3.0], 50))
    few, many = (anytime_lift(_arm(np.zeros(num)), half, effect=0.1, alpha=0.05) for num in (3, 100))
    assert few is not None
    assert many is not None
    # 1 - .05^(1/3) = .632 and 1 - .05^(1/100) = .0295 of all, over the half of the others.
    assert few.high == pytest.approx(0.632 / 0.5 - 1.0, abs=0.001)
    assert many.high == pytest.approx(0.0295 / 0.5 - 1.0, abs=0.001)
