from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from towers.data.histories import Histories
from towers.errors import QueryError
from towers.recommender import PAD, Degraded, Queries, Rankings, Recommender, check_k


def three_queries() -> Queries:
    history = Histories(
        offset=np.array([0, 2, 2, 3]),
        item_row=np.array([4, 1, 0]),
        time_seconds=np.array([10, 20, 30]),
        minutes=np.array([1.0, np.nan, 3.0], np.float32),
    )
    return Queries(history, np.array([100, 200, 300]), np.array(["GB", "", "FR"]))


def test_selected_queries_carry_their_own_history_time_and_country() -> None:
    selected = three_queries().select(np.array([2, 0, 2]))
    assert len(selected) == 3
    assert [selected.history.items_of(row).tolist() for row in range(3)] == [[0], [4, 1], [0]]
    assert selected.time_seconds.tolist() == [300, 100, 300]
    assert selected.country.tolist() == ["FR", "GB", "FR"]


def test_selected_queries_carry_what_is_known_of_their_profiles() -> None:
    known = replace(three_queries(), profiles=pa.table({"language": ["en", None, "fr"]}))
    selected = known.select(np.array([2, 0, 2]))
    assert selected.profiles is not None
    assert selected.profiles["language"].to_pylist() == ["fr", "en", "fr"]
    assert three_queries().select(np.array([1])).profiles is None
    with pytest.raises(QueryError, match="2 profiles for 3 queries"):
        replace(known, profiles=pa.table({"language": ["en", "fr"]}))


def test_no_queries_are_queries_too() -> None:
    assert len(three_queries().select(np.zeros(0, np.int64))) == 0


def test_queries_of_unequal_counts_are_refused() -> None:
    with pytest.raises(QueryError, match="2 histories, 2 times and 1 countries"):
        Queries(Histories.empty(2), np.zeros(2, np.int64), np.array(["GB"]))


@pytest.mark.usefixtures("shapes_unchecked")
def test_rankings_whose_rows_and_scores_differ_in_shape_are_refused() -> None:
    with pytest.raises(QueryError, match="differ in shape"):
        Rankings(np.zeros((2, 3), np.int64), np.zeros((2, 2), np.float32))


def test_rankings_name_a_reason_for_every_query_or_for_none() -> None:
    rows, scores = np.zeros((2, 1), np.int64), np.zeros((2, 1), np.float32)
    assert len(Rankings(rows, scores)) == 2
    assert Rankings(rows, scores, (None, Degraded.EMPTY_HISTORY)).degraded[1] is Degraded.EMPTY_HISTORY
    with pytest.raises(QueryError, match="1 reasons for 2 queries"):
        Rankings(rows, scores, (None,))


def test_the_padding_row_is_never_an_item() -> None:
    assert PAD < 0


def test_whatever_ranks_queries_is_a_recommender() -> None:
    class Nothing:
        def rank(self, queries: Queries, k: int) -> Rankings:
            shape = (len(queries), k)
            return Rankings(np.full(shape, PAD), np.full(shape, -np.inf, np.float32))

    assert isinstance(Nothing(), Recommender)
    assert not isinstance(object(), Recommender)


def test_a_number_of_places_is_not_negative() -> None:
    check_k(0)
    with pytest.raises(QueryError, match="k = -1"):
        check_k(-1)
