"""A search is joined to the first play after it: in its window, of its profile, before its next search."""

import random
from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.schema import EVENTS, QUERIES, TIME, table
from towers.data.signals.query_plays import played_after
from towers.errors import ConfigError

MINUTE = 60_000
Query = tuple[str | None, int, str | None]
"""Profile, time in ms, item played as the log has it."""
Play = tuple[str, int, str]
"""Profile, start in ms, item."""


def queries_of(rows: Sequence[Query]) -> pa.Table:
    return table(
        QUERIES,
        {
            "profile_id": pa.array([profile for profile, _, _ in rows], pa.string()),
            "text": [f"query {row}" for row in range(len(rows))],
            "time": pa.array([time for _, time, _ in rows], TIME),
            "item_id": pa.array([item for _, _, item in rows], pa.string()),
        },
    )


def events_of(rows: Sequence[Play]) -> pa.Table:
    return table(
        EVENTS,
        {
            "profile_id": pa.array([profile for profile, _, _ in rows], pa.string()),
            "item_id": pa.array([item for _, _, item in rows], pa.string()),
            "start": pa.array([start for _, start, _ in rows], TIME),
        },
    )


def played(
    queries: Sequence[Query], events: Sequence[Play], window_minutes: float = 30.0
) -> list[str | None]:
    asked, plays = (pl.LazyFrame(table_) for table_ in (queries_of(queries), events_of(events)))
    joined = played_after(asked, plays, window_minutes=window_minutes).collect()
    assert joined.schema == asked.collect_schema()
    assert joined["text"].to_list() == [f"query {row}" for row in range(len(queries))]
    return joined["item_id"].to_list()


def by_hand(queries: Sequence[Query], events: Sequence[Play], window: int) -> list[str | None]:
    answers = []
    for row, (profile, time, item) in enumerate(queries):
        later = [
            other
            for place, (name, other, _) in enumerate(queries)
            if name == profile and (other, place) > (time, row)
        ]
        stop = min(later, default=None)
        plays = [
            (start, place, title)
            for place, (name, start, title) in enumerate(events)
            if name == profile and time <= start <= time + window and (stop is None or start < stop)
        ]
        if item is None and profile is not None and plays:
            item = min(plays)[2]
        answers.append(item)
    return answers


times = st.integers(0, 12)


@settings(deadline=None)
@given(
    queries=st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", None]), times, st.sampled_from([None, None, "logged"])),
        max_size=12,
    ),
    events=st.lists(st.tuples(st.sampled_from(["a", "b", "d"]), times), max_size=15),
    window=st.integers(1, 6),
)
def test_every_search_gets_what_a_walk_through_the_log_finds(
    queries: list[Query], events: list[tuple[str, int]], window: int
) -> None:
    queries = [(profile, time * MINUTE, item) for profile, time, item in queries]
    plays = [(profile, start * MINUTE, f"i{row}") for row, (profile, start) in enumerate(events)]
    assert played(queries, plays, float(window)) == by_hand(queries, plays, window * MINUTE)


def test_a_play_before_the_search_is_never_its_answer() -> None:
    assert played([("a", 10, None)], [("a", 9, "before")]) == [None]
    assert played([("a", 10, None)], [("a", 9, "before"), ("a", 11, "after")]) == ["after"]


def test_a_play_after_the_window_is_not_its_answer() -> None:
    assert played([("a", 0, None)], [("a", 30 * MINUTE, "last")]) == ["last"]
    assert played([("a", 0, None)], [("a", 30 * MINUTE + 1, "late")]) == [None]


def test_what_is_played_after_the_next_search_is_the_answer_to_that() -> None:
    assert played([("a", 0, None), ("a", 5, None)], [("a", 6, "x")]) == [None, "x"]


def test_a_search_with_an_answer_of_its_own_still_ends_the_one_before() -> None:
    assert played([("a", 0, None), ("a", 5, "logged")], [("a", 6, "x")]) == [None, "logged"]


def test_a_search_of_nobody_gets_no_play() -> None:
    assert played([(None, 0, None)], [("a", 1, "x")]) == [None]


def test_empty_tables_join_to_empty_ones() -> None:
    assert played([], [("a", 1, "x")]) == []
    assert played([("a", 0, None)], []) == [None]


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="window_minutes: 0"):
        played([("a", 0, None)], [], 0.0)


def test_a_large_log_joins_like_a_small_one_through_lazy_frames() -> None:
    draw = random.Random(3)
    num_profiles, num_events, num_queries = 300, 60_000, 5_000
    profile = [f"p{draw.randrange(num_profiles)}" for _ in range(num_events + num_queries)]
    start = [draw.randrange(10 * 24 * 60) * MINUTE for _ in range(num_events + num_queries)]
    events = [(p, s, f"i{row}") for row, (p, s) in enumerate(zip(profile, start, strict=True))][:num_events]
    queries: list[Query] = [
        (p, s, None) for p, s in zip(profile[num_events:], start[num_events:], strict=True)
    ]
    frames = (pl.DataFrame(each).lazy() for each in (queries_of(queries), events_of(events)))
    answers = played_after(*frames).collect()["item_id"].to_list()
    sample = draw.sample(range(num_queries), 40)
    for row in sample:
        own = queries[row][0]
        asked = [query for query in queries if query[0] == own]
        watched = [event for event in events if event[0] == own]
        assert answers[row] == by_hand(asked, watched, 30 * MINUTE)[asked.index(queries[row])]
    assert sum(answer is not None for answer in answers) > 500
