"""Matches in order, against sorting all of them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.search.lexical import Matches
from retrieval.search.order import best_first, fused
from retrieval.search.titles import Fit


def _matches(score: list[float], fit: list[int] | None = None) -> Matches:
    row = np.arange(len(score))
    return Matches(row, np.array(score, np.float32), np.array(fit or [0] * len(score), np.int64))


@given(seed=st.integers(0, 2**32 - 1), num=st.integers(0, 3000), k=st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_the_best_are_those_of_a_full_sort(seed: int, num: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(1, 4, num) / 4
    place = rng.permutation(num)
    row, found = best_first(_matches(score.tolist()), k, place)
    expected = sorted(range(num), key=lambda one: (-score[one], place[one]))[:k]
    assert row.tolist() == expected
    assert found.tolist() == score[expected].tolist()


def test_who_asks_orders_equal_matches_and_no_others() -> None:
    liking = np.array([0.1, 0.9, 0.5, 0.7], np.float32)
    row, _ = best_first(_matches([0.5, 0.5, 0.5, 0.4]), 4, np.arange(4), lambda rows: liking[rows])
    assert row.tolist() == [1, 2, 0, 3]


def test_what_only_a_vector_finds_stands_among_the_matches() -> None:
    matches = _matches([4.0, 0.9, 0.9, 0.2], [Fit.WHOLE, 0, 0, 0])
    found = fused(matches, np.array([3, 0, 9, 1, 7]))
    assert found.row.tolist() == [0, 1, 2, 3, 7, 9]
    assert found.fit.tolist() == [Fit.WHOLE, 0, 0, 0, 0, 0]
    # By hand: a quarter at the first place of what does not match, 20/21 of it at the second.
    np.testing.assert_allclose(found.score, [4.0, 0.9, 0.9, 0.2, 0.25 * 20 / 21, 0.25], rtol=1e-6)
    row, _ = best_first(matches, 5, np.arange(10), dense=np.array([3, 0, 9, 1, 7]))
    assert row.tolist() == [0, 1, 2, 9, 7]


def test_without_matches_a_vector_answers_alone() -> None:
    row, _ = best_first(_matches([]), 2, np.arange(9), dense=np.array([5, 2, 8]))
    assert row.tolist() == [5, 2]
