"""The paired bootstrap against worlds whose true difference is known."""

import numpy as np
import pytest

from towers.errors import QueryError
from towers.evaluation.bootstrap import Interval, mean_intervals, paired_bootstrap


def test_the_interval_holds_a_planted_difference_about_as_often_as_it_says() -> None:
    # Per query both hit or miss; true difference of means is .30 - .22 = .08, with shared difficulty.
    rng = np.random.default_rng(5)
    held = 0
    num_worlds = 400
    for world in range(num_worlds):
        difficulty = rng.random(250)
        value = (difficulty < 0.30).astype(float)
        reference = np.where(rng.random(250) < 0.8, difficulty < 0.22, rng.random(250) < 0.22).astype(float)
        interval = paired_bootstrap(value, reference, num_resamples=400, seed=world)
        held += interval.low <= 0.08 <= interval.high
    # 95 % of 400, give or take four standard errors of 1.1 points.
    assert 0.905 <= held / num_worlds <= 0.99


def test_a_narrower_level_holds_the_truth_less_often() -> None:
    rng = np.random.default_rng(6)
    held = 0
    for world in range(400):
        value, reference = rng.normal(0.1, 1.0, 200), rng.normal(0.0, 1.0, 200)
        interval = paired_bootstrap(value, reference, num_resamples=400, level=0.5, seed=world)
        held += interval.low <= 0.1 <= interval.high
    assert 0.40 <= held / 400 <= 0.60


def test_the_difference_is_that_of_the_means() -> None:
    interval = paired_bootstrap(np.array([1.0, 0.0, 0.5]), np.array([0.0, 0.0, 0.2]))
    assert interval.difference == pytest.approx(0.5 - 0.2 / 3)
    assert interval.low <= interval.difference <= interval.high


def test_its_spread_is_that_of_resampled_means() -> None:
    # The standard error of the mean of differences is known, so the 95 % interval is 3.92 of them wide.
    difference = np.random.default_rng(2).normal(0.3, 1.0, 1_000)
    difference[:600] = 0.0
    interval = paired_bootstrap(difference, np.zeros(1_000), num_resamples=4_000)
    width = 2 * 1.96 * difference.std() / np.sqrt(1_000)
    assert interval.high - interval.low == pytest.approx(width, rel=0.06)


def test_what_makes_a_query_hard_for_both_cancels() -> None:
    shared = np.random.default_rng(1).normal(0.0, 10.0, 500)
    interval = paired_bootstrap(shared + 0.1, shared)
    assert [interval.low, interval.high] == pytest.approx([0.1, 0.1])


def test_swapping_the_two_turns_the_sign() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.random(300), rng.random(300)
    forth, back = paired_bootstrap(one, other), paired_bootstrap(other, one)
    assert forth.low == pytest.approx(-back.high)
    assert forth.high == pytest.approx(-back.low)


def test_equal_recommenders_differ_by_nothing() -> None:
    value = np.random.default_rng(4).random(50)
    interval = paired_bootstrap(value, value)
    assert interval == Interval(0.0, 0.0, 0.0, 0.95)


def test_a_seed_fixes_the_interval_and_another_moves_it() -> None:
    rng = np.random.default_rng(7)
    one, other = rng.random(100), rng.random(100)
    assert paired_bootstrap(one, other, seed=1) == paired_bootstrap(one, other, seed=1)
    assert paired_bootstrap(one, other, seed=1) != paired_bootstrap(one, other, seed=2)


def test_many_queries_are_drawn_in_parts_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    difference = np.random.default_rng(8).normal(0.0, 1.0, 2_000)
    monkeypatch.setattr("towers.evaluation.bootstrap._MAX_DRAWS", 10_000)
    interval = paired_bootstrap(difference, np.zeros(2_000))
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / np.sqrt(2_000), rel=0.1)


@pytest.mark.parametrize("num_distinct", [2, 1_000])
def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says(num_distinct: int) -> None:
    # Few distinct values are drawn by how often, many one by one: both are the same bootstrap.
    value = np.random.default_rng(9).integers(0, num_distinct, 1_000) / (num_distinct - 1)
    found = mean_intervals({"metric": value}, num_resamples=4_000)["metric"]
    assert found is not None
    assert found.mean == pytest.approx(value.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * value.std() / np.sqrt(1_000), rel=0.06)
    assert (found.low + found.high) / 2 == pytest.approx(value.mean(), abs=0.002)


def test_the_interval_of_a_mean_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(10)
    held = 0
    for world in range(400):
        hits = (rng.random(80) < 0.3).astype(float)
        found = mean_intervals({"metric": hits}, num_resamples=400, seed=world)["metric"]
        assert found is not None
        held += found.low <= 0.3 <= found.high
    assert 0.90 <= held / 400 <= 0.985


def test_a_mean_of_equal_values_has_an_interval_without_width() -> None:
    found = mean_intervals({"metric": np.full(40, 0.5)})["metric"]
    assert found is not None
    assert [found.low, found.high] == pytest.approx([0.5, 0.5], abs=1e-12)


def test_one_question_has_no_interval() -> None:
    assert mean_intervals({"a": np.ones(1), "b": np.zeros(1)}) == {"a": None, "b": None}


def test_metrics_of_other_questions_are_refused() -> None:
    with pytest.raises(QueryError, match="unequal lengths"):
        mean_intervals({"a": np.ones(3), "b": np.ones(4)})
    with pytest.raises(QueryError, match="not finite"):
        mean_intervals({"a": np.array([1.0, np.nan])})


@pytest.mark.parametrize(
    ("value", "reference", "settings", "message"),
    [
        ([1.0], [1.0, 2.0], {}, "1 values against 2"),
        ([], [], {}, "no queries"),
        ([np.nan], [1.0], {}, "not finite"),
        ([1.0], [1.0], {"num_resamples": 0}, "num_resamples = 0"),
        ([1.0], [1.0], {"level": 1.0}, "level = 1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    value: list[float], reference: list[float], settings: dict[str, int], message: str, shapes_unchecked: None
) -> None:
    with pytest.raises(QueryError, match=message):
        paired_bootstrap(np.array(value), np.array(reference), **settings)
