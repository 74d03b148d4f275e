"""A small world that trains in seconds, many steps an epoch."""

from dataclasses import fields, replace

import numpy as np

from tests.worlds import block_world, log_tables
from towers.data.batches import LoaderSettings
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.split import Split, SplitSettings, split
from towers.nets.two_tower import ModelSettings
from towers.objectives.settings import ObjectiveSettings
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

MANY_STEPS = FitSettings(
    model=ModelSettings(dim=16, num_layers=1, num_heads=2, max_history=5, dropout=0.1, item_dropout=0.1),
    objective=ObjectiveSettings(temperature=0.1, num_targets=2),
    loader=LoaderSettings(batch_positions=24),
    trainer=TrainerSettings(max_epochs=3, accelerator=Accelerator.CPU, checkpoint_steps=4),
)
"""Twelve steps an epoch on `block_split`, dropout everywhere."""


def nothing_dropped(model: ModelSettings) -> ModelSettings:
    """The same towers without any dropout, so that two passes are the same."""
    shares = {one.name: 0.0 for one in fields(model) if one.name.endswith("dropout")}
    return replace(model, **shares)  # type: ignore[arg-type]


def block_split() -> tuple[Dataset, Split]:
    """Four blocks of twelve profiles with six train events each."""
    dataset = dataset_from_tables(block_world(4, 14, 12, 8, seed=3))
    return dataset, split(dataset, SplitSettings())


def uneven_split() -> tuple[Dataset, Split]:
    """Histories of 4 to 43 events of 30 titles, and events that weigh differently."""
    rng = np.random.default_rng(0)
    lengths = [4 + 3 * (profile % 14) for profile in range(29)]
    events = [
        (profile, int(rng.integers(30)), 1000 * (60 * place + profile))
        for profile, length in enumerate(lengths)
        for place in range(length)
    ]
    dataset = dataset_from_tables(log_tables(sorted(events, key=by_time), num_items=30, num_profiles=29))
    parts = split(dataset, SplitSettings())
    weight = rng.uniform(0.2, 3.0, len(parts.learned.weight)).astype(np.float32)
    return dataset, replace(parts, learned=replace(parts.learned, weight=weight))


def by_time(event: tuple[int, int, int]) -> int:
    """The time of an event."""
    return event[2]
