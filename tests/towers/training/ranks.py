"""A training of one or two processes that leaves what it learned from: ranks.py FOLDER NUM_RANKS [STEP].

Every process writes the gradient of its first step, the share of the loss that was its own, and the number of
its questions, to FOLDER/rank<R>.pt. In that step, if there is one, the last process gets SIGTERM.
"""

import os
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.towers.training.worlds import MANY_STEPS, nothing_dropped, uneven_split
from towers.training.fit import fit_towers
from towers.training.module import TwoTowerModule
from towers.training.settings import FitSettings, Strategy


def settings_of(num_ranks: int) -> FitSettings:
    """One step an epoch: what one process learns from at once, two have half each, and that in parts.

    Nothing is dropped.
    """
    return replace(
        MANY_STEPS,
        model=replace(nothing_dropped(MANY_STEPS.model), max_history=50),
        loader=replace(MANY_STEPS.loader, batch_positions=10_000),
        trainer=replace(
            MANY_STEPS.trainer,
            max_epochs=3,
            gradient_clip=1e9,
            ema_decay=0.5,
            micro_positions=0 if num_ranks == 1 else 100,
            checkpoint_steps=None,
            devices=num_ranks,
            strategy=Strategy.DDP if num_ranks > 1 else Strategy.AUTO,
        ),
    )


def main(folder: Path, num_ranks: int, last_step: int | None) -> None:
    """Trains, and writes down the first step before it is taken."""
    torch.set_num_threads(1)
    clip, step = TwoTowerModule.configure_gradient_clipping, TwoTowerModule.training_step
    losses: list[float] = []

    def watched(module: TwoTowerModule, *given: Any) -> Any:
        if module.global_step == last_step and module.global_rank == num_ranks - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        loss = step(module, *given)
        losses.append(loss.item())
        return loss

    def recorded(module: TwoTowerModule, *given: Any, **named: Any) -> None:
        path = folder / f"rank{module.global_rank}.pt"
        if module.global_step == 0:
            found = {
                name: weight.grad.clone()
                for name, weight in module.towers.named_parameters()
                if weight.grad is not None
            }
            torch.save({"gradient": found, "loss": losses[0], "num_asked": module.num_asked}, path)
        clip(module, *given, **named)

    TwoTowerModule.training_step = watched  # type: ignore[assignment, method-assign]
    TwoTowerModule.configure_gradient_clipping = recorded  # type: ignore[assignment, method-assign]
    fit_towers(*uneven_split(), settings_of(num_ranks), folder)


if __name__ == "__main__":
    warnings.simplefilter("error")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
