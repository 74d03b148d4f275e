"""The first event stays, later ones add to its weight, and only from before the moment asked about."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data import histories
from towers.data.histories import Histories
from towers.data.signals.rewatches import first_and_repeats, with_rewatches
from towers.errors import QueryError

Event = tuple[int, int, float]
"""Item row, time in seconds, amount watched in whole titles."""


def weigh(amount: float) -> float:
    return amount if amount <= 1 else 1 + math.log(amount)


def packed(profiles: list[list[Event]]) -> Histories:
    events = [event for profile in profiles for event in profile]
    return Histories(
        offset=np.cumsum([0, *map(len, profiles)], dtype=np.int64),
        item_row=np.array([item for item, _, _ in events], np.int32),
        time_seconds=np.array([seconds for _, seconds, _ in events], np.int64),
        minutes=np.full(len(events), np.nan, np.float32),
        weight=np.array([weigh(amount) for _, _, amount in events], np.float32),
    )


def logs() -> st.SearchStrategy[list[list[Event]]]:
    event = st.tuples(st.integers(0, 4), st.integers(0, 30), st.floats(0.02, 50.0))
    profile = st.lists(event, max_size=12).map(lambda events: sorted(events, key=lambda e: e[1]))
    return st.lists(profile, max_size=6)


def by_hand(profile: list[Event], before: int) -> dict[int, tuple[int, float]]:
    """Per title the time of its first event, and its weight with the repeats before a moment."""
    first: dict[int, tuple[int, float]] = {}
    for item, seconds, amount in profile:
        if item not in first:
            first[item] = (seconds, amount)
        elif seconds < before:
            first[item] = (first[item][0], first[item][1] + amount)
    return {item: (seconds, weigh(amount)) for item, (seconds, amount) in first.items()}


@pytest.mark.parametrize("block", [1, 5, 1 << 20])
@settings(deadline=None)
@given(log=logs(), moments=st.lists(st.integers(-1, 40), min_size=6, max_size=6))
def test_weights_are_those_of_a_walk_through_each_profile(
    log: list[list[Event]], moments: list[int], block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(histories, "_BLOCK_EVENTS", block)
        first, repeats = first_and_repeats(packed(log))
        raised = with_rewatches(first, repeats, np.array(moments[: len(log)], np.int64))
    assert first.num_events + repeats.num_events == sum(map(len, log))
    for row, profile in enumerate(log):
        part = slice(raised.offset[row], raised.offset[row + 1])
        wanted = by_hand(profile, moments[row])
        assert raised.item_row[part].tolist() == list(wanted)  # a dict keeps the order of first events
        assert raised.time_seconds[part].tolist() == [seconds for seconds, _ in wanted.values()]
        np.testing.assert_allclose(raised.weight[part], [weight for _, weight in wanted.values()], rtol=2e-5)


def test_ten_whole_plays_weigh_one_and_their_logarithm() -> None:
    first, repeats = first_and_repeats(packed([[(3, day, 1.0) for day in range(10)]]))
    raised = with_rewatches(first, repeats, np.array([100]))
    assert raised.weight.tolist() == pytest.approx([1 + math.log(10)])


def test_a_title_finished_the_next_day_weighs_as_if_watched_at_once() -> None:
    first, repeats = first_and_repeats(packed([[(3, 0, 0.4), (3, 86_400, 0.6)]]))
    assert with_rewatches(first, repeats, np.array([10**6])).weight.tolist() == pytest.approx([1.0])


def test_a_repeat_at_the_moment_itself_is_the_future() -> None:
    first, repeats = first_and_repeats(packed([[(3, 0, 1.0), (3, 50, 1.0)]]))
    assert with_rewatches(first, repeats, np.array([50])).weight.tolist() == [1.0]
    assert with_rewatches(first, repeats, np.array([51])).weight[0] > 1.0


def test_a_repeat_of_a_title_that_was_cut_off_adds_to_nothing() -> None:
    first, repeats = first_and_repeats(packed([[(1, 0, 1.0), (2, 10, 1.0), (2, 20, 1.0)]]))
    raised = with_rewatches(first.first(np.array([1])), repeats, np.array([100]))
    assert raised.item_row.tolist() == [1]
    assert raised.weight.tolist() == [1.0]


def test_the_same_title_of_another_profile_is_another_title() -> None:
    first, repeats = first_and_repeats(packed([[(1, 0, 1.0)], [(1, 0, 1.0), (1, 9, 1.0)]]))
    raised = with_rewatches(first, repeats, np.array([100, 100]))
    assert raised.weight.tolist() == pytest.approx([1.0, 1 + math.log(2)])


def test_the_histories_given_are_not_changed() -> None:
    first, repeats = first_and_repeats(packed([[(1, 0, 1.0), (1, 9, 1.0)]]))
    with_rewatches(first, repeats, np.array([100]))
    assert first.weight.tolist() == [1.0]


def test_histories_of_unequal_many_profiles_are_refused() -> None:
    first, repeats = first_and_repeats(packed([[(1, 0, 1.0)], []]))
    with pytest.raises(QueryError, match="2 histories, 2 of repeats and 1 moments"):
        with_rewatches(first, repeats, np.array([100]))
