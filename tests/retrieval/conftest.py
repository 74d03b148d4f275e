"""An export of untrained towers over a block world: every file real, no training."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch

from tests.worlds import SIGNALS, block_world, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.split import SplitSettings, split
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

CONTEXT = {"split": asdict(SplitSettings()), "signals": SIGNALS, "seed": 0}


@dataclass(frozen=True)
class Exported:
    """Where an export and its tables lie."""

    model: Path
    tables: Path


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return _exported(tmp_path_factory.mktemp("artifacts"), ModelSettings(dim=16))


@pytest.fixture(scope="session")
def exported_interests(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same with three interests."""
    return _exported(tmp_path_factory.mktemp("interests"), ModelSettings(dim=16, num_interests=3))


def _exported(folder: Path, model: ModelSettings) -> Exported:
    tables = block_world(3, 20, 8, 6, seed=0, cold_items_per_block=2)
    dataset = dataset_from_tables(tables)
    parts = split(dataset, SplitSettings())
    torch.manual_seed(0)
    towers = TwoTower(model, fit_features(*training_rows(dataset, parts), FeatureSettings()))
    write_tables(tables, folder / "tables")
    export(towers, dataset, parts, folder / "model", context=CONTEXT)
    return Exported(folder / "model", folder / "tables")
