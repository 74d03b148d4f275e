"""Splits against their definitions, one event at a time; and what must not be able to leak."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.worlds import START_SECONDS, log_tables, tiny_tables
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.histories import Histories
from towers.data.split import (
    HeldOut,
    Split,
    SplitKind,
    SplitSettings,
    check_split,
    split,
    split_of,
    unlearned,
)
from towers.errors import ConfigError, ReleaseError, SchemaError

NUM_ITEMS, NUM_PROFILES = 8, 5
FRESH = NUM_ITEMS
"""Item rows from here on are in the catalogue and in no drawn log: tests put them in place of others."""

Event = tuple[int, int, int]
Watch = tuple[int, int]

relaxed = settings(deadline=None, max_examples=50)
event = st.tuples(
    st.integers(0, NUM_PROFILES - 1),
    st.integers(0, NUM_ITEMS - 1),
    st.integers(0, 12).map(lambda t: t * 1000),
)
logs = st.lists(event, min_size=1, max_size=40)
both_kinds = st.sampled_from(
    [
        SplitSettings(SplitKind.LEAVE_ONE_OUT),
        SplitSettings(SplitKind.GLOBAL_TIME, test_share=0.2, validation_share=0.2),
    ]
)


@dataclass(frozen=True)
class Question:
    """One held-out question as lists of (item, second)."""

    history: list[Watch]
    targets: list[int]
    time: int
    country: str


def dataset_of(events: list[Event]) -> Dataset:
    """A log with a country per profile and with fresh items that nobody watched."""
    return dataset_from_tables(
        log_tables(
            events,
            num_items=FRESH + 50,
            num_profiles=NUM_PROFILES,
            profile_countries=[f"C{profile}" for profile in range(NUM_PROFILES)],
        )
    )


def watches(history: Histories) -> list[list[Watch]]:
    pairs = list(zip(history.item_row.tolist(), history.time_seconds.tolist(), strict=True))
    return [pairs[start:stop] for start, stop in zip(history.offset, history.offset[1:], strict=False)]


def questions(held_out: HeldOut) -> dict[int, Question]:
    targets = [
        held_out.target_row[start:stop].tolist()
        for start, stop in zip(held_out.target_offset, held_out.target_offset[1:], strict=False)
    ]
    rows = held_out.profile_row.tolist()
    assert len(held_out) == len(rows) == len(set(rows)) == len(targets)
    return {
        profile: Question(history, target, time, country)
        for profile, history, target, time, country in zip(
            rows,
            watches(held_out.history),
            targets,
            held_out.time_seconds.tolist(),
            held_out.country.tolist(),
            strict=True,
        )
    }


def split_or_skip(dataset: Dataset, chosen: SplitSettings) -> Split:
    try:
        return split(dataset, chosen)
    except SchemaError:
        assume(False)
        raise


def parts(found: Split) -> list[tuple[int, int]]:
    """(profile, item) of every train event and of every target."""
    train = [(p, item) for p, mine in enumerate(watches(found.train)) for item, _ in mine]
    held = [
        (p, item)
        for held_out in (found.validation, found.test)
        for p, question in questions(held_out).items()
        for item in question.targets
    ]
    return train + held


@relaxed
@given(logs)
def test_leave_one_out_tests_the_last_and_validates_the_one_before(events: list[Event]) -> None:
    dataset = dataset_of(events)
    whole = watches(dataset.history)
    found = split_or_skip(dataset, SplitSettings())
    assert watches(found.train) == [mine[:-2] if len(mine) >= 3 else mine for mine in whole]
    long = {p: mine for p, mine in enumerate(whole) if len(mine) >= 3}
    for held_out, place in ((found.validation, -2), (found.test, -1)):
        assert questions(held_out) == {
            p: Question(mine[:place], [mine[place][0]], mine[place][1], f"C{p}") for p, mine in long.items()
        }


@relaxed
@given(logs, st.sampled_from([(0.1, 0.1), (0.2, 0.3), (0.5, 0.25)]))
def test_global_time_cuts_every_history_at_the_same_two_moments(
    events: list[Event], shares: tuple[float, float]
) -> None:
    dataset = dataset_of(events)
    whole = watches(dataset.history)
    found = split_or_skip(dataset, SplitSettings(SplitKind.GLOBAL_TIME, *shares))
    times = sorted(second for mine in whole for _, second in mine)
    first_test = times[int(np.ceil((1 - shares[0]) * (len(times) - 1) - 1e-9))]
    first_validation = times[int(np.ceil((1 - sum(shares)) * (len(times) - 1) - 1e-9))]
    assert watches(found.train) == [[w for w in mine if w[1] < first_validation] for mine in whole]
    for held_out, low, high in (
        (found.validation, first_validation, first_test),
        (found.test, first_test, times[-1] + 1),
    ):
        expected = {}
        for p, mine in enumerate(whole):
            targets = [watch for watch in mine if low <= watch[1] < high]
            if targets:
                known = [watch for watch in mine if watch[1] < low]
                expected[p] = Question(known, [item for item, _ in targets], targets[0][1], f"C{p}")
        assert questions(held_out) == expected


@relaxed
@given(logs, both_kinds)
def test_every_event_is_in_exactly_one_part(events: list[Event], chosen: SplitSettings) -> None:
    dataset = dataset_of(events)
    whole = [(p, item) for p, mine in enumerate(watches(dataset.history)) for item, _ in mine]
    assert sorted(parts(split_or_skip(dataset, chosen))) == sorted(whole)


@relaxed
@given(logs, both_kinds)
def test_no_target_is_in_its_history_and_no_history_is_later_than_its_question(
    events: list[Event], chosen: SplitSettings
) -> None:
    found = split_or_skip(dataset_of(events), chosen)
    for held_out in (found.validation, found.test):
        for question in questions(held_out).values():
            assert not set(question.targets) & {item for item, _ in question.history}
            assert all(second <= question.time for _, second in question.history)
            assert question.targets


@relaxed
@given(logs, both_kinds)
def test_seen_items_are_those_of_train(events: list[Event], chosen: SplitSettings) -> None:
    found = split_or_skip(dataset_of(events), chosen)
    assert set(np.flatnonzero(found.seen).tolist()) == {
        item for mine in watches(found.train) for item, _ in mine
    }
    assert found.seen.shape == (FRESH + 50,)


@relaxed
@given(logs)
def test_leave_one_out_learns_nothing_from_what_it_tests(events: list[Event]) -> None:
    found = split_or_skip(dataset_of(events), SplitSettings())
    assume(len(found.test))
    # Another last title, watched later: nothing but the test may change.
    last = {p: q.targets[0] for p, q in questions(found.test).items()}
    changed = [
        (p, FRESH + p, ms + 90_000) if last.get(p) == item else (p, item, ms) for p, item, ms in events
    ]
    other = split(dataset_of(changed), SplitSettings())
    assert watches(other.train) == watches(found.train)
    assert questions(other.validation) == questions(found.validation)
    assert np.array_equal(other.seen, found.seen)
    assert {p: q.history for p, q in questions(other.test).items()} == {
        p: q.history for p, q in questions(found.test).items()
    }
    assert all(q.targets == [FRESH + p] for p, q in questions(other.test).items())


@relaxed
@given(logs, st.data())
def test_global_time_learns_nothing_from_what_happens_after_the_cut_off(
    events: list[Event], data: st.DataObject
) -> None:
    chosen = SplitSettings(SplitKind.GLOBAL_TIME, test_share=0.25, validation_share=0.25)
    dataset = dataset_of(events)
    found = split_or_skip(dataset, chosen)
    cut = min(question.time for question in questions(found.test).values())
    # As many events from the cut-off on, at the same times, but by other profiles and of other titles.
    anyone = st.integers(0, NUM_PROFILES - 1)
    whole = [(p, item, second) for p, mine in enumerate(watches(dataset.history)) for item, second in mine]
    changed = [
        (p, item, 1000 * (second - START_SECONDS))
        if second < cut
        else (data.draw(anyone), FRESH + place, 1000 * (second - START_SECONDS))
        for place, (p, item, second) in enumerate(whole)
    ]
    other = split(dataset_of(changed), chosen)
    assert watches(other.train) == watches(found.train)
    assert {p: (q.history, q.targets, q.time) for p, q in questions(other.validation).items()} == {
        p: (q.history, q.targets, q.time) for p, q in questions(found.validation).items()
    }
    assert np.array_equal(other.seen, found.seen)


def test_shares_of_a_log_without_ties_are_kept_to_within_one_event() -> None:
    events = [(place % NUM_PROFILES, place % NUM_ITEMS, place * 1000) for place in range(40)]
    found = split(dataset_of(events), SplitSettings(SplitKind.GLOBAL_TIME, 0.2, 0.3))
    assert abs(len(found.test.target_row) - 8) <= 1
    assert abs(len(found.validation.target_row) - 12) <= 1


def test_the_tiny_tables_leave_one_question() -> None:
    found = split(dataset_from_tables(tiny_tables()), SplitSettings())
    assert [[item for item, _ in mine] for mine in watches(found.train)] == [[0], [3, 0], [2], []]
    assert (found.validation.profile_row.tolist(), found.validation.target_row.tolist()) == ([0], [1])
    assert (found.test.profile_row.tolist(), found.test.target_row.tolist()) == ([0], [2])
    assert found.seen.tolist() == [True, False, True, True, False]


def test_a_profile_that_is_new_at_the_cut_off_is_asked_with_an_empty_history() -> None:
    events = [(0, item, item * 1000) for item in range(8)] + [(1, 0, 9000)]
    found = split(dataset_of(events), SplitSettings(SplitKind.GLOBAL_TIME, 0.1, 0.2))
    assert questions(found.test)[1] == Question([], [0], START_SECONDS + 9, "C1")


def test_a_log_without_events_is_refused() -> None:
    with pytest.raises(SchemaError, match="the log has no events"):
        split(dataset_of([]), SplitSettings())


def test_a_log_of_one_moment_has_no_before_and_is_refused() -> None:
    dataset = dataset_of([(p, p, 0) for p in range(NUM_PROFILES)])
    with pytest.raises(SchemaError, match=r"no event is left to train on .* smaller split\.test_share and"):
        split(dataset, SplitSettings(SplitKind.GLOBAL_TIME))


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    dataset = dataset_of([(0, item, item * 1000) for item in range(8)])
    message = r"^split\.test_share \+ split\.validation_share: 1\.1; expected < 1$"
    with pytest.raises(ConfigError, match=message):
        split(dataset, SplitSettings(SplitKind.GLOBAL_TIME, test_share=0.5, validation_share=0.6))
    with pytest.raises(ConfigError, match=message):
        check_split(SplitSettings(SplitKind.GLOBAL_TIME, test_share=0.5, validation_share=0.6))


def test_leave_one_out_reads_no_shares_so_their_sum_is_no_fault() -> None:
    dataset = dataset_of([(0, item, item * 1000) for item in range(8)])
    assert len(split(dataset, SplitSettings(test_share=0.5, validation_share=0.6)).test) == 1


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_is_between_nothing_and_everything(share: float) -> None:
    dataset = dataset_of([(0, item, item * 1000) for item in range(8)])
    with pytest.raises(ConfigError, match=r"^split\.test_share: .* out of range"):
        split(dataset, SplitSettings(test_share=share))
    with pytest.raises(ConfigError, match=r"^split\.validation_share: .* out of range"):
        split(dataset, SplitSettings(validation_share=share))


@relaxed
@given(logs, both_kinds, st.sampled_from([0.2, 0.5, 0.8]))
def test_of_profiles_kept_out_nothing_is_learned_or_selected_and_the_rest_is_as_it_was(
    events: list[Event], chosen: SplitSettings, share: float
) -> None:
    dataset = dataset_of(events)
    whole = split_or_skip(dataset, chosen)
    found = split_or_skip(dataset, replace(chosen, unlearned_share=share))
    out = unlearned(dataset.profiles.ids, share)
    assert found.num_train.tolist() == np.where(out, 0, whole.num_train).tolist()
    learned = [item for p, mine in enumerate(watches(whole.train)) for item, _ in mine if not out[p]]
    assert found.num_watches.tolist() == np.bincount(learned, minlength=FRESH + 50).tolist()
    validated = {p: q for p, q in questions(whole.validation).items() if not out[p]}
    assert questions(found.validation) == validated
    assert questions(found.test) == questions(whole.test)


def test_the_same_profiles_are_kept_out_whoever_joins_and_no_more_than_are_asked_for() -> None:
    ids = [f"profile {row}" for row in range(10_000)]
    tenth, half = unlearned(ids, 0.1), unlearned(ids, 0.5)
    assert abs(tenth.sum() - 1000) < 120  # four standard deviations
    assert half[tenth].all()
    assert unlearned(["somebody else", *reversed(ids)], 0.1)[:0:-1].tolist() == tenth.tolist()
    assert not unlearned(ids, 0.0).any()


def test_a_training_from_before_profiles_were_kept_out_learned_from_all() -> None:
    said = {"kind": "leave_one_out", "test_share": 0.1, "validation_share": 0.1}
    assert split_of({"split": said}) == SplitSettings()
    assert split_of({"split": {**said, "unlearned_share": 0.25}}) == SplitSettings(unlearned_share=0.25)
    with pytest.raises(ReleaseError, match=r"split\.unlearned_share: 1\.0 is out of range"):
        split_of({"split": {**said, "unlearned_share": 1.0}})
