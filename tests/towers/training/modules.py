"""A module with its batches, outside of a trainer; and a training that is cut off."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from towers.data.batches import Batch
from towers.data.dataset import Dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.loader import EpochPlan
from towers.data.split import Split
from towers.data.windows import Blocks, TrainingWindows
from towers.nets.two_tower import TwoTower
from towers.training.fit import fit_towers
from towers.training.module import TwoTowerModule
from towers.training.settings import FitSettings
from towers.training.strata import title_probability


def module_and_batches(
    world: tuple[Dataset, Split], settings: FitSettings
) -> tuple[TwoTowerModule, list[Batch]]:
    """An untrained module, the same for the same seed, and the batches of its first epoch."""
    torch.manual_seed(settings.seed)
    dataset, parts = world
    encoder = fit_features(*training_rows(dataset, parts), settings.features)
    windows = TrainingWindows(
        parts.learned,
        parts.num_train,
        encoder.encode_profiles(dataset.profile_table, dataset.country),
        settings.model.max_history,
        settings.objective.num_targets,
    )
    module = TwoTowerModule(
        TwoTower.of_span(settings.model, encoder, *parts.learned_seconds),
        encoder.encode(dataset.items),
        parts,
        settings.objective,
        settings.trainer,
        settings.seed,
        lineage="",
        num_batches=lambda _: 1,
        of_column=title_probability(dataset.items, parts.seen, settings.objective),
    )
    plan = EpochPlan.of(windows, Blocks.of(windows), settings.loader, settings.seed, 0)
    return module, list(plan.batches(0, 1))


def gradients(module: TwoTowerModule, loss: Tensor) -> dict[str, Tensor]:
    """Of every weight."""
    module.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {
        name: weight.grad.clone()
        for name, weight in module.towers.named_parameters()
        if weight.grad is not None
    }


class _StoppedError(Exception):
    """What a power cut would be, for a process that must live on to compare."""


def fit_cut_off(
    world: tuple[Dataset, Split], settings: FitSettings, folder: Path, *, epoch: int, batch: int
) -> None:
    """A training that ends, without any farewell, before this batch of this epoch."""
    step = TwoTowerModule.training_step

    def cut_off(self: TwoTowerModule, given: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            raise _StoppedError
        return step(self, given, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TwoTowerModule, "training_step", cut_off)
        with pytest.raises(_StoppedError):
            fit_towers(*world, settings, folder)
