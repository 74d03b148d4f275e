"""Packed histories against lists of lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.histories import Histories
from towers.errors import QueryError

Ragged = list[list[tuple[int, int, float]]]

relaxed = settings(deadline=None, max_examples=100)
event = st.tuples(st.integers(0, 9), st.integers(0, 1000), st.floats(0, 500, width=32))
ragged = st.lists(st.lists(event, max_size=6), min_size=1, max_size=6)


def packed(lists: Ragged) -> Histories:
    flat = [event for events in lists for event in events]
    return Histories(
        offset=np.cumsum([0] + [len(events) for events in lists]),
        item_row=np.array([item for item, _, _ in flat], np.int64),
        time_seconds=np.array([time for _, time, _ in flat], np.int64),
        minutes=np.array([minutes for _, _, minutes in flat], np.float32),
    )


def unpacked(histories: Histories) -> Ragged:
    return [
        [
            (
                int(histories.item_row[place]),
                int(histories.time_seconds[place]),
                float(histories.minutes[place]),
            )
            for place in range(histories.offset[profile], histories.offset[profile + 1])
        ]
        for profile in range(len(histories))
    ]


@relaxed
@given(ragged)
def test_counts_lengths_and_owners_are_those_of_the_lists(lists: Ragged) -> None:
    histories = packed(lists)
    assert unpacked(histories) == lists
    assert len(histories) == len(lists)
    assert histories.num_events == sum(map(len, lists))
    assert histories.lengths.tolist() == [len(events) for events in lists]
    assert histories.profile_rows().tolist() == [p for p, events in enumerate(lists) for _ in events]
    assert [histories.items_of(p).tolist() for p in range(len(lists))] == [
        [item for item, _, _ in events] for events in lists
    ]


@relaxed
@given(ragged, st.data())
def test_select_gives_the_profiles_asked_for_in_that_order(lists: Ragged, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8))
    assert unpacked(packed(lists).select(np.array(rows, np.int64))) == [lists[row] for row in rows]


@relaxed
@given(ragged, st.integers(0, 8))
def test_last_keeps_the_newest_events(lists: Ragged, num_events: int) -> None:
    expected = [events[max(0, len(events) - num_events) :] for events in lists]
    assert unpacked(packed(lists).last(num_events)) == expected


@relaxed
@given(ragged, st.data())
def test_first_keeps_the_oldest_events(lists: Ragged, data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 8), min_size=len(lists), max_size=len(lists)))
    expected = [events[:count] for events, count in zip(lists, counts, strict=True)]
    assert unpacked(packed(lists).first(np.array(counts))) == expected


@relaxed
@given(ragged, st.data())
def test_slices_are_slices_of_the_lists(lists: Ragged, data: st.DataObject) -> None:
    profile = st.integers(0, len(lists) - 1)
    cuts = data.draw(st.lists(st.tuples(profile, st.integers(0, 6), st.integers(0, 6)), max_size=6))
    cuts = [(row, min(one, len(lists[row])), min(other, len(lists[row]))) for row, one, other in cuts]
    cuts = [(row, min(one, other), max(one, other)) for row, one, other in cuts]
    histories = packed(lists)
    profiles = np.array([row for row, _, _ in cuts], np.int64)
    begin = histories.offset[profiles]
    start = begin + np.array([start for _, start, _ in cuts], np.int64)
    stop = begin + np.array([stop for _, _, stop in cuts], np.int64)
    expected = [lists[row][start:stop] for row, start, stop in cuts]
    assert unpacked(histories.slices(profiles, start, stop)) == expected


def test_a_slice_of_another_profiles_events_is_refused() -> None:
    histories = packed([[(1, 1, 1.0)], [(2, 2, 2.0), (3, 3, 3.0)]])
    with pytest.raises(QueryError, match="leaves its profile's events"):
        histories.slices(np.array([0]), np.array([0]), np.array([2]))
    with pytest.raises(QueryError, match="leaves its profile's events"):
        histories.slices(np.array([1]), np.array([0]), np.array([2]))


def test_a_slice_that_stops_before_it_starts_is_refused() -> None:
    histories = packed([[(1, 1, 1.0), (2, 2, 2.0)]])
    with pytest.raises(QueryError, match="stops before it starts"):
        histories.slices(np.array([0]), np.array([2]), np.array([1]))


def test_profiles_without_events_have_empty_histories() -> None:
    empty = Histories.empty(3)
    assert unpacked(empty) == [[], [], []]
    assert unpacked(empty.last(5)) == [[], [], []]
    assert len(Histories.empty(0)) == 0


@pytest.mark.parametrize("offset", [[], [1, 2], [0, 2, 1, 2]])
def test_offsets_that_do_not_rise_from_zero_are_refused(offset: list[int]) -> None:
    values = np.zeros(2, np.int64)
    with pytest.raises(QueryError, match="offset must start at 0 and never fall"):
        Histories(np.array(offset, np.int64), values, values, np.zeros(2, np.float32))


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("num_items", "num_times", "num_minutes"), [(1, 2, 2), (2, 1, 2), (2, 2, 3), (3, 3, 3)]
)
def test_arrays_of_unequal_length_are_refused(num_items: int, num_times: int, num_minutes: int) -> None:
    with pytest.raises(
        QueryError, match=f"{num_items} items, {num_times} times, {num_minutes} minutes and .* weights for 2"
    ):
        Histories(
            np.array([0, 2]),
            np.zeros(num_items, np.int64),
            np.zeros(num_times, np.int64),
            np.zeros(num_minutes, np.float32),
        )
