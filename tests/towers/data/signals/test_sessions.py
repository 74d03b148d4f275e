"""A session ends where nothing is watched for long enough, and never spans two profiles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.histories import Histories
from towers.data.signals.sessions import session_of
from towers.errors import ConfigError

Watch = tuple[int, float]
"""Start in minutes, minutes watched."""


def packed(profiles: list[list[Watch]]) -> Histories:
    watches = [watch for profile in profiles for watch in profile]
    return Histories(
        offset=np.cumsum([0, *map(len, profiles)], dtype=np.int64),
        item_row=np.arange(len(watches), dtype=np.int64),
        time_seconds=np.array([60 * start for start, _ in watches], np.int64),
        minutes=np.array([minutes for _, minutes in watches], np.float32),
    )


def walked(profiles: list[list[Watch]], gap: float) -> list[int]:
    """Sessions by a walk through each profile."""
    session, sessions = -1, []
    for profile in profiles:
        latest = -np.inf
        for start, minutes in profile:
            session += start - latest > gap
            latest = max(latest, start + (0.0 if np.isnan(minutes) else minutes))
            sessions.append(session)
    return sessions


@settings(deadline=None)
@given(
    profiles=st.lists(
        st.lists(
            st.tuples(st.integers(0, 500), st.one_of(st.just(np.nan), st.integers(0, 200).map(float)))
        ).map(sorted),
        max_size=6,
    ),
    gap=st.integers(1, 120),
)
def test_sessions_are_those_of_a_walk_through_each_profile(profiles: list[list[Watch]], gap: int) -> None:
    profiles = [sorted(profile, key=lambda watch: watch[0]) for profile in profiles]
    assert session_of(packed(profiles), float(gap)).tolist() == walked(profiles, gap)


def test_a_film_of_two_hours_does_not_end_its_session() -> None:
    assert session_of(packed([[(0, 120.0), (140, 20.0), (191, 5.0)]])).tolist() == [0, 0, 1]


def test_a_gap_of_just_the_length_still_belongs_and_a_minute_more_does_not() -> None:
    assert session_of(packed([[(0, 10.0), (40, 1.0)]])).tolist() == [0, 0]
    assert session_of(packed([[(0, 10.0), (41, 1.0)]])).tolist() == [0, 1]


def test_what_was_begun_within_a_long_watch_does_not_shorten_it() -> None:
    assert session_of(packed([[(0, 120.0), (10, 5.0), (100, 5.0)]])).tolist() == [0, 0, 0]


def test_profiles_do_not_share_a_session_even_at_the_same_minute() -> None:
    assert session_of(packed([[(0, 5.0)], [], [(0, 5.0), (1, 5.0)], [(0, 5.0)]])).tolist() == [0, 1, 1, 2]


def test_no_events_have_no_sessions() -> None:
    assert session_of(packed([[], []])).tolist() == []


def test_a_gap_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="gap_minutes: 0"):
        session_of(packed([[(0, 5.0)]]), 0.0)
