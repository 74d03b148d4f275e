from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.batches import NO_TARGET, TrainingWindows, WindowSampler, query_batch
from towers.data.histories import Histories
from towers.data.vocabulary import Vocabulary
from towers.errors import TrainingError


def histories(lengths: list[int]) -> Histories:
    """Events numbered through: item = place among all events, time = 10 × place, minutes = place."""
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    place = np.arange(offset[-1])
    return Histories(offset, place, place * 10, place.astype(np.float32))


def windows(lengths: list[int], max_history: int = 4) -> TrainingWindows:
    return TrainingWindows(histories(lengths), np.zeros(len(lengths), np.int64), max_history)


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
        target = made[batch].target_row.numpy()
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
            target = batch.target_row[line].numpy()
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
    batch = query_batch(histories([5, 0, 2]), np.array(["DE", "XX", ""]), Vocabulary(["DE"]), 3)
    assert batch.item_row.tolist() == [[2, 3, 4], [0, 0, 0], [5, 6, 0]]
    assert batch.valid.tolist() == [[True] * 3, [False] * 3, [True, True, False]]
    assert batch.country_row.tolist() == [1, 0, 0]
    assert (batch.target_row == NO_TARGET).all()
    # The first event shown of a cut history has one before it; the first of a whole history has none.
    gap = batch.gap_seconds.numpy()
    assert gap[0].tolist() == [10.0, 10.0, 10.0]
    assert np.isnan(gap[2, 0])
    assert gap[2, 1] == 10.0
    assert np.isnan(gap[1]).all()


def test_queries_without_any_history_are_empty_lines() -> None:
    batch = query_batch(Histories.empty(2), np.array(["DE", ""]), Vocabulary(["DE"]), 3)
    assert batch.item_row.shape == (2, 0)
    assert batch.target_row.shape == (2, 1)
