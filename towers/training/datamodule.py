"""The LightningDataModule: training windows, shuffled anew every epoch."""

import time
from collections.abc import Iterator

import pytorch_lightning as pl

from towers.data.batches import Batch, LoaderSettings
from towers.data.loader import EpochPlan, WindowLoader
from towers.data.windows import Blocks, TrainingWindows


class WindowDataModule(pl.LightningDataModule):
    """Batches of training windows; the trainer must ask for a loader every epoch.

    Epoch, seed, rank and number of ranks decide the order alone, so a resumed run sees what the unbroken
    one would.
    """

    def __init__(self, windows: TrainingWindows, settings: LoaderSettings, seed: int) -> None:
        super().__init__()
        self.windows = windows
        self.blocks = Blocks.of(windows)
        self.settings = settings
        self.seed = seed
        self.waited_seconds = 0.0
        """Time that training stood still for the next batch, of all epochs."""

    def train_dataloader(self) -> WindowLoader:
        """The loader of the trainer's current epoch and rank."""
        if self.trainer is None:
            raise RuntimeError("the data module has no trainer; expected Trainer.fit to ask for the loader")
        num_ranks = self.trainer.world_size
        return _TimedLoader(
            self,
            self._plan(self.trainer.current_epoch, num_ranks),
            num_workers=self.settings.num_workers,
            rank=self.trainer.global_rank,
            num_ranks=num_ranks,
        )

    def num_batches(self, num_ranks: int) -> int:
        """Batches of each rank in the first epoch; with several pools, others may have a few more or less."""
        return len(self._plan(0, num_ranks)) // num_ranks

    def _plan(self, epoch: int, num_ranks: int) -> EpochPlan:
        return EpochPlan.of(self.windows, self.blocks, self.settings, self.seed, epoch, num_ranks)


class _TimedLoader(WindowLoader):
    """A loader that adds to its module's waiting time."""

    def __init__(
        self, owner: WindowDataModule, plan: EpochPlan, *, num_workers: int, rank: int, num_ranks: int
    ):
        super().__init__(plan, num_workers=num_workers, rank=rank, num_ranks=num_ranks)
        self.owner = owner

    def __iter__(self) -> Iterator[Batch]:
        batches = super().__iter__()
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.owner.waited_seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch
