"""New and local titles, from a table written by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np

from towers.data.schema import ITEMS, table
from towers.evaluation.new_local import NewAndLocal
from towers.recommender import PAD

NOW = datetime(2024, 3, 1, tzinfo=UTC)


def titles(released: list[datetime | None], countries: list[list[str] | None]) -> NewAndLocal:
    num = len(released)
    columns = {"item_id": [f"t{n}" for n in range(num)], "title": ["one"] * num}
    return NewAndLocal.of(table(ITEMS, {**columns, "released": released, "countries": countries}))


def test_a_title_is_new_from_its_day_on_for_so_many_days() -> None:
    days = [timedelta(days=each) for each in (0, 28, 29, -1)]
    found = titles([*(NOW - each for each in days), None], [None] * 5)
    row = np.array([[0, 1, 2, 3, 4, PAD]])
    now = np.array([int(NOW.timestamp())])
    assert found.new(row, now, 28.0).tolist() == [[True, True, False, False, False, False]]


def test_a_title_is_local_where_it_was_made() -> None:
    found = titles([None] * 4, [["KR"], ["FR", "KR"], ["DE"], None])
    row = np.array([[0, 1, 2, 3, PAD]] * 4)
    local = found.local(row, np.array(["KR", "FR", "", "ZA"]))
    assert local.tolist() == [
        [True, True, False, False, False],
        [False, True, False, False, False],
        [False] * 5,
        [False] * 5,
    ]


def test_where_no_title_says_where_it_was_made_none_is_local() -> None:
    found = titles([None], [None])
    assert not found.local(np.array([[0, PAD]]), np.array(["KR"])).any()
