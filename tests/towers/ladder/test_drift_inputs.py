"""The two samples of a drift check: stretches by hand, rows by brute force over the tables."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worlds import DAY_SECONDS, START_SECONDS, log_tables, tiny_tables, write_tables
from towers.data.schema import read_tables
from towers.data.simulator.settings import SimulatedSettings
from towers.data.sources.simulated import read_simulated
from towers.ladder.drift_inputs import Feature, sample, span, stretches, with_taste

DAY = DAY_SECONDS
WEEK = 7 * DAY


def test_stretches_are_of_one_length_and_whole_weeks_apart() -> None:
    # Ten days of newer events: two weeks back, as one would not reach behind the cut-off.
    where = stretches(100 * DAY, newest_seconds=110 * DAY, first_seconds=0, days=28.0)
    assert (where.weeks, where.days) == (2, 10.0)
    assert where.live == (100 * DAY, 110 * DAY)
    assert where.train == (86 * DAY, 96 * DAY)
    assert where.train_cut_off_seconds == 86 * DAY
    # Of forty days the last 28; train's lie as far behind a cut-off of their own.
    where = stretches(100 * DAY, newest_seconds=140 * DAY, first_seconds=0, days=28.0)
    assert (where.weeks, where.days) == (6, 28.0)
    assert where.live == (112 * DAY, 140 * DAY)
    assert where.train == (70 * DAY, 98 * DAY)
    # Train that begins within the stretch shortens both.
    where = stretches(100 * DAY, newest_seconds=140 * DAY, first_seconds=95 * DAY + 1, days=28.0)
    assert where.train == (95 * DAY, 98 * DAY)
    assert where.live == (137 * DAY, 140 * DAY)


@given(
    newer=st.integers(1, 400 * DAY),
    first=st.integers(0, 1000 * DAY),
    days=st.floats(0.01, 60.0),
)
def test_train_ends_within_a_week_before_the_cut_off_and_newer_events_begin_after_it(
    newer: int, first: int, days: float
) -> None:
    cut_off = 1000 * DAY
    where = stretches(cut_off, newest_seconds=cut_off + newer, first_seconds=first, days=days)
    assert cut_off - WEEK < where.train[1] <= cut_off <= where.live[0] <= where.live[1] == cut_off + newer
    assert where.live[1] - where.live[0] == where.train[1] - where.train[0] <= round(days * DAY)
    assert (where.live[1] - where.train[1]) % WEEK == 0


def test_a_row_per_active_profile_says_what_its_event_says(tmp_path: Path) -> None:
    write_tables(tiny_tables(), tmp_path)
    first, last, num_events = span(tmp_path)
    assert (first, last, num_events) == (START_SECONDS, START_SECONDS + 5 * DAY, 7)
    assert span(tmp_path, after=first, until=START_SECONDS + 2 * DAY) == (first + DAY, first + 2 * DAY, 3)
    assert span(tmp_path, after=last) == (0, 0, 0)

    # After the first second, up to the third day: Sugar Rush in the US, The Reef, and Sugar Rush twice.
    drawn = {row["profile_id"]: row for row in sample(tmp_path, (first, first + 3 * DAY)).to_dicts()}
    assert set(drawn) == {"ana", "ben", "cho"}
    hour = f"{datetime.fromtimestamp(START_SECONDS, UTC).hour:02}"
    assert drawn["ana"] == {
        "profile_id": "ana",
        "item_id": "t3",
        Feature.COUNTRY: "US",
        Feature.HOUR: hour,
        Feature.GENRE: "Comedy",
        Feature.RELEASE_YEAR: 2015.0,
        Feature.MINUTES: 40.0,
        Feature.ACTIVITY: 1.0,
        Feature.TASTE: None,
    }
    assert (drawn["ben"][Feature.COUNTRY], drawn["ben"][Feature.MINUTES]) == (None, None)
    assert (drawn["cho"][Feature.COUNTRY], drawn["cho"][Feature.ACTIVITY]) == ("KR", 2.0)
    assert drawn["cho"][Feature.MINUTES] in (100.0, 12.5)


def test_where_an_event_does_not_say_its_country_the_profile_does(tmp_path: Path) -> None:
    tables = log_tables(
        [(0, 0, 1000), (1, 0, 2000), (2, 0, 3000)],
        num_items=1,
        num_profiles=3,
        countries=["FR", None, None],
        profile_countries=["GB", "GB", "KR"],
    )
    write_tables(tables, tmp_path)
    drawn = sample(tmp_path, (0, START_SECONDS + DAY))
    assert drawn.select("profile_id", Feature.COUNTRY).rows() == [("p0", "FR"), ("p1", "GB"), ("p2", "KR")]


def test_every_event_of_a_profile_is_as_likely_to_be_drawn(tmp_path: Path) -> None:
    events = [(profile, item, 1000 * item) for profile in range(300) for item in range(4)]
    write_tables(log_tables(events, num_items=4, num_profiles=300), tmp_path)
    drawn = sample(tmp_path, (0, START_SECONDS + DAY))
    counts = drawn["item_id"].value_counts()["count"].to_list()
    assert sum(counts) == 300
    assert min(counts) > 50  # 75 each, give or take 7.5
    assert drawn.equals(sample(tmp_path, (0, START_SECONDS + DAY)))
    assert not drawn.equals(sample(tmp_path, (0, START_SECONDS + DAY), seed=1))


def test_taste_is_what_a_walk_over_the_log_counts(tmp_path: Path) -> None:
    tables = read_simulated(SimulatedSettings(num_events=3_000, num_items=80, num_profiles=150))
    write_tables(tables, tmp_path)
    read = read_tables(tmp_path)
    genre = {row["item_id"]: row["genres"][0] for row in read.items.to_pylist()}
    first, last, _ = span(tmp_path)
    cut_off = (first + last) // 2
    known = defaultdict(list)
    for event in sorted(read.events.to_pylist(), key=lambda one: one["start"]):
        if int(event["start"].timestamp()) <= cut_off:
            known[event["profile_id"]].append(genre[event["item_id"]])
    drawn = sample(tmp_path, (cut_off, last))
    tasted = with_taste(drawn, tmp_path, cut_off)
    assert tasted.drop(Feature.TASTE).equals(drawn.drop(Feature.TASTE))
    told = 0
    for row in tasted.to_dicts():
        five = known[row["profile_id"]][-5:]
        expected = f"{five.count(row[Feature.GENRE])} of 5" if len(five) == 5 else None
        assert row[Feature.TASTE] == expected
        told += expected is not None
    assert told > 50


@pytest.mark.parametrize("unknown", ["genres", "profiles"])
def test_without_a_genre_or_a_history_there_is_no_taste(unknown: str, tmp_path: Path) -> None:
    tables = read_simulated(SimulatedSettings(num_events=600, num_items=60, num_profiles=30))
    if unknown == "genres":
        plain = log_tables([], num_items=60, num_profiles=0).items
        items = plain.set_column(0, plain.schema.field(0), tables.items["item_id"])
        tables = replace(tables, items=items)
    write_tables(tables, tmp_path)
    first, last, _ = span(tmp_path)
    cut_off = (first + last) // 2 if unknown == "genres" else first - 1
    tasted = with_taste(sample(tmp_path, (cut_off, last)), tmp_path, cut_off)
    assert tasted[Feature.TASTE].null_count() == tasted.height > 10
