"""From scores to rankings, against sorting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import watched
from towers.errors import QueryError
from towers.ladder.dense import rank_scores
from towers.recommender import PAD


@settings(deadline=None)
@given(
    scores=st.lists(st.lists(st.integers(-3, 3), min_size=7, max_size=7), min_size=1, max_size=4),
    known=st.lists(st.lists(st.integers(0, 6), max_size=7), min_size=4, max_size=4),
    k=st.integers(0, 9),
)
def test_it_is_a_sort_by_score_then_row_without_the_history(
    scores: list[list[int]], known: list[list[int]], k: int
) -> None:
    known = known[: len(scores)]
    rankings = rank_scores(np.array(scores, dtype=np.float32), watched(known), k)
    for line, history, row, score in zip(
        scores, known, rankings.item_row.tolist(), rankings.score.tolist(), strict=True
    ):
        best = sorted(
            (item for item in range(7) if item not in history), key=lambda item: (-line[item], item)
        )
        best = best[:k]
        assert row == [*best, *[PAD] * (k - len(best))]
        assert score == [*(line[item] for item in best), *[-np.inf] * (k - len(best))]


def test_an_item_that_was_not_scored_is_not_ranked() -> None:
    scores = np.array([[1.0, np.nan, -np.inf, 2.0]], dtype=np.float32)
    assert rank_scores(scores, watched([[]]), 4).item_row.tolist() == [[3, 0, PAD, PAD]]


def test_a_history_outside_the_catalogue_is_refused() -> None:
    with pytest.raises(QueryError, match="run from 4 to 4; expected 0 to 3"):
        rank_scores(np.zeros((1, 4), dtype=np.float32), watched([[4]]), 2)
