"""A small world that trains in seconds, many steps an epoch."""

from tests.worlds import block_world
from towers.data.batches import LoaderSettings
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.split import Split, SplitSettings, split
from towers.nets.two_tower import ModelSettings
from towers.objectives.softmax import ObjectiveSettings
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

MANY_STEPS = FitSettings(
    model=ModelSettings(dim=16, num_layers=1, num_heads=2, max_history=5, dropout=0.1, item_dropout=0.1),
    objective=ObjectiveSettings(temperature=0.1, num_targets=2),
    loader=LoaderSettings(batch_positions=24),
    trainer=TrainerSettings(max_epochs=3, accelerator=Accelerator.CPU, checkpoint_steps=4),
)
"""Twelve steps an epoch on `block_split`, dropout everywhere."""


def block_split() -> tuple[Dataset, Split]:
    """Four blocks of twelve profiles with six train events each."""
    dataset = dataset_from_tables(block_world(4, 14, 12, 8, seed=3))
    return dataset, split(dataset, SplitSettings())
