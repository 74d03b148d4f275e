"""The claim `serving`, end to end at a small size: real towers, a real release, every figure."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks import serving
from benchmarks.ann_encoders import SimulatedLog, TowersRecipe
from benchmarks.claims import read_claims
from benchmarks.serving_release import folder_of, made
from retrieval.release.store import open_release
from tests.worlds import SIGNALS, block_world, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.split import SplitSettings, split
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

RECIPE = TowersRecipe(SimulatedLog(num_items=60, num_events=0, num_profiles=0), training=())


def test_every_figure_is_measured_and_the_release_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(RECIPE, tmp_path)
    tables = block_world(3, 20, 20, 6, seed=0)
    dataset = dataset_from_tables(tables)
    parts = split(dataset, SplitSettings())
    torch.manual_seed(0)
    towers = TwoTower(ModelSettings(dim=16), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    write_tables(tables, folder / "tables")
    context = {"split": asdict(SplitSettings()), "signals": SIGNALS, "seed": 0}
    export(towers, dataset, parts, folder / "model", context=context)
    monkeypatch.setattr(serving, "K", 10)

    found = serving.measured(RECIPE, tmp_path)
    assert set(found.figures) == set(read_claims()["serving"].bounds)
    assert all(figure is not None and figure > 0 for figure in found.figures.values())
    assert found.details["recall of the bare index"] == 1.0
    assert found.details["batch profiles"] == len(dataset.profiles)
    assert open_release(made(RECIPE, tmp_path)).release_id == "r000001"
