"""Next episodes, against series written by hand and a walk through every history."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from towers.data.schema import ITEMS, table
from towers.errors import SchemaError
from towers.ladder.continuing import ContinuingSettings, fit_continuing
from towers.ladder.heuristics import fit_popular

# Series 0 has the episodes 2, 4, 6 and 8, series 1 the episodes 3, 5 and 7; 9 and 10 are films.
SERIES = [None, None, 0, 1, 0, 1, 0, 1, 0, None, None]
NUM_ITEMS = len(SERIES)
TRAIN = watched([[9, 3], [9, 10], [9]])


def catalogue(numbers: dict[int, tuple[str, str]] | None = None) -> pa.Table:
    """The items; `numbers`: season and episode of some rows."""
    attributes = [
        [{"name": "season", "value": numbers[row][0]}, {"name": "episode", "value": numbers[row][1]}]
        if numbers and row in numbers
        else None
        for row in range(NUM_ITEMS)
    ]
    ids = [f"i{row}" for row in range(NUM_ITEMS)]
    series = [None if row is None else f"i{row}" for row in SERIES]
    return table(ITEMS, {"item_id": ids, "title": ids, "series_id": series, "attributes": attributes})


def answer(
    known: list[list[int]], k: int, num_ahead: int = 2, items: pa.Table | None = None
) -> list[list[int]]:
    rung = fit_continuing(TRAIN, items or catalogue(), ContinuingSettings(num_ahead=num_ahead))
    rows: list[list[int]] = rung.rank(asked(known), k).item_row.tolist()
    return rows


def test_the_next_episodes_come_first_and_the_rest_by_popularity() -> None:
    assert answer([[2]], 5) == [[4, 6, 9, 3, 10]]
    assert answer([[2, 4, 6]], 3) == [[8, 9, 3]]


def test_of_several_series_the_one_watched_last_comes_first_in_turn() -> None:
    assert answer([[2, 3]], 5) == [[5, 4, 7, 6, 9]]
    assert answer([[3, 2]], 5) == [[4, 5, 6, 7, 9]]


def test_next_is_what_follows_the_episode_watched_last() -> None:
    # 4 was skipped, and watched ones are no next.
    assert answer([[6]], 2) == [[8, 9]]
    assert answer([[6, 2]], 3) == [[4, 8, 9]]
    assert answer([[4, 6, 2]], 3) == [[8, 9, 3]]


def test_a_finished_series_and_a_history_without_episodes_give_popularity() -> None:
    queries = asked([[8], [7, 0], [], [9], list(range(NUM_ITEMS))])
    rankings = fit_continuing(TRAIN, catalogue()).rank(queries, NUM_ITEMS)
    popular = fit_popular(TRAIN, NUM_ITEMS).rank(queries, NUM_ITEMS)
    np.testing.assert_array_equal(rankings.item_row, popular.item_row)
    np.testing.assert_array_equal(rankings.score, popular.score)


def test_a_catalogue_without_episodes_is_answered_by_popularity() -> None:
    ids = [f"i{row}" for row in range(NUM_ITEMS)]
    rung = fit_continuing(TRAIN, table(ITEMS, {"item_id": ids, "title": ids}))
    queries = asked([[2], [3, 9]])
    expected = fit_popular(TRAIN, NUM_ITEMS).rank(queries, 6).item_row
    np.testing.assert_array_equal(rung.rank(queries, 6).item_row, expected)


def test_numbered_episodes_stand_by_season_and_number_before_unnumbered_ones() -> None:
    items = catalogue({8: ("1", "2"), 6: ("1", "10"), 4: ("2", "1")})
    assert answer([[8]], 4, num_ahead=3, items=items) == [[6, 4, 2, 9]]


def test_an_episode_number_that_is_none_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"attributes\.episode"):
        fit_continuing(TRAIN, catalogue({8: ("1", "pilot")}))


@settings(deadline=None)
@given(
    known=st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=9), min_size=1, max_size=4),
    num_ahead=st.integers(1, 4),
    k=st.integers(0, NUM_ITEMS + 1),
)
def test_it_is_a_walk_through_each_series_in_turn(known: list[list[int]], num_ahead: int, k: int) -> None:
    order = [9, 3, 10, 0, 1, 2, 4, 5, 6, 7, 8]
    for history, row in zip(known, answer(known, k, num_ahead), strict=True):
        series_seen: set[int | None] = set()
        queues = []
        for item in reversed(history):
            if SERIES[item] is None or SERIES[item] in series_seen:
                continue
            series_seen.add(SERIES[item])
            later = [other for other in range(item + 1, NUM_ITEMS) if SERIES[other] == SERIES[item]]
            queues.append([other for other in later if other not in history][:num_ahead])
        best = [queue[step] for step in range(num_ahead) for queue in queues if step < len(queue)]
        best += [item for item in order if item not in best and item not in history]
        assert [item for item in row if item >= 0] == best[:k]
