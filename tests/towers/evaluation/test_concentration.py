"""Exposure, novelty and popularity lift against tables worked out by hand and plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.evaluation.questions import histories
from towers.errors import QueryError
from towers.evaluation.concentration import concentration, gini, novelty, popularity_lift, self_information
from towers.recommender import PAD

NUM_WATCHES = np.array([6, 2, 0, 0])


def test_titles_shown_equally_often_have_no_inequality() -> None:
    assert gini(np.full(7, 3)) == pytest.approx(0.0)


def test_one_title_shown_alone_is_as_unequal_as_a_catalogue_allows() -> None:
    assert gini(np.array([0, 0, 9, 0])) == pytest.approx(1 - 1 / 4)


def test_nothing_shown_is_not_unequal() -> None:
    assert gini(np.zeros(3, np.int64)) == 0.0


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any))
def test_gini_is_half_the_mean_difference_of_all_pairs_over_the_mean(exposure: list[int]) -> None:
    pairs = sum(abs(a - b) for a in exposure for b in exposure)
    mean = sum(exposure) / len(exposure)
    assert gini(np.array(exposure)) == pytest.approx(pairs / (2 * len(exposure) ** 2 * mean))


def test_surprise_is_in_bits_and_finite_for_a_title_nobody_watched() -> None:
    # 8 events and one more for each of 4 titles: 7/12, 3/12, 1/12, 1/12.
    expected = [math.log2(12 / 7), math.log2(4), math.log2(12), math.log2(12)]
    np.testing.assert_allclose(self_information(NUM_WATCHES), expected)
    assert novelty(np.array([1, 0, 2, 0]), NUM_WATCHES) == pytest.approx((expected[0] + 2 * expected[2]) / 3)
    assert novelty(np.zeros(4, np.int64), NUM_WATCHES) is None


def test_the_lift_is_the_popularity_shown_over_that_of_the_histories() -> None:
    # Shown to the known profiles: (6 + 0)/2 and 2/1; watched before: 2 and (6 + 2 + 0)/3. Question 2 is new.
    top = np.array([[0, 2], [1, PAD], [0, 1]])
    lift = popularity_lift(top, histories([[1], [0, 1, 3], []]), NUM_WATCHES)
    assert lift == pytest.approx(((3 + 2) / 2) / ((2 + 8 / 3) / 2))


def test_answering_with_what_was_watched_before_lifts_nothing() -> None:
    rng = np.random.default_rng(0)
    lists = [rng.choice(30, 4, replace=False).tolist() for _ in range(20)]
    num_watches = rng.integers(1, 50, 30)
    assert popularity_lift(np.array(lists), histories(lists), num_watches) == pytest.approx(1.0)


def test_without_histories_or_their_train_events_there_is_no_lift() -> None:
    top = np.array([[0, 1]])
    assert popularity_lift(top, histories([[]]), NUM_WATCHES) is None
    assert popularity_lift(top, histories([[2, 3]]), NUM_WATCHES) is None
    assert popularity_lift(np.array([[PAD, PAD]]), histories([[0]]), NUM_WATCHES) is None


def test_only_the_top_k_counts() -> None:
    rows = np.array([[0, 1, 2], [0, 3, PAD]])
    found = concentration(rows, 1, num_items=4, num_watches=NUM_WATCHES, history=histories([[0], [1]]))
    assert found.gini == pytest.approx(3 / 4)
    assert found.novelty == pytest.approx(math.log2(12 / 7))
    assert found.popularity_lift == pytest.approx(6 / 4)
    assert concentration(rows, 3, num_items=4).novelty is None
    with pytest.raises(QueryError, match="k = 4: expected 1 to 3"):
        concentration(rows, 4, num_items=4)
