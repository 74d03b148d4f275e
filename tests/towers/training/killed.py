"""A training process that is told to end: python killed.py FOLDER EPOCH BATCH WORKERS SIGNAL DECAY."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.towers.training.worlds import MANY_STEPS, block_split
from towers.training.fit import fit_towers
from towers.training.module import TwoTowerModule


def main(folder: str, epoch: int, batch: int, num_workers: int, number: int, decay: float) -> None:
    """Trains until it gets the signal in that step: SIGKILL is what a power cut would be."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have it ignored
    step = TwoTowerModule.training_step

    def cut_off(module: TwoTowerModule, given: Any, batch_idx: int) -> Any:
        if (module.current_epoch, batch_idx) == (epoch, batch):
            os.kill(os.getpid(), signal.Signals(number))
        return step(module, given, batch_idx)

    TwoTowerModule.training_step = cut_off  # type: ignore[assignment, method-assign]
    settings = replace(
        MANY_STEPS,
        loader=replace(MANY_STEPS.loader, num_workers=num_workers),
        trainer=replace(MANY_STEPS.trainer, ema_decay=decay),
    )
    fit_towers(*block_split(), settings, Path(folder))


if __name__ == "__main__":
    epoch, batch, num_workers, number = map(int, sys.argv[2:6])
    main(sys.argv[1], epoch, batch, num_workers, number, float(sys.argv[6]))
