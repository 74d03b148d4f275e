"""The batches of a private training: profiles drawn each by itself, and one window of each."""

import time
from collections.abc import Iterator

import numpy as np
import pytorch_lightning as pl
from jaxtyping import Int64

from towers.data.batches import Batch
from towers.data.windows import TrainingWindows
from towers.training.dp.mechanism import Mechanism
from towers.training.dp.noise import drawn


def newest_windows(windows: TrainingWindows, profile: Int64[np.ndarray, " n"]) -> Batch:
    """One window of each profile: its newest `max_history` events, and the one before them as context.

    That is all a profile ever contributes. Of a shorter history it is the whole.
    """
    begin = windows.history.offset[profile]
    stop = begin + windows.num_events[profile]
    start = np.maximum(begin, stop - windows.max_history - 1)
    (batch,) = windows.read(np.stack([profile, start, stop]), [len(profile)])
    return batch


class ProfileDataModule(pl.LightningDataModule):
    """Poisson-sampled profiles: every step draws each with the same probability, whatever was drawn before.

    A step may have none. Who is drawn comes from the operating system and is written nowhere: that an
    outsider does not know who was in a step is a part of ε.
    """

    def __init__(self, windows: TrainingWindows, mechanism: Mechanism) -> None:
        super().__init__()
        self.windows = windows
        self.mechanism = mechanism
        self.profile = np.flatnonzero(windows.num_events)
        self.waited_seconds = 0.0
        """Time that training stood still for the next batch, of all epochs."""

    def train_dataloader(self) -> "ProfileLoader":
        """The loader of the trainer's current epoch."""
        if self.trainer is None:
            raise RuntimeError("the data module has no trainer; expected Trainer.fit to ask for the loader")
        return ProfileLoader(self, self.trainer.current_epoch)

    def num_batches(self, num_ranks: int) -> int:
        """Steps of an epoch."""
        return self.mechanism.steps_per_epoch

    def draw(self) -> Batch:
        """The profiles of a step."""
        begun = time.perf_counter()
        chosen = drawn(len(self.profile), self.mechanism.sample_rate)
        batch = newest_windows(self.windows, self.profile[chosen])
        self.waited_seconds += time.perf_counter() - begun
        return batch


class ProfileLoader:
    """The steps of one epoch. A run that goes on takes as many as are left, and draws other profiles."""

    def __init__(self, owner: ProfileDataModule, epoch: int) -> None:
        self.owner = owner
        self.epoch = epoch
        self._num_given = 0

    def __len__(self) -> int:
        return self.owner.mechanism.steps_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        if self._num_given == len(self):
            self._num_given = 0
        while self._num_given < len(self):
            self._num_given += 1
            yield self.owner.draw()

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many of its steps were given."""
        return {"epoch": self.epoch, "num_given": self._num_given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on from there; at the beginning, where the state is that of another epoch."""
        if state["epoch"] == self.epoch:
            self._num_given = state["num_given"]
