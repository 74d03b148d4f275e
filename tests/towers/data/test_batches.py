from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.batches import NO_TARGET, TrainingWindows, WindowSampler, query_batch
from towers.data.histories import Histories
from towers.errors import TrainingError


def histories(lengths: list[int]) -> Histories:
    """Events numbered through: item = place among all events, time = 10 × place, minutes = place."""
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    place = np.arange(offset[-1])
    return Histories(offset, place, place * 10, place.astype(np.float32))


def windows(lengths: list[int], max_history: int = 4, num_targets: int = 1) -> TrainingWindows:
    return TrainingWindows(histories(lengths), np.zeros(len(lengths), np.int64), max_history, num_targets)


@given(
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any),
    max_history=st.integers(2, 6),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_every_event_is_asked_for_exactly_once_in_an_epoch(
    lengths: list[int], max_history: int, seed: int
) -> None:
    made = windows(lengths, max_history)
    asked: Counter[int] = Counter()
    for batch in WindowSampler(made, 8, seed):
        target = made[batch].target_row[..., 0].numpy()
        asked.update(target[target != NO_TARGET].tolist())
    # Items are numbered by event, so each stands for one.
    assert asked == Counter(range(sum(lengths)))


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=8), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_question_is_asked_after_the_event_before_it_and_shows_none_later(
    lengths: list[int], seed: int
) -> None:
    made = windows(lengths)
    for cut in WindowSampler(made, 16, seed):
        batch = made[cut]
        for line in range(len(cut)):
            target = batch.target_row[line, :, 0].numpy()
            for place in np.flatnonzero(target != NO_TARGET):
                shown = batch.item_row[line][:place][batch.valid[line][:place]].numpy()
                first = made.history.offset[cut[line, 0]]
                if place == 0:
                    assert target[0] == first
                else:
                    assert shown[-1] == target[place] - 1
                    assert shown[0] >= first


def test_ranks_share_all_windows_without_overlap_and_get_equally_many_batches() -> None:
    made = windows([3, 9, 1, 14, 2, 2, 7, 30, 5])
    whole = np.concatenate(list(WindowSampler(made, 16, 5, epoch=2)))
    for num_ranks in (2, 3):
        parts = [
            list(WindowSampler(made, 16, 5, epoch=2, rank=r, num_ranks=num_ranks)) for r in range(num_ranks)
        ]
        assert len({len(part) for part in parts}) == 1
        together = np.concatenate([batch for part in parts for batch in part])
        assert sorted(map(tuple, together)) == sorted(map(tuple, whole))


def test_seed_and_epoch_decide_the_order_and_nothing_else() -> None:
    made = windows([3, 9, 1, 14, 2, 2, 7, 30, 5])

    def order(seed: int, epoch: int) -> list[list[list[int]]]:
        return [batch.tolist() for batch in WindowSampler(made, 16, seed, epoch=epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_a_batch_stays_within_its_positions_unless_one_window_is_longer() -> None:
    made = windows([3, 9, 1, 14, 2, 2, 7, 30, 5], max_history=10)
    for batch in WindowSampler(made, 24, 0):
        lengths = batch[:, 2] - batch[:, 1]
        assert len(batch) == 1 or lengths.max() * len(batch) <= 24


def test_fewer_windows_than_ranks_are_refused() -> None:
    with pytest.raises(TrainingError, match="1 windows cannot feed 2 ranks"):
        WindowSampler(windows([3]), 16, 0, num_ranks=2)


def test_queries_show_the_last_events_and_ask_nothing() -> None:
    asked = np.array([100, 100, 100])
    batch = query_batch(histories([5, 0, 2]), asked, np.array([1, 0, 0]), 3)
    assert batch.item_row.tolist() == [[2, 3, 4], [0, 0, 0], [5, 6, 0]]
    assert batch.valid.tolist() == [[True] * 3, [False] * 3, [True, True, False]]
    assert batch.country_row.tolist() == [1, 0, 0]
    assert (batch.target_row == NO_TARGET).all()
    # Events lie 10 s apart, numbered through; the last gap runs to the request.
    nan = np.nan
    expected = [[nan, 10.0, 10.0, 60.0], [nan] * 4, [nan, 10.0, 40.0, nan]]
    np.testing.assert_array_equal(batch.gap_seconds.numpy(), np.array(expected, np.float32))


def test_queries_without_any_history_are_empty_lines() -> None:
    nothing = np.zeros(2, np.int64)
    batch = query_batch(Histories.empty(2), nothing, nothing, 3)
    assert batch.item_row.shape == (2, 0)
    assert batch.gap_seconds.shape == (2, 1)
    assert batch.target_row.shape == (2, 1, 1)


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=8), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_training_position_is_what_a_query_asked_at_its_target_would_be(
    lengths: list[int], seed: int
) -> None:
    made = windows(lengths, max_history=30)
    for cut in WindowSampler(made, 64, seed):
        batch = made[cut]
        for line, (profile, start, _) in enumerate(cut):
            for place in np.flatnonzero(batch.target_row[line, :, 0] != NO_TARGET):
                target = int(batch.target_row[line, place, 0])
                known = made.history.slices(np.array([profile]), np.array([start]), np.array([start + place]))
                query = query_batch(known, np.array([10 * target]), np.array([0]), 30)
                for name in ("item_row", "minutes"):
                    shown = getattr(batch, name)[line, :place].numpy()
                    np.testing.assert_array_equal(shown, getattr(query, name)[0].numpy())
                gaps = batch.gap_seconds[line, : place + 1].numpy()
                np.testing.assert_array_equal(gaps, query.gap_seconds[0].numpy())


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=8), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_further_targets_are_the_events_that_follow_up_to_the_end_of_the_history(
    lengths: list[int], seed: int
) -> None:
    made = windows(lengths, num_targets=3)
    for cut in WindowSampler(made, 16, seed):
        for line, targets in zip(cut, made[cut].target_row.numpy(), strict=True):
            end = made.history.offset[line[0] + 1]
            for target in targets[targets[:, 0] != NO_TARGET]:
                following = np.arange(target[0], target[0] + 3)
                # Items are numbered by event, so the next event is the next item.
                assert target.tolist() == np.where(following < end, following, NO_TARGET).tolist()
            assert (targets[targets[:, 0] == NO_TARGET] == NO_TARGET).all()
