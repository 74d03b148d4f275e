import os
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.data.windowed import asked, content, histories, numbered, windows
from towers.data.batches import Batch, LoaderSettings
from towers.data.histories import Histories
from towers.data.loader import EpochPlan, WindowLoader
from towers.data.windows import Blocks, TrainingWindows
from towers.errors import TrainingError

LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=25).filter(any)
SETTINGS = st.builds(
    LoaderSettings, batch_positions=st.integers(1, 40), pool_blocks=st.integers(1, 6), num_workers=st.just(0)
)


def plan_of(
    made: TrainingWindows,
    chosen: LoaderSettings,
    *,
    epoch: int = 0,
    num_ranks: int = 1,
    seed: int = 5,
    block_events: int = 16,
) -> EpochPlan:
    return EpochPlan.of(made, Blocks.of(made, block_events), chosen, seed, epoch, num_ranks)


def loader_of(plan: EpochPlan, rank: int = 0, num_ranks: int = 1, num_workers: int = 0) -> WindowLoader:
    return WindowLoader(plan, num_workers=num_workers, rank=rank, num_ranks=num_ranks)


@given(lengths=LENGTHS, chosen=SETTINGS, num_ranks=st.integers(1, 5), num_workers=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_ranks_and_workers_share_every_event_without_loss_or_repeat_and_ranks_get_equally_many_batches(
    lengths: list[int], chosen: LoaderSettings, num_ranks: int, num_workers: int
) -> None:
    made = windows(lengths)
    try:
        plan = plan_of(made, chosen, num_ranks=num_ranks)
    except TrainingError:
        # Then there are too few windows: fewer than the next multiple of the ranks.
        assert sum(-(-length // 4) for length in lengths) < num_ranks * -(-sum(lengths) // 4)
        return
    assert len(plan) % num_ranks == 0
    everything: list[int] = []
    for rank in range(num_ranks):
        own = list(loader_of(plan, rank, num_ranks))
        assert len(own) == len(plan) // num_ranks == len(loader_of(plan, rank, num_ranks))
        assert all(len(batch) for batch in own)
        # What a rank's workers read, one after another, is what it is given.
        shares = [
            list(plan.batches(rank + worker * num_ranks, num_workers * num_ranks))
            for worker in range(num_workers)
        ]
        in_turn = [shares[place % num_workers][place // num_workers] for place in range(len(own))]
        assert [content(batch) for batch in in_turn] == [content(batch) for batch in own]
        everything += asked(own)
    assert sorted(everything) == list(range(sum(lengths)))


@given(lengths=LENGTHS, chosen=SETTINGS, stopped=st.integers(0, 200), num_ranks=st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_a_loader_that_goes_on_gives_the_batches_that_the_unbroken_one_would(
    lengths: list[int], chosen: LoaderSettings, stopped: int, num_ranks: int
) -> None:
    made = windows(lengths)
    try:
        plan = plan_of(made, chosen, num_ranks=num_ranks)
    except TrainingError:
        return
    unbroken = [content(batch) for batch in loader_of(plan, num_ranks - 1, num_ranks)]
    stopped %= len(unbroken) + 1
    first = loader_of(plan, num_ranks - 1, num_ranks)
    running = iter(first)
    before = [content(next(running)) for _ in range(stopped)]
    again = loader_of(plan_of(made, chosen, num_ranks=num_ranks), num_ranks - 1, num_ranks)
    again.load_state_dict(first.state_dict())
    after = [content(batch) for batch in again]
    # Stopped at the very end, there is nothing to go on with: the loader begins anew.
    assert before + after == unbroken if stopped < len(unbroken) else after == unbroken
    assert len(again) == len(unbroken)


def test_a_loader_read_to_its_end_begins_anew() -> None:
    loader = loader_of(plan_of(windows([9, 9, 9]), LoaderSettings(8)))
    assert [content(batch) for batch in loader] == [content(batch) for batch in loader]


def test_a_state_of_another_epoch_begins_the_epoch_and_one_of_other_ranks_is_refused() -> None:
    made = windows([9] * 12)
    loader = loader_of(plan_of(made, LoaderSettings(8), epoch=1))
    loader.load_state_dict({"epoch": 0, "num_given": 3, "num_ranks": 1})
    assert loader.state_dict() == {"epoch": 1, "num_given": 0, "num_ranks": 1}
    with pytest.raises(TrainingError, match=r"of 2 processes, found 1"):
        loader.load_state_dict({"epoch": 1, "num_given": 3, "num_ranks": 2})


def test_seed_and_epoch_decide_the_order_and_nothing_else() -> None:
    made = windows([3, 9, 1, 14, 2, 2, 7, 30, 5])

    def order(seed: int, epoch: int) -> list[tuple[list[int], ...]]:
        plan = plan_of(made, LoaderSettings(16, pool_blocks=2), seed=seed, epoch=epoch)
        return [content(batch) for batch in loader_of(plan)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_no_two_draws_share_a_key() -> None:
    # Profiles of one length each, a block each: were the draws of two blocks the same, so were their phases.
    made = windows([1000] * 40, max_history=500)
    plan = plan_of(made, LoaderSettings(100_000, pool_blocks=40), block_events=1000)
    first = Counter(
        int(start) for batch in loader_of(plan) for start in batch.num_shown[batch.from_first].tolist()
    )
    assert len(first) > 30


def test_a_batch_is_near_its_size_and_of_windows_of_like_length() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 3000).tolist()
    made = windows(lengths, max_history=50)
    plan = plan_of(made, LoaderSettings(1024), block_events=4096)
    batches = list(loader_of(plan))
    sizes = np.array([len(batch.questions(1).window) for batch in batches])
    assert sizes.max() <= 1024 + 50
    assert sizes.mean() > 900
    padded = sum(len(batch) * batch.longest for batch in batches)
    assert padded / sum(int(batch.num_shown.sum()) for batch in batches) < 1.15


def mixing(pool_blocks: int) -> float:
    """Mean distance in the log of windows that share a batch, over what chance would give: a third."""
    made = windows([4] * 4000)
    plan = plan_of(made, LoaderSettings(64, pool_blocks=pool_blocks), block_events=400)
    spread = [np.diff(batch.profile_row[:, 0].numpy()) for batch in loader_of(plan)]
    return float(np.abs(np.concatenate(spread)).mean() / (4000 / 3))


def test_one_pool_shuffles_the_whole_log_and_smaller_ones_what_is_in_them() -> None:
    assert abs(mixing(1000) - 1.0) < 0.05
    assert abs(mixing(10) - 1.0) < 0.25
    assert mixing(1) < 0.05


def test_a_log_beyond_memory_is_planned_and_entered_anywhere_in_little_memory(tmp_path: Path) -> None:
    num_profiles, length = 4000, 50_000

    def column(dtype: type) -> np.ndarray:
        """Two hundred million zeros, of which the disk holds none."""
        path = tmp_path / f"{dtype.__name__}.bin"
        path.touch()
        os.truncate(path, num_profiles * length * np.dtype(dtype).itemsize)
        return np.memmap(path, dtype, "r")

    minutes = column(np.float32)
    history = Histories(
        np.arange(num_profiles + 1) * length, column(np.int32), column(np.int64), minutes, minutes
    )
    made = TrainingWindows(history, history.lengths, numbered(num_profiles), 50)
    tracemalloc.start()
    loader = loader_of(EpochPlan.of(made, Blocks.of(made), LoaderSettings(8192, pool_blocks=16), 0, 0))
    loader.load_state_dict({"epoch": 0, "num_given": len(loader) - 100, "num_ranks": 1})
    late = next(iter(loader))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(late.questions(1).window) > 7000
    # A pool is a million events: its windows and their order, not the 4 GB of columns.
    assert peak_bytes < 16 * 2**20


def test_fewer_windows_than_ranks_are_refused() -> None:
    with pytest.raises(TrainingError, match="1 windows cannot feed 2 ranks"):
        plan_of(windows([3]), LoaderSettings(16), num_ranks=2)


def test_an_empty_log_has_no_batches() -> None:
    assert list(loader_of(plan_of(windows([0, 0]), LoaderSettings(16)))) == []


def same(one: Batch, other: Batch) -> bool:
    return content(one) == content(other) and one.longest == other.longest


@pytest.mark.parametrize("num_workers", [1, 2])
def test_worker_processes_give_what_the_training_process_would_and_go_on_where_it_stopped(
    tmp_path: Path, num_workers: int
) -> None:
    made = histories([int(length) for length in np.random.default_rng(1).integers(0, 40, 60)])
    for name in ("offset", "item_row", "time_seconds", "minutes", "weight"):
        np.save(tmp_path / f"{name}.npy", getattr(made, name))
    mapped = Histories(
        *(
            np.load(tmp_path / f"{name}.npy", mmap_mode="r")
            for name in ("offset", "item_row", "time_seconds", "minutes", "weight")
        )
    )
    profiles = numbered(60)
    read = TrainingWindows(mapped, mapped.lengths, profiles, 4)
    plan = plan_of(read, LoaderSettings(16, pool_blocks=3))
    expected = list(
        loader_of(plan_of(TrainingWindows(made, made.lengths, profiles, 4), LoaderSettings(16, 3)))
    )
    loader = loader_of(plan, num_workers=num_workers)
    running = iter(loader)
    part = [next(running) for _ in range(5)]
    # Workers have read ahead; what counts is what was given out.
    state = loader.state_dict()
    running.close()  # type: ignore[attr-defined]  # a generator
    assert state["num_given"] == 5
    again = loader_of(plan, num_workers=3 - num_workers)
    again.load_state_dict(state)
    given = part + list(again)
    assert len(given) == len(expected)
    assert all(same(one, other) for one, other in zip(given, expected, strict=True))
