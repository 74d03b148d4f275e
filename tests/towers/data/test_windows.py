import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.data.windowed import asked, histories, numbered, windows
from towers.data.windows import Blocks, TrainingWindows
from towers.errors import QueryError

LENGTHS = st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any)


@given(lengths=LENGTHS, max_history=st.integers(2, 6), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_event_is_asked_for_exactly_once(lengths: list[int], max_history: int, seed: int) -> None:
    made = windows(lengths, max_history)
    cut = made.cut(0, len(lengths), np.random.default_rng(seed))
    batches = made.read(cut, [1] * cut.shape[1])
    # Items are numbered by event, so each stands for one.
    assert sorted(asked(batches)) == list(range(sum(lengths)))
    assert made.num_questions(cut).tolist() == [len(batch.questions(1).window) for batch in batches]
    assert max(batch.longest for batch in batches) <= max_history


def test_a_long_history_is_cut_at_every_phase() -> None:
    made = windows([40], max_history=5)
    stops = [int(made.cut(0, 1, np.random.default_rng(seed))[2, 0]) for seed in range(60)]
    assert set(stops) == {2, 3, 4, 5}


@given(lengths=LENGTHS, block_events=st.integers(1, 60), max_history=st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_blocks_hold_all_profiles_in_order_and_each_has_something_to_ask(
    lengths: list[int], block_events: int, max_history: int
) -> None:
    made = windows(lengths, max_history)
    blocks = Blocks.of(made, block_events)
    assert (blocks.profile[0], blocks.profile[-1]) == (0, len(lengths))
    for block in range(len(blocks)):
        own = lengths[blocks.profile[block] : blocks.profile[block + 1]]
        assert blocks.num_questions[block] == sum(own) > 0
        # No larger than asked for, but for the profile that fills it up.
        assert sum(own) < block_events + max(own)
        fewest = min(
            made.cut(
                int(blocks.profile[block]), int(blocks.profile[block + 1]), np.random.default_rng(seed)
            ).shape[1]
            for seed in range(5)
        )
        assert blocks.min_windows[block] <= fewest
        assert blocks.min_windows[block] == sum(-(-length // max_history) for length in own)


def test_an_empty_log_has_no_blocks() -> None:
    assert len(Blocks.of(windows([0, 0]))) == 0


@pytest.mark.parametrize("num_events", [[4, 0], [-1, 2]])
def test_more_events_to_learn_from_than_there_are_is_refused(num_events: list[int]) -> None:
    with pytest.raises(QueryError, match="between 0 and the length"):
        TrainingWindows(histories([3, 2]), np.array(num_events), numbered(2), 4)
