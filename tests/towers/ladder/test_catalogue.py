"""Ranking the whole catalogue: scored items first, the others by popularity, whatever the batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from towers.ladder.catalogue import most_watched, rank_catalogue, recency_weights
from towers.recommender import PAD, Queries


@hypothesis_settings(deadline=None)
@given(
    scores=st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=6, max_size=6),
    order=st.permutations(range(6)),
    known=st.lists(st.integers(0, 5), max_size=3, unique=True),
    factor=st.sampled_from([1e-3, 1.0, 1e6]),
)
def test_it_is_a_sort_of_the_scored_items_and_then_the_order(
    scores: list[int | None], order: list[int], known: list[int], factor: float
) -> None:
    line = np.array([np.nan if score is None else score * factor for score in scores], np.float32)
    rankings = rank_catalogue(asked([known]), 6, np.array(order), lambda part: line[None].copy())
    open_items = [item for item in range(6) if item not in known]
    scored = [(-score, item) for item in open_items if (score := scores[item]) is not None]
    rest = [item for item in order if item in open_items and scores[item] is None]
    expected = [*(item for _, item in sorted(scored)), *rest]
    assert rankings.item_row[0].tolist() == [*expected, *[PAD] * len(known)]
    shown = rankings.score[0, : len(expected)]
    assert np.all(np.diff(shown) <= 0)
    if rest:
        # What was not scored is below all that was, and no two of it are equal.
        assert np.all(np.diff(shown[len(scored) :]) < 0)
        assert shown[len(scored)] < min([0.0, *(factor * score for score in scores if score is not None)])


def test_batches_of_one_query_each_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(9, 20)).astype(np.float32)
    table[rng.random((9, 20)) < 0.5] = np.nan
    queries, sizes = asked([[query] for query in range(9)]), []

    def score(part: Queries) -> np.ndarray:
        sizes.append(len(part))
        lines: np.ndarray = table[part.history.item_row]
        return lines

    whole = rank_catalogue(queries, 20, np.arange(20), score)
    monkeypatch.setattr("towers.ladder.catalogue._MAX_VALUES", 1)
    alone = rank_catalogue(queries, 20, np.arange(20), score, np.full(9, 3))
    assert sizes == [9, *[1] * 9]
    np.testing.assert_array_equal(alone.item_row, whole.item_row)
    np.testing.assert_array_equal(alone.score, whole.score)


def test_most_watched_counts_events_and_places_ties_by_row() -> None:
    assert most_watched(watched([[2, 3], [3, 1]]), 5).tolist() == [3, 1, 2, 0, 4]


def test_an_event_weighs_by_its_places_from_the_newest_and_never_nothing() -> None:
    weights = recency_weights(watched([[0, 1, 2], [], [3]]), 0.5)
    np.testing.assert_allclose(weights, [np.exp(-1.0), np.exp(-0.5), 1.0, 1.0])
    assert recency_weights(watched([list(range(100))]), 9.0)[0] > 0.0
