"""How fast a training ran: positions and floating-point operations a second, waiting, memory."""

import json
import logging
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from towers.data.batches import Batch
from towers.folders import replace_file
from towers.training.datamodule import WindowDataModule
from towers.training.dp.profiles import ProfileDataModule
from towers.training.module import TwoTowerModule

SPEED_FILE = "training_speed.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingSpeed:
    """What the steps of one process, or of all that trained together, came to.

    num_positions: questions learned from. seconds: in epochs, without validation.
    loader_share: of that, waiting for the next batch.
    flops_per_position: of a training step, without what is computed twice to save memory; a product of (a, b)
    and (b, c) is 2·a·b·c.
    peak_memory_bytes: on the GPU of the first process, or else the most that its whole process ever held.
    """

    device: str
    num_ranks: int
    num_positions: int
    seconds: float
    positions_per_second: float
    loader_share: float
    flops_per_position: float
    flops_per_second: float
    peak_memory_bytes: int


class SpeedReport(Callback):
    """Writes training_speed.json, and one line of the log, when a training ends."""

    def __init__(self, folder: Path, data: WindowDataModule | ProfileDataModule) -> None:
        self.folder = folder
        self.data = data
        self._seconds = self._waited = 0.0
        self._began = self._had_waited = 0.0
        self._had_asked = 0
        self._sample: Batch | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to count; a run that goes on within an epoch has no start of it."""
        self._begin(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to count."""
        self._begin(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Keeps the batch, to count what a step computes once all are done; a private one may be empty."""
        if len(batch):
            self._sample = batch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops counting: Lightning calls this before the module's own, which validates."""
        _wait_for(trainer.strategy.root_device)
        self._seconds += time.perf_counter() - self._began
        self._waited += self.data.waited_seconds - self._had_waited

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the report; nothing where no step was taken."""
        module = pl_module
        assert isinstance(module, TwoTowerModule)
        if self._sample is None or self._seconds == 0.0:
            return
        device = trainer.strategy.root_device
        peak = _peak_memory_bytes(device)
        flops, num_positions = module.step_flops(self._sample)
        total = torch.tensor([float(module.num_asked), self._waited / self._seconds], device=device)
        if trainer.world_size > 1:
            total = trainer.strategy.reduce(total, reduce_op="sum")
        asked, waited = total.tolist()
        rate = asked / self._seconds
        speed = TrainingSpeed(
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            num_ranks=trainer.world_size,
            num_positions=int(asked),
            seconds=self._seconds,
            positions_per_second=rate,
            loader_share=waited / trainer.world_size,
            flops_per_position=flops / num_positions,
            flops_per_second=rate * flops / num_positions,
            peak_memory_bytes=peak,
        )
        if trainer.is_global_zero:
            replace_file(self.folder / SPEED_FILE, json.dumps(asdict(speed), indent=2))
            log.info(
                "training speed positions_per_second=%.0f loader_share=%.3f gflops_per_second=%.2f "
                "peak_memory_mib=%.0f",
                speed.positions_per_second,
                speed.loader_share,
                speed.flops_per_second / 1e9,
                speed.peak_memory_bytes / 2**20,
            )

    def _begin(self, trainer: pl.Trainer) -> None:
        _wait_for(trainer.strategy.root_device)
        self._began = time.perf_counter()
        self._had_waited = self.data.waited_seconds


def _wait_for(device: torch.device) -> None:
    """Lets a GPU end what it was given, so that a clock sees it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
