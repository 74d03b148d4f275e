"""What one of two processes does: it follows its half of the batches, as training does after each step."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tests.towers.training.modules import module_and_batches
from tests.towers.training.worlds import MANY_STEPS, uneven_split
from towers.data.batches import Batch
from towers.objectives.settings import Frequencies, NegativeKind, ObjectiveKind, ObjectiveSettings
from towers.training.module import TwoTowerModule

STREAMED = replace(
    MANY_STEPS,
    objective=ObjectiveSettings(
        kind=ObjectiveKind.SAMPLED_SOFTMAX,
        temperature=0.1,
        negatives=NegativeKind.MIXED,
        num_negatives=8,
        frequencies=Frequencies.STREAMED,
    ),
)
NUM_STEPS = 4


def pool_of(module: TwoTowerModule, batch: Batch) -> Tensor:
    """The first targets of a batch's questions, by their places among the titles that training knows."""
    first = batch.questions(1).target_row[:, 0]
    seen: list[int] = module.asked_loss.get_buffer("seen_row").tolist()
    return torch.tensor([seen.index(row) for row in first.tolist() if row >= 0])


def learned(module: TwoTowerModule, batches: Sequence[Batch]) -> dict[str, Any]:
    """The streamed frequencies after these batches, and what corrected the negatives of each before it."""
    asked, log_weight = module.asked_loss, []
    assert asked.frequency is not None
    for step, batch in enumerate(batches):
        asked.seed(0, 0, step)
        tasks = asked.tasks(batch, batch.questions(1))
        drawn = [one for task in tasks for one in task.drawn or ()]
        log_weight.append(torch.cat([one.negatives.log_weight for one in drawn]))
        asked.follow(batch.questions(1))
    return {"sketch": asked.frequency.state_dict(), "log_weight": log_weight}


def run(rank: int, folder: Path) -> None:
    """Writes down what one process of two has learned from every other batch."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    module, batches = module_and_batches(uneven_split(), STREAMED)
    torch.save(learned(module, batches[rank : 2 * NUM_STEPS : 2]), folder / f"rank{rank}.pt")
    dist.destroy_process_group()
