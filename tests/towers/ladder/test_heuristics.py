"""Popularity against counting by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import DAY, asked, histories, watched
from towers.errors import ConfigError, QueryError
from towers.ladder.heuristics import PopularSettings, fit_popular
from towers.recommender import PAD

NUM_ITEMS = 6


def test_the_most_watched_come_first_and_the_never_watched_last_by_row() -> None:
    train = watched([[4, 2], [4, 1], [4, 2, 5]])
    rankings = fit_popular(train, NUM_ITEMS).rank(asked([[]]), NUM_ITEMS)
    assert rankings.item_row.tolist() == [[4, 2, 1, 5, 0, 3]]


def test_what_was_watched_is_left_out_for_that_profile_alone() -> None:
    train = watched([[4, 2], [4, 1], [4, 2, 5]])
    rankings = fit_popular(train, NUM_ITEMS).rank(asked([[4, 5], [2], [0, 1, 2, 3, 4]]), 3)
    assert rankings.item_row.tolist() == [[2, 1, 0], [4, 1, 5], [5, PAD, PAD]]


@settings(deadline=None)
@given(
    train=st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=5), min_size=1, max_size=6),
    known=st.lists(st.integers(0, NUM_ITEMS - 1), max_size=4),
    k=st.integers(0, 8),
)
def test_it_is_a_sort_by_count_then_row(train: list[list[int]], known: list[int], k: int) -> None:
    count = Counter(item for profile in train for item in profile)
    best = sorted(set(range(NUM_ITEMS)) - set(known), key=lambda item: (-count[item], item))[:k]
    row = fit_popular(watched(train), NUM_ITEMS).rank(asked([known]), k).item_row[0].tolist()
    assert row == [*best, *[PAD] * (k - len(best))]


# Item 0 was loved long ago, item 1 a little all the time, items 2 and 3 only lately.
AGES = histories(
    [
        [(0, 0), (1, 1), (2, 10 * DAY)],
        [(0, 0), (1, 9 * DAY), (3, 10 * DAY + 5)],
        [(0, 1), (1, 10 * DAY), (2, 10 * DAY + 7)],
        [(0, 2)],
    ]
)


def test_a_window_counts_only_what_lies_within_so_many_days_before_the_request() -> None:
    popular = fit_popular(AGES, NUM_ITEMS, PopularSettings(days=1.0))
    rankings = popular.rank(asked([[], [], []], [10 * DAY + 6, 3, 9 * DAY + 1]), 4)
    # At 10 d + 6 s: 1 and 2 and 3 once each, so all of train decides: 1 before 2 before 3; then the rest.
    # At 3 s: 0 four times, 1 once. At 9 d + 1 s: only 1.
    assert rankings.item_row.tolist() == [[1, 2, 3, 0], [0, 1, 2, 3], [1, 0, 2, 3]]


def test_the_second_of_the_request_itself_is_outside_its_window() -> None:
    popular = fit_popular(AGES, NUM_ITEMS, PopularSettings(days=0.5))
    first = popular.rank(asked([[], []], [10 * DAY + 7, 10 * DAY + 8]), 1)
    # Before 10 d + 7 s items 1, 2 and 3 stand at one each; the second watch of 2 is at that second.
    assert first.item_row.tolist() == [[1], [2]]


def test_a_request_after_train_looks_back_from_where_train_ends() -> None:
    popular = fit_popular(AGES, NUM_ITEMS, PopularSettings(days=0.5))
    late = popular.rank(asked([[]], [500 * DAY]), NUM_ITEMS)
    end = popular.rank(asked([[]], [10 * DAY + 8]), NUM_ITEMS)
    np.testing.assert_array_equal(late.item_row, end.item_row)
    assert late.item_row[0, 0] == 2


def test_a_window_without_events_gives_popularity_over_all_of_train() -> None:
    lately, always = fit_popular(AGES, NUM_ITEMS, PopularSettings(days=1.0)), fit_popular(AGES, NUM_ITEMS)
    queries = asked([[]], [6 * DAY])
    np.testing.assert_array_equal(
        lately.rank(queries, NUM_ITEMS).item_row, always.rank(queries, NUM_ITEMS).item_row
    )


def test_with_nothing_to_count_items_stand_in_catalogue_order() -> None:
    for choice in (PopularSettings(), PopularSettings(days=3.0)):
        popular = fit_popular(watched([[], []]), 3, choice)
        assert popular.rank(asked([[1]]), 3).item_row.tolist() == [[0, 2, PAD]]


def test_a_window_of_no_days_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"popular\.days: 0\.0"):
        fit_popular(AGES, NUM_ITEMS, PopularSettings(days=0.0))


def test_train_events_outside_the_catalogue_are_refused() -> None:
    with pytest.raises(QueryError, match="run from 0 to 3; expected 0 to 2"):
        fit_popular(AGES, 3)
