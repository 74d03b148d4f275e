"""The sign-flip test against enumeration by hand and worlds without a difference; Holm against its table."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.errors import QueryError
from towers.evaluation.significance import holm, sign_flip


def test_few_queries_are_flipped_in_every_way() -> None:
    # Differences 3, 1, -1: the sum is 3; of 8 patterns ±3±1±1 those of size 3 or more are 3+1+1, 3+1-1, 3-1+1
    # and their opposites.
    assert sign_flip(np.array([3.0, 1.0, 0.0, 5.0]), np.array([0.0, 0.0, 1.0, 5.0])) == pytest.approx(6 / 8)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_the_exact_value_is_that_of_a_plain_enumeration(difference: list[int]) -> None:
    seen = abs(sum(difference))
    patterns = list(product((-1, 1), repeat=len(difference)))
    beyond = sum(abs(sum(s * d for s, d in zip(p, difference, strict=True))) >= seen for p in patterns)
    found = sign_flip(np.array(difference) / 10.0, np.zeros(len(difference)))
    assert found == pytest.approx(beyond / len(patterns))


def test_drawn_flips_come_near_the_exact_value() -> None:
    rng = np.random.default_rng(1)
    difference = rng.normal(0.1, 1.0, 12)
    exact = sign_flip(difference, np.zeros(12))
    drawn = sign_flip(difference, np.zeros(12), num_flips=4_000)
    assert 0.05 < exact < 0.95
    assert drawn == pytest.approx(exact, abs=4 * 0.5 / np.sqrt(4_000))


def test_flips_in_parts_of_bounded_size_are_flips_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    difference = np.random.default_rng(2).normal(0.05, 1.0, 1_000)
    whole = sign_flip(difference, np.zeros(1_000), num_flips=2_000)
    monkeypatch.setattr("towers.evaluation.significance._MAX_BYTES", 10_000)
    parts = sign_flip(difference, np.zeros(1_000), num_flips=2_000)
    assert parts == pytest.approx(whole, abs=0.06)


def test_alike_recommenders_are_called_different_as_rarely_as_said() -> None:
    rng = np.random.default_rng(3)
    found = []
    for world in range(400):
        one, other = rng.random((2, 60)) * (rng.random((2, 60)) < 0.4)
        found.append(sign_flip(one, other, num_flips=199, seed=world))
    # Two standard errors above 5 % and 50 % of 400 worlds: 2.2 and 5 points.
    assert np.mean(np.array(found) <= 0.05) <= 0.072
    assert np.mean(np.array(found) <= 0.5) == pytest.approx(0.5, abs=0.08)


def test_a_sure_difference_is_found_and_is_never_certain() -> None:
    one = np.random.default_rng(4).normal(1.0, 0.5, 200)
    assert sign_flip(one, np.zeros(200), num_flips=999) == 1 / 1000
    assert sign_flip(one, one) == 1.0


def test_holm_gives_the_table_worked_out_by_hand() -> None:
    # Sorted .005 .01 .03 .04, times 4, 3, 2, 1: .02 .03 .06 .04, and no value below the one before it.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], level: float) -> None:
    rejected = set[int]()
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] * (len(p_values) - step) > level:
            break
        rejected.add(place)
    assert set(np.flatnonzero(holm(p_values) <= level)) == rejected


def test_any_false_alarm_over_many_slices_is_as_rare_as_said() -> None:
    # 20 slices without any difference, neighbours sharing half of their queries: without the correction one
    # of them looks different in most worlds.
    rng = np.random.default_rng(5)
    plain, corrected = 0, 0
    for world in range(200):
        difference = rng.normal(size=21 * 15)
        parts = [difference[15 * part : 15 * part + 30] for part in range(20)]
        p_values = [sign_flip(part, np.zeros(30), num_flips=999, seed=world) for part in parts]
        plain += min(p_values) <= 0.05
        corrected += holm(p_values).min() <= 0.05
    assert plain / 200 > 0.4
    assert corrected / 200 <= 0.05 + 2 * 0.0154


@pytest.mark.parametrize(
    ("value", "reference", "num_flips", "message"),
    [
        ([1.0], [1.0, 2.0], 10, "1 values against 2"),
        ([], [], 10, "0 values"),
        ([np.nan], [1.0], 10, "not finite"),
        ([1.0], [1.0], 0, "num_flips = 0"),
    ],
)
def test_what_cannot_be_tested_is_refused(
    value: list[float], reference: list[float], num_flips: int, message: str, shapes_unchecked: None
) -> None:
    with pytest.raises(QueryError, match=message):
        sign_flip(np.array(value), np.array(reference), num_flips=num_flips)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_not_corrected(p: float) -> None:
    with pytest.raises(QueryError, match="outside 0 to 1"):
        holm([0.5, p])
