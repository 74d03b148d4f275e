"""The batches of an epoch: a shuffle in bounded memory, shares per rank and worker, a place to go on from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from towers.data.batches import Batch, LoaderSettings
from towers.data.windows import Blocks, TrainingWindows
from towers.errors import TrainingError
from towers.processes import forked

# Positions read at once: the index and columns of so many stay in a core's cache.
_READ_POSITIONS = 1 << 14

# Forks, so that workers need not import torch anew every epoch.
_WORKERS = forked(__name__)


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """The order of one epoch; seed, epoch and settings decide it, and no rank or worker.

    Blocks are permuted and taken `pool_blocks` at a time; the windows of such a pool are shuffled among each
    other. Windows of like length share a batch, so that little is padded on the device; the batches of a
    pool come in random order. Whatever is drawn is keyed by seed and epoch and by block or pool, so that any
    batch can be made without those before it. A plan reads where histories begin, never what is in them.

    order: int64 (K,), the blocks. pool: int64 (N+1,), where among them each pool begins.
    first_batch: int64 (N+1,), the number of each pool's first batch; the last entry counts all batches.
    """

    windows: TrainingWindows
    blocks: Blocks
    seed: int
    epoch: int
    order: Int64[np.ndarray, " K"]
    pool: Int64[np.ndarray, " N1"]
    first_batch: Int64[np.ndarray, " N1"]

    @classmethod
    def of(
        cls,
        windows: TrainingWindows,
        blocks: Blocks,
        settings: LoaderSettings,
        seed: int,
        epoch: int,
        num_ranks: int = 1,
    ) -> "EpochPlan":
        """The plan of one epoch, in as many batches as divide among the ranks.

        Raises TrainingError where there are fewer windows than ranks.
        """
        order = _rng(seed, epoch, 0).permutation(len(blocks))
        num_pools = -(-len(blocks) // settings.pool_blocks)
        # Pools of like size: a small one at the end would be shuffled less than the others.
        pool = np.arange(num_pools + 1) * len(blocks) // max(num_pools, 1)
        questions = np.add.reduceat(blocks.num_questions[order], pool[:-1]) if num_pools else pool[:0]
        most = np.add.reduceat(blocks.min_windows[order], pool[:-1]) if num_pools else pool[:0]
        # No window asks more than max_history questions, so no batch is left without one.
        num_batches = -(-questions // max(settings.batch_positions, windows.max_history))
        missing = -int(num_batches.sum()) % num_ranks
        spare = np.minimum(np.cumsum(most - num_batches), missing)
        if missing and (not num_pools or spare[-1] < missing):
            raise TrainingError(
                f"{int(most.sum())} windows cannot feed {num_ranks} ranks; expected at least one for each"
            )
        num_batches = num_batches + np.diff(spare, prepend=0)
        first_batch = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_batches)])
        return cls(windows, blocks, seed, epoch, order, pool, first_batch)

    def __len__(self) -> int:
        return int(self.first_batch[-1])

    def batches(self, first: int, step: int) -> Iterator[Batch]:
        """The batches first, first + step, first + 2 · step, … of the epoch."""
        for pool in range(len(self.pool) - 1):
            begin, end = int(self.first_batch[pool]), int(self.first_batch[pool + 1])
            if first < end:
                number = np.arange(first, end, step)
                yield from self._read(pool, number - begin)
                first += step * len(number)

    def _read(self, pool: int, number: np.ndarray) -> Iterator[Batch]:
        """Those batches of one pool, numbered within it."""
        windows, bound, order = self._shuffled(pool)
        number = order[number]
        num_windows = np.diff(bound)
        mean_positions = self.windows.num_questions(windows).sum() / len(order)
        together = max(1, int(_READ_POSITIONS / mean_positions))
        for start in range(0, len(number), together):
            part = number[start : start + together]
            which = np.concatenate([np.arange(bound[n], bound[n + 1]) for n in part])
            yield from self.windows.read(windows[:, which], num_windows[part].tolist())

    def _shuffled(self, pool: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The windows of a pool in runs of like length, where each batch begins, the order of the batches."""
        profile = self.blocks.profile
        cut = [
            self.windows.cut(int(profile[block]), int(profile[block + 1]), self._rng_of(1 + int(block)))
            for block in self.order[self.pool[pool] : self.pool[pool + 1]]
        ]
        windows = np.concatenate(cut, axis=1)
        rng = self._rng_of(1 + len(self.blocks) + pool)
        windows = windows[:, _by_noisy_length(windows[2] - windows[1], rng)]
        num_batches = int(self.first_batch[pool + 1] - self.first_batch[pool])
        bound = _even_bounds(self.windows.num_questions(windows), num_batches)
        return windows, bound, rng.permutation(num_batches)

    def _rng_of(self, key: int) -> np.random.Generator:
        return _rng(self.seed, self.epoch, key)


class WindowLoader:
    """The batches of one epoch for one rank, which goes on where it stopped.

    The state counts what was given out, not what workers have read ahead. Batch b of the epoch is for rank
    b % num_ranks, and that rank's i-th for worker i % num_workers: all ranks get equally many, none is lost
    and none comes twice.
    """

    def __init__(self, plan: EpochPlan, *, num_workers: int = 0, rank: int = 0, num_ranks: int = 1) -> None:
        self.plan = plan
        self.num_workers = num_workers
        self.rank = rank
        self.num_ranks = num_ranks
        self._num_given = 0

    def __len__(self) -> int:
        return len(self.plan) // self.num_ranks

    def __iter__(self) -> Iterator[Batch]:
        if self._num_given == len(self):
            self._num_given = 0
        share = _Share(self.plan, self.rank + self.num_ranks * self._num_given, self.num_ranks)
        for batch in share if self.num_workers == 0 else self._by_workers(share):
            self._num_given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many of its batches this rank was given."""
        return {"epoch": self.plan.epoch, "num_given": self._num_given, "num_ranks": self.num_ranks}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on from there; at the beginning, where the state is that of another epoch.

        Raises TrainingError where it stopped within this epoch with another number of ranks.
        """
        if state["epoch"] != self.plan.epoch:
            return
        if state["num_ranks"] != self.num_ranks:
            raise TrainingError(
                f"the checkpoint is from within an epoch of {state['num_ranks']} processes, found "
                f"{self.num_ranks}; expected as many"
            )
        self._num_given = state["num_given"]

    def _by_workers(self, share: "_Share") -> Iterator[Batch]:
        return iter(
            DataLoader(
                share,
                batch_size=None,
                num_workers=self.num_workers,
                multiprocessing_context=_WORKERS,
                # The loader draws a seed for its workers; it must not be one of the model's draws.
                generator=torch.Generator().manual_seed(0),
            )
        )


class _Share(IterableDataset[Batch]):
    """Every step-th batch from the first on; in a worker process that worker's part of them."""

    def __init__(self, plan: EpochPlan, first: int, step: int) -> None:
        self.plan = plan
        self.first = first
        self.step = step

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is None:
            return self.plan.batches(self.first, self.step)
        # The workers are asked in turn, so what they give is in the order of the plan.
        return self.plan.batches(self.first + worker.id * self.step, worker.num_workers * self.step)


def _rng(seed: int, epoch: int, key: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, key])


def _by_noisy_length(length: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The order by length with a little noise: neighbours are alike, yet not the same in every epoch."""
    # The place in the low bits makes every key unique: the order is the same whatever sorts it.
    noisy = (length * rng.uniform(0.9, 1.1, len(length)) * (1 << 10)).astype(np.int64)
    key = (noisy << 32) | np.arange(len(length))
    key.sort()
    return key & ((1 << 32) - 1)


def _even_bounds(size: np.ndarray, num_runs: int) -> np.ndarray:
    """Where `num_runs` neighbouring runs of about equal total size begin, and the end; none is empty."""
    total = np.cumsum(size)
    number = np.arange(num_runs + 1)
    bound = np.searchsorted(total, number * total[-1] // num_runs, side="right")
    bound[0] = 0
    # Strictly rising from 0 to the end is rising less the number, between 0 and what is left over.
    shifted = np.clip(np.maximum.accumulate(bound - number), 0, len(size) - num_runs)
    even: np.ndarray = shifted + number
    return even
