"""The LightningDataModule: training windows, shuffled anew every epoch."""

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Int64
from torch.utils.data import DataLoader

from towers.data.batches import Batch, LoaderSettings, TrainingWindows, WindowSampler
from towers.data.histories import Histories


class WindowDataModule(pl.LightningDataModule):
    """Batches of training windows; the trainer must ask for a loader every epoch.

    Epoch, seed, rank and number of ranks decide the order alone, so a resumed run sees what the unbroken
    one would.
    """

    def __init__(
        self,
        train: Histories,
        country_row: Int64[np.ndarray, " P"],
        max_history: int,
        num_targets: int,
        settings: LoaderSettings,
        seed: int,
    ) -> None:
        super().__init__()
        self.windows = TrainingWindows(train, country_row, max_history, num_targets)
        self.settings = settings
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Batch]:
        """The loader of the trainer's current epoch and rank."""
        if self.trainer is None:
            raise RuntimeError("the data module has no trainer; expected Trainer.fit to ask for the loader")
        sampler = WindowSampler(
            self.windows,
            self.settings.batch_positions,
            self.seed,
            epoch=self.trainer.current_epoch,
            rank=self.trainer.global_rank,
            num_ranks=self.trainer.world_size,
        )
        num_workers = self.settings.num_workers
        return DataLoader(
            self.windows,
            sampler=sampler,
            batch_size=None,
            num_workers=num_workers,
            # A fork after OpenMP or FAISS has run hangs.
            multiprocessing_context="forkserver" if num_workers else None,
            # The loader draws a seed for its workers; from the global generator it would shift the dropout.
            generator=torch.Generator().manual_seed(self.seed),
        )
