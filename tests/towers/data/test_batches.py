import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.data.windowed import histories, numbered, windows
from towers.data.batches import NO_TARGET, Batch, packed, query_batch
from towers.data.histories import Histories

LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=8)


def every_window(lengths: list[int], seed: int, max_history: int, num_targets: int = 1) -> Batch:
    made = windows(lengths, max_history, num_targets)
    cut = made.cut(0, len(lengths), np.random.default_rng(seed))
    return made.read(cut, [cut.shape[1]])[0]


def test_queries_show_the_last_events() -> None:
    asked = np.array([100, 100, 100])
    batch = query_batch(histories([5, 0, 2]), asked, numbered(3), 3)
    found = batch.positions()
    assert batch.item_row.tolist() == [2, 3, 4, 5, 6]
    assert found.window.tolist() == [0, 0, 0, 0, 1, 2, 2, 2]
    assert found.place.tolist() == [0, 1, 2, 3, 0, 0, 1, 2]
    assert found.seen.tolist() == [False, True, True, True, False, False, True, True]
    assert found.item_row.tolist() == [0, 2, 3, 4, 0, 0, 5, 6]
    assert found.seconds.tolist() == [0, 20, 30, 40, 0, 0, 50, 60]
    assert batch.profile_row.tolist() == [[0], [1], [2]]
    assert batch.profile_numeric.shape == (3, 0)
    assert batch.from_first.tolist() == [False, True, True]
    # Events lie 10 s apart, numbered through; what is asked last is the request.
    assert found.asked_seconds.tolist() == [20, 30, 40, 100, 100, 50, 60, 100]


def test_queries_without_any_history_are_empty_lines() -> None:
    nothing = np.zeros(2, np.int64)
    batch = query_batch(Histories.empty(2), nothing, numbered(2), 3)
    found = batch.positions()
    assert (found.window.tolist(), found.place.tolist()) == ([0, 1], [0, 0])
    assert torch.isnan(found.minutes).all()
    assert len(query_batch(Histories.empty(0), nothing[:0], numbered(0), 3)) == 0


def test_a_batch_has_no_padding_and_shares_the_memory_of_those_read_with_it() -> None:
    made = windows([3, 20, 9], max_history=50)
    cut = made.cut(0, 3, np.random.default_rng(0))
    one, two = made.read(cut, [1, 2])
    assert (one.item_row.tolist(), two.item_row.tolist()) == ([0, 1, 2], list(range(3, 32)))
    assert (one.longest, two.longest) == (2, 19)
    assert one.item_row.untyped_storage().data_ptr() == two.item_row.untyped_storage().data_ptr()


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_rows_of_a_store_are_read_in_their_own_width(dtype: type) -> None:
    made = histories([4, 2])
    narrow = Histories(made.offset, made.item_row.astype(dtype), made.time_seconds, made.minutes, made.weight)
    (batch,) = packed(
        narrow,
        np.array([1, 4]),
        num_events=np.array([3, 2]),
        num_shown=np.array([2, 1]),
        from_first=np.array([False, True]),
        profiles=numbered(2),
        num_windows=[2],
    )
    assert batch.item_row.numpy().dtype == dtype
    questions = batch.questions(1)
    assert questions.target_row.dtype == torch.int64
    # Of a later window the place before its first event is not asked: another window asked it.
    assert list(zip(questions.window.tolist(), questions.place.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
    ]
    assert questions.target_row[:, 0].tolist() == [2, 3, 4, 5]


@given(lengths=LENGTHS, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_question_is_asked_after_the_event_before_it_and_shows_none_later(
    lengths: list[int], seed: int
) -> None:
    batch = every_window(lengths, seed, max_history=4)
    first = set(np.cumsum([0, *lengths]).tolist())
    positions, questions = batch.positions(), batch.questions(1)
    assert positions.window[questions.position].tolist() == questions.window.tolist()
    assert positions.place[questions.position].tolist() == questions.place.tolist()
    for position, place, target in zip(
        questions.position.tolist(),
        questions.place.tolist(),
        questions.target_row[:, 0].tolist(),
        strict=True,
    ):
        seen = positions.item_row[position - place + 1 : position + 1].tolist()
        if place == 0:
            assert target in first
        else:
            assert seen == list(range(target - place, target))
            assert not first & {*seen[1:], target}


@given(lengths=LENGTHS, seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_a_training_position_is_what_a_query_asked_at_its_target_would_be(
    lengths: list[int], seed: int
) -> None:
    batch = every_window(lengths, seed, max_history=30)
    history = histories(lengths)
    positions, questions = batch.positions(), batch.questions(1)
    for window, position, place, target in zip(
        questions.window.tolist(),
        questions.position.tolist(),
        questions.place.tolist(),
        questions.target_row[:, 0].tolist(),
        strict=True,
    ):
        profile = int(batch.profile_row[window, 0])
        known = history.slices(np.array([profile]), np.array([target - place]), np.array([target]))
        query = query_batch(known, np.array([10 * target]), numbered(1), 30)
        part, alone = slice(position - place, position + 1), query.positions()
        for name in ("place", "seen", "item_row", "seconds", "minutes", "asked_seconds"):
            learned, served = getattr(positions, name)[part], getattr(alone, name)
            torch.testing.assert_close(learned, served, rtol=0, atol=0, equal_nan=True)


@given(lengths=LENGTHS, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_further_targets_follow_with_their_weights_up_to_the_end_of_the_history(
    lengths: list[int], seed: int
) -> None:
    questions = every_window(lengths, seed, max_history=4, num_targets=3).questions(3)
    ends = np.cumsum(lengths)
    for targets, weights in zip(questions.target_row.numpy(), questions.target_weight.numpy(), strict=True):
        end = ends[np.searchsorted(ends, targets[0], side="right")]
        following = np.arange(targets[0], targets[0] + 3)
        # Items are numbered by event, so the next event is the next item; event e weighs 1 + e.
        assert targets.tolist() == np.where(following < end, following, NO_TARGET).tolist()
        assert weights.tolist() == np.where(following < end, 1.0 + following, 0.0).tolist()


@given(lengths=LENGTHS, seed=st.integers(0, 99), num_targets=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_the_openings_are_the_first_events_of_the_histories_that_begin_in_the_batch(
    lengths: list[int], seed: int, num_targets: int
) -> None:
    batch = every_window(lengths, seed, max_history=4)
    row, weight = batch.openings(num_targets)
    questions = batch.questions(1)
    assert row[:, 0].tolist() == questions.target_row[questions.place == 0, 0].tolist()
    starts = np.cumsum([0, *lengths])[:-1]
    for found, weights, start, length in zip(row.tolist(), weight.tolist(), starts, lengths, strict=True):
        # A window shows four events and asks for one more; further ones are not in it.
        there = min(num_targets, length, batch.num_events.max().item())
        known = [each for each in found if each != NO_TARGET]
        assert known == list(range(start, start + len(known)))
        assert 1 <= len(known) <= there
        assert weights == [1.0 + each if each != NO_TARGET else 0.0 for each in found]


def test_no_event_beyond_those_to_learn_from_is_shown_or_asked_for() -> None:
    history = histories([10, 6, 8])
    limited = type(windows([1]))(history, np.array([7, 0, 1]), numbered(3), 4, num_targets=5)
    cut = limited.cut(0, 3, np.random.default_rng(0))
    (batch,) = limited.read(cut, [cut.shape[1]])
    assert set(batch.item_row.tolist()) == {*range(7), 16}
    rows = batch.questions(5).target_row
    assert sorted(rows[:, 0].tolist()) == [*range(7), 16]
    assert set(rows.flatten().tolist()) == {NO_TARGET, *range(7), 16}


@given(lengths=LENGTHS, seed=st.integers(0, 99), max_positions=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_parts_hold_all_windows_in_order_and_ask_what_the_batch_asks(
    lengths: list[int], seed: int, max_positions: int
) -> None:
    batch = every_window(lengths, seed, max_history=4, num_targets=3)
    parts = batch.parts(max_positions)
    for name in (
        "num_events",
        "num_shown",
        "from_first",
        "asked_seconds",
        "profile_row",
        "item_row",
        "weight",
    ):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(batch, name))
    whole = batch.questions(3)
    asked = [part.questions(3) for part in parts]
    assert torch.equal(torch.cat([one.target_row for one in asked]), whole.target_row)
    assert torch.equal(torch.cat([one.place for one in asked]), whole.place)
    for part in parts:
        assert part.longest == int(part.num_shown.max())
        assert len(part) == 1 or len(part) * (part.longest + 1) <= max_positions


def test_windows_of_one_length_make_as_few_parts_as_they_can() -> None:
    batch = query_batch(histories([3] * 7), np.full(7, 1000), numbered(7), 5)
    assert [len(part) for part in batch.parts(12)] == [3, 3, 1]
    assert [len(part) for part in batch.parts(1)] == [1] * 7
    assert [len(part) for part in batch.parts(28)] == [7]
