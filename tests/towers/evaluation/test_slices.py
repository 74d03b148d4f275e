"""Slices against a small world whose every profile, title and moment is written down."""

from dataclasses import replace

import numpy as np
import pytest

from tests.towers.evaluation.questions import histories, questions
from towers.data.schema import ITEMS, PROFILES, table
from towers.data.split import HeldOut
from towers.errors import ConfigError, QueryError
from towers.evaluation.slices import (
    SliceKind,
    SliceSettings,
    TargetSlice,
    events_per_month,
    head_of,
    slices_of,
)

# Train events 50, 30, 10, 6, 4, 0: the head of 80 % is titles 0 and 1.
NUM_WATCHES = np.array([50, 30, 10, 6, 4, 0])
ITEM_TABLE = table(
    ITEMS,
    {
        "item_id": list("abcdef"),
        "title": list("abcdef"),
        "genres": [["Drama"], ["Drama", "War"], ["War"], ["Comedy"], None, []],
        "maturity": ["18", "6", "6", None, "6", "18"],
    },
)
HOUR, DAY = 3_600, 86_400


@pytest.fixture
def held_out() -> HeldOut:
    """Four questions: of a new profile, and of profiles with 1, 5 and 2 events; six targets."""
    known = [[], [0], [0, 1, 2, 3, 4], [0, 1]]
    asked = questions(known, [[0, 5], [1], [5], [2, 4]])
    return replace(
        asked,
        time_seconds=np.array(
            [400 * DAY + 23 * HOUR, 400 * DAY, 400 * DAY + 6 * HOUR, 400 * DAY + 13 * HOUR]
        ),
        country=np.array(["DE", "AT", "", "BR"]),
        profiles=table(
            PROFILES,
            {
                "profile_id": list("pqrs"),
                "region": ["DE-BY", None, None, "BR-SP"],
                "age_band": ["18-24", "18-24", "25-34", None],
            },
        ),
    )


def of_kind(
    held_out: HeldOut, kind: SliceKind, settings: SliceSettings | None = None
) -> dict[str, list[int]]:
    """Places of the targets of each slice of one kind; targets are rows 0 5 | 1 | 5 | 2 4."""
    found = slices_of(held_out, ITEM_TABLE, NUM_WATCHES, settings)
    return {each.value: np.flatnonzero(each.counts).tolist() for each in found if each.kind is kind}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (SliceKind.COUNTRY, {"BR": [4, 5], "DE": [0, 1], "AT": [2], "unknown": [3]}),
        (SliceKind.REGION, {"Western Europe": [0, 1, 2], "South America": [4, 5], "unknown": [3]}),
        (SliceKind.SUBDIVISION, {"DE-BY": [0, 1], "BR-SP": [4, 5], "unknown": [2, 3]}),
        (SliceKind.AGE_BAND, {"18-24": [0, 1, 2], "25-34": [3], "unknown": [4, 5]}),
        (SliceKind.HISTORY_LENGTH, {"1-4": [2, 4, 5], "5-19": [3]}),
        (SliceKind.POPULARITY, {"head": [0, 2], "tail": [1, 3, 4, 5]}),
        (SliceKind.GENRE, {"Drama": [0, 2], "War": [2, 4], "unknown": [1, 3, 5]}),
        (SliceKind.MATURITY, {"18": [0, 1, 3], "6": [2, 4, 5]}),
        (
            SliceKind.SESSION_TIME,
            {
                "evening 18-24 h": [0, 1],
                "night 0-6 h": [2],
                "morning 6-12 h": [3],
                "afternoon 12-18 h": [4, 5],
            },
        ),
    ],
)
def test_targets_are_cut_as_worked_out_by_hand(
    kind: SliceKind, expected: dict[str, list[int]], held_out: HeldOut
) -> None:
    assert of_kind(held_out, kind) == expected


def test_activity_is_by_events_a_month_in_thirds_of_the_known_profiles(held_out: HeldOut) -> None:
    # Asked on day 400, the histories begin at second 0: about 13 months.
    np.testing.assert_allclose(
        events_per_month(held_out), np.array([0, 1, 5, 2]) / (held_out.time_seconds / (DAY * 365.25 / 12))
    )
    assert of_kind(held_out, SliceKind.ACTIVITY) == {"low": [2], "middle": [4, 5], "high": [3]}


def test_a_profile_of_one_day_counts_as_one_of_a_month() -> None:
    young = replace(questions([[0, 1, 2]], [[3]]), time_seconds=np.array([DAY]))
    assert events_per_month(young).tolist() == [3.0]


def test_equal_activities_are_never_parted() -> None:
    alike = questions([[0]] * 7, [[1]] * 7)
    assert of_kind(alike, SliceKind.ACTIVITY) == {}


def test_the_head_is_the_fewest_titles_with_that_share_of_the_events() -> None:
    assert head_of(NUM_WATCHES, 0.8).tolist() == [True, True, False, False, False, False]
    assert head_of(NUM_WATCHES, 0.81).tolist() == [True, True, True, False, False, False]
    # Equal counts by row, and an item without events is never in the head.
    assert head_of(np.array([0, 2, 2, 2]), 0.5).tolist() == [False, True, True, False]


def test_values_beyond_the_most_frequent_are_one_slice_together(held_out: HeldOut) -> None:
    found = of_kind(held_out, SliceKind.COUNTRY, SliceSettings(max_values=1))
    assert found == {"BR": [4, 5], "other": [0, 1, 2], "unknown": [3]}


def test_a_kind_of_which_nothing_is_known_or_all_are_the_same_gives_no_slices(held_out: HeldOut) -> None:
    bare = replace(held_out, country=np.full(4, ""), profiles=None)
    assert of_kind(bare, SliceKind.COUNTRY) == {}
    assert of_kind(bare, SliceKind.REGION) == {}
    assert of_kind(bare, SliceKind.AGE_BAND) == {}
    assert of_kind(replace(held_out, country=np.full(4, "DE")), SliceKind.COUNTRY) == {}


def test_every_slice_has_a_name_of_its_own_and_targets(held_out: HeldOut) -> None:
    found = slices_of(held_out, ITEM_TABLE, NUM_WATCHES)
    assert len({each.name for each in found}) == len(found)
    assert all(each.counts.any() for each in found)
    assert TargetSlice(SliceKind.AGE_BAND, "18-24", np.ones(1, dtype=bool)).name == "age_band=18-24"


def test_slices_of_another_catalogue_are_refused(held_out: HeldOut) -> None:
    with pytest.raises(QueryError, match="6 items, train events of 5"):
        slices_of(held_out, ITEM_TABLE, NUM_WATCHES[:5])
    with pytest.raises(QueryError, match=r"5 items, .* targets up to row 5"):
        slices_of(held_out, ITEM_TABLE.slice(0, 5), NUM_WATCHES[:5])


def test_settings_out_of_range_are_refused_by_name(held_out: HeldOut) -> None:
    with pytest.raises(ConfigError, match=r"slices\.head_share"):
        slices_of(held_out, ITEM_TABLE, NUM_WATCHES, SliceSettings(head_share=1.0))
    for starts in ((), (2, 5), (1, 5, 5)):
        with pytest.raises(ConfigError, match=r"slices\.history_lengths"):
            slices_of(held_out, ITEM_TABLE, NUM_WATCHES, SliceSettings(history_lengths=starts))


def test_questions_without_history_are_in_no_slice_of_known_profiles() -> None:
    new = replace(questions([[], []], [[0], [1]]), history=histories([[], []]))
    assert of_kind(new, SliceKind.HISTORY_LENGTH) == {}
    assert of_kind(new, SliceKind.ACTIVITY) == {}
