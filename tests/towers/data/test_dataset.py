"""Datasets against a reading of the log in plain Python, one event at a time."""

import logging
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import DAY_SECONDS, START_SECONDS, log_tables, tiny_tables
from towers.data.dataset import Dataset, dataset_from_tables, rows_of
from towers.data.schema import ITEMS, table
from towers.data.signals.settings import SignalSettings
from towers.errors import SchemaError

NUM_ITEMS, NUM_PROFILES = 6, 4

Event = tuple[int, int, int]

relaxed = settings(deadline=None, max_examples=50)
# Few distinct times, on both sides of a second: ties and repeats are the rule.
event = st.tuples(
    st.integers(0, NUM_PROFILES - 1), st.integers(0, NUM_ITEMS - 1), st.integers(-2, 3).map(lambda t: t * 700)
)
logs = st.lists(event, max_size=30)


def read_by_hand(events: list[Event]) -> list[list[tuple[int, int, int]]]:
    """Per profile (item, second, place in the log), sorted by millisecond and place, first of each item."""
    histories: list[list[tuple[int, int, int]]] = []
    for profile in range(NUM_PROFILES):
        mine = sorted((ms, place) for place, (owner, _, ms) in enumerate(events) if owner == profile)
        history: list[tuple[int, int, int]] = []
        for ms, place in mine:
            item = events[place][1]
            if item not in [known for known, _, _ in history]:
                history.append((item, START_SECONDS + math.floor(ms / 1000), place))
        histories.append(history)
    return histories


def histories_of(dataset: Dataset) -> list[list[tuple[int, int]]]:
    history = dataset.history
    pairs = list(zip(history.item_row.tolist(), history.time_seconds.tolist(), strict=True))
    return [pairs[start:stop] for start, stop in zip(history.offset, history.offset[1:], strict=False)]


@relaxed
@given(logs)
def test_histories_are_in_order_of_time_then_of_the_log_and_keep_first_watches(events: list[Event]) -> None:
    minutes = [float(place) if place % 3 else None for place in range(len(events))]
    tables = log_tables(events, num_items=NUM_ITEMS, num_profiles=NUM_PROFILES, minutes=minutes)
    dataset = dataset_from_tables(tables, SignalSettings(min_minutes=0.0, min_completion=0.0))
    expected = read_by_hand(events)
    assert histories_of(dataset) == [[(item, second) for item, second, _ in mine] for mine in expected]
    found = [None if math.isnan(value) else value for value in dataset.history.minutes.tolist()]
    assert found == [minutes[place] for mine in expected for _, _, place in mine]


@relaxed
@given(logs, st.permutations(list(range(NUM_ITEMS))), st.permutations(list(range(NUM_PROFILES))))
def test_rows_follow_the_items_and_profiles_tables(
    events: list[Event], item_order: list[int], profile_order: list[int]
) -> None:
    tables = log_tables(events, num_items=NUM_ITEMS, num_profiles=NUM_PROFILES)
    tables = replace(
        tables, items=tables.items.take(item_order), profiles=tables.profiles.take(profile_order)
    )
    dataset = dataset_from_tables(tables)
    assert dataset.catalogue.ids == tuple(f"i{item}" for item in item_order)
    assert dataset.profiles.ids == tuple(f"p{profile}" for profile in profile_order)
    assert dataset.items.equals(tables.items)
    by_hand = read_by_hand(events)
    found = [[dataset.catalogue.id(item) for item, _ in mine] for mine in histories_of(dataset)]
    assert found == [[f"i{item}" for item, _, _ in by_hand[profile]] for profile in profile_order]


def test_the_country_of_an_event_does_not_become_that_of_its_profile() -> None:
    tables = log_tables([(0, 0, 1000), (1, 1, 2000)], num_items=2, num_profiles=2, countries=["FR", "FR"])
    place = tables.profiles.schema.get_field_index("country")
    own = pa.array(["US", None], pa.string())
    tables = replace(tables, profiles=tables.profiles.set_column(place, "country", own))
    assert dataset_from_tables(tables).country.tolist() == ["US", ""]


def test_the_tiny_tables_give_the_histories_that_they_document() -> None:
    dataset = dataset_from_tables(tiny_tables())
    day = DAY_SECONDS
    relative = [[(item, second - START_SECONDS) for item, second in mine] for mine in histories_of(dataset)]
    assert relative == [[(0, 0), (1, 0), (2, 3 * day)], [(3, 2 * day), (0, 5 * day)], [(2, day)], []]
    expected_minutes = [110.0, 95.0, 40.0, math.nan, 30.0, 100.0]
    np.testing.assert_array_equal(dataset.history.minutes, np.array(expected_minutes, np.float32))
    assert dataset.country.tolist() == ["GB", "", "KR", ""]


def test_the_number_of_repeats_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="towers.data.dataset"):
        dataset_from_tables(tiny_tables())
    assert [record.getMessage() for record in caplog.records if "repeat" in record.getMessage()] == [
        "read histories num_events=6 num_repeats=1 num_accidents=0"
    ]


def test_a_catalogue_without_events_is_a_dataset_of_empty_histories() -> None:
    dataset = dataset_from_tables(log_tables([], num_items=2, num_profiles=3))
    assert histories_of(dataset) == [[], [], []]
    assert dataset.country.tolist() == ["", "", ""]


def test_a_catalogue_without_profiles_is_a_dataset_too() -> None:
    dataset = dataset_from_tables(log_tables([], num_items=2, num_profiles=0))
    assert len(dataset.profiles) == len(dataset.history) == len(dataset.country) == 0


def test_an_empty_catalogue_is_refused() -> None:
    tables = replace(log_tables([], num_items=1, num_profiles=1), items=table(ITEMS, {}))
    with pytest.raises(SchemaError, match="items is empty; expected at least one title"):
        dataset_from_tables(tables)


def test_tables_that_break_their_schema_are_refused() -> None:
    with pytest.raises(SchemaError, match="item_id 'i7' is not in items"):
        dataset_from_tables(log_tables([(0, 7, 0)], num_items=2, num_profiles=1))


@relaxed
@given(st.lists(st.text(max_size=2), unique=True, max_size=8), st.lists(st.text(max_size=2), max_size=12))
def test_rows_of_are_places_in_the_target(target: list[str], values: list[str]) -> None:
    found = rows_of(pa.chunked_array([values], pa.string()), pa.chunked_array([target], pa.string()))
    assert found.tolist() == [target.index(value) if value in target else -1 for value in values]
