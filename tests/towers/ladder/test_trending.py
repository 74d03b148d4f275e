"""What grows, against growth worked out by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import DAY, asked, histories
from towers.errors import ConfigError
from towers.ladder.heuristics import PopularSettings, fit_popular
from towers.ladder.trending import TrendingSettings, fit_trending

NUM_ITEMS = 6
SETTINGS = TrendingSettings(days=1.0, before_days=4.0, smoothing=5.0)
# A day each of the four before: item 0 twenty times, item 1 five times. Lately: 0 and 1 both twenty times,
# item 2, new, once. Item 3 was only watched before.
BEFORE = [(0, day * DAY + 60 * n) for day in range(4) for n in range(20)]
BEFORE += [(1, day * DAY + 60 * n) for day in range(4) for n in range(5)]
BEFORE += [(3, day * DAY) for day in range(4)]
LATELY = [(item, 4 * DAY + 60 * n) for item in (0, 1) for n in range(20)] + [(2, 4 * DAY + 5)]
LOG = histories([[event] for event in BEFORE + LATELY])


def test_what_grew_comes_first_and_one_watch_of_a_rare_item_does_not_win() -> None:
    rankings = fit_trending(LOG, NUM_ITEMS, SETTINGS).rank(asked([[], [1]], [5 * DAY, 5 * DAY]), NUM_ITEMS)
    # 41 events lately for 104 before. Item 0 had 80 of these and was to have 31.5 but has 20: it fell, and
    # follows by popularity. Item 1 had 20 and was to have 7.9; item 2 is new, six over five.
    assert rankings.item_row.tolist() == [[1, 2, 0, 3, 4, 5], [2, 0, 3, 4, 5, -1]]
    total = 41 + 104 + 1
    expected = [(20 + 5) / (20 * 41 / 104 + 5), 6 / 5, 100 / total - 1, 4 / total - 1, -1.0, -1.0]
    np.testing.assert_allclose(rankings.score[0], expected, rtol=1e-6)


def test_a_busy_day_alone_lets_nothing_grow() -> None:
    # Ten times the events of each day before, in the same shares.
    before = [(item, day * DAY + n) for day in range(4) for item in (0, 1) for n in range(3 - item)]
    lately = [(item, 4 * DAY + n) for item in (0, 1) for n in range(10 * (3 - item))]
    log = histories([[event] for event in before + lately])
    rankings = fit_trending(log, NUM_ITEMS, SETTINGS).rank(asked([[]], [5 * DAY]), NUM_ITEMS)
    assert rankings.item_row.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert np.all(rankings.score < 0.0)


def test_the_request_s_own_second_is_outside_and_later_events_do_not_count() -> None:
    log = histories([[(1, DAY)], [(1, DAY)], [(2, DAY + 1)], [(2, DAY + 1)], [(2, DAY + 1)]])
    rankings = fit_trending(log, NUM_ITEMS, SETTINGS).rank(asked([[], []], [DAY + 1, DAY + 2]), 2)
    assert rankings.item_row.tolist() == [[1, 2], [2, 1]]


def test_with_nothing_before_it_is_popularity_of_late() -> None:
    log = histories([[(item, 10 * DAY + n)] for item in (4, 2) for n in range(item)])
    queries = asked([[], [4]], [10 * DAY + 2, 10 * DAY + 4])
    lately = fit_popular(log, NUM_ITEMS, PopularSettings(days=1.0)).rank(queries, NUM_ITEMS)
    rankings = fit_trending(log, NUM_ITEMS, SETTINGS).rank(queries, NUM_ITEMS)
    np.testing.assert_array_equal(rankings.item_row, lately.item_row)


@settings(deadline=None)
@given(
    log=st.lists(st.tuples(st.integers(0, NUM_ITEMS - 1), st.integers(0, 30)), max_size=40),
    times=st.lists(st.integers(-2, 40), min_size=1, max_size=4),
)
def test_it_is_a_sort_by_growth_then_popularity(log: list[tuple[int, int]], times: list[int]) -> None:
    second = 1.0 / DAY
    rung = fit_trending(
        histories([[event] for event in log]), NUM_ITEMS, TrendingSettings(5 * second, 10 * second, 2.0)
    )
    rankings = rung.rank(asked([[] for _ in times], times), NUM_ITEMS)
    watches = [sum(item == other for other, _ in log) for item in range(NUM_ITEMS)]
    for time, row in zip(times, rankings.item_row.tolist(), strict=True):
        end = min(time, max((at for _, at in log), default=0) + 1)
        lately = [item for item, at in log if end - 5 <= at < end]
        before = [item for item, at in log if end - 15 <= at < end - 5]
        times_as_many = len(lately) / max(1, len(before))
        growth = [
            round((lately.count(item) + 2) / (before.count(item) * times_as_many + 2), 9)
            for item in range(NUM_ITEMS)
        ]
        best = sorted(range(NUM_ITEMS), key=lambda item: (-max(1.0, growth[item]), -watches[item], item))
        assert row == best


def test_a_window_of_no_days_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"trending\.before_days: 0\.0"):
        fit_trending(LOG, NUM_ITEMS, TrendingSettings(before_days=0.0))
