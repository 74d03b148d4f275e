"""Fading popularity against summing by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import DAY, asked, histories
from towers.errors import ConfigError
from towers.ladder import decayed
from towers.ladder.decayed import DecayedSettings, fit_decayed
from towers.ladder.heuristics import fit_popular

NUM_ITEMS = 5

# Item 0 three times long ago, item 1 once ten days later, item 2 twice in between; 3 only at the very end.
LOG = histories([[(0, 0), (2, 8 * DAY)], [(0, 0), (2, 8 * DAY), (3, 12 * DAY)], [(0, 0), (1, 10 * DAY)]])


def test_the_half_life_decides_between_many_old_watches_and_few_new_ones() -> None:
    # At 11 d with a half-life of 1 d, items 1, 2, 0: 1/2, 2/8, 3/2048. With 100 d: .993, 2 × .979, 3 × .927.
    short = fit_decayed(LOG, NUM_ITEMS, DecayedSettings(1.0)).rank(asked([[]], [11 * DAY]), 4)
    long = fit_decayed(LOG, NUM_ITEMS, DecayedSettings(100.0)).rank(asked([[]], [11 * DAY]), 4)
    assert short.item_row.tolist() == [[1, 2, 0, 3]]
    assert long.item_row.tolist() == [[0, 2, 1, 3]]
    # Seen from the last event that counts, that of item 1; item 3 has one of seven events, still to come.
    np.testing.assert_allclose(short.score[0], [1.0, 2 / 4, 3 / 1024, 1 / 8 - 1.0], rtol=1e-6)


def test_the_request_s_own_second_and_what_comes_later_do_not_count() -> None:
    rung = fit_decayed(LOG, NUM_ITEMS, DecayedSettings(1.0))
    rankings = rung.rank(asked([[], [], []], [12 * DAY, 12 * DAY + 1, 0]), 1)
    # Before anything was watched, popularity over all of train.
    assert rankings.item_row.tolist() == [[1], [3], [0]]


def test_long_after_train_the_order_stays_that_of_its_end() -> None:
    rung = fit_decayed(LOG, NUM_ITEMS, DecayedSettings(0.01))
    late, end = (rung.rank(asked([[]], [time]), NUM_ITEMS) for time in (10_000 * DAY, 12 * DAY + 1))
    np.testing.assert_array_equal(late.item_row, end.item_row)
    # What fades below anything is placed by popularity.
    assert end.item_row.tolist() == [[3, 0, 2, 1, 4]]


EVENTS = st.lists(
    st.lists(st.tuples(st.integers(0, NUM_ITEMS - 1), st.integers(0, 20)), max_size=5), min_size=1, max_size=5
)


@settings(deadline=None)
@given(
    log=EVENTS,
    known=st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=3), min_size=1, max_size=4),
    times=st.lists(st.integers(-1, 22), min_size=4, max_size=4),
    chunk=st.integers(1, 4),
)
def test_it_is_a_sort_by_the_sum_of_what_is_left_of_each_watch(
    log: list[list[tuple[int, int]]], known: list[list[int]], times: list[int], chunk: int
) -> None:
    whole = decayed._MAX_EVENTS
    decayed._MAX_EVENTS = chunk
    try:
        train = histories([sorted(profile, key=lambda event: event[1]) for profile in log])
        # Half-lives of ten seconds.
        rung = fit_decayed(train, NUM_ITEMS, DecayedSettings(10.0 / DAY))
        rankings = rung.rank(asked(known, times[: len(known)]), NUM_ITEMS)
    finally:
        decayed._MAX_EVENTS = whole
    events = [event for profile in log for event in profile]
    watches = [sum(item == other for other, _ in events) for item in range(NUM_ITEMS)]
    for history, time, row in zip(known, times, rankings.item_row.tolist(), strict=False):
        left = [
            round(sum(2.0 ** (-(time - at) / 10.0) for other, at in events if other == item and at < time), 9)
            for item in range(NUM_ITEMS)
        ]
        best = sorted(
            set(range(NUM_ITEMS)) - set(history), key=lambda item: (-left[item], -watches[item], item)
        )
        assert [item for item in row if item >= 0] == best


def test_without_fading_to_speak_of_it_is_popularity() -> None:
    queries = asked([[], [0]], [13 * DAY, 13 * DAY])
    slow = fit_decayed(LOG, NUM_ITEMS, DecayedSettings(1e6)).rank(queries, 1)
    np.testing.assert_array_equal(slow.item_row, fit_popular(LOG, NUM_ITEMS).rank(queries, 1).item_row)


def test_a_half_life_of_nothing_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"decayed\.half_life_days: 0\.0"):
        fit_decayed(LOG, NUM_ITEMS, DecayedSettings(0.0))
