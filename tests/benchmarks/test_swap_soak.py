"""The soak counts what is lost and mixed, and only that."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import swap_soak
from benchmarks.swap_soak import answers, memory_slope, questions, soak
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.retriever import Retriever
from tests.worlds import SIGNALS, block_world, write_tables
from towers.data.dataset import read_dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.signals.settings import signals_of
from towers.data.split import SplitSettings, split
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases of towers that learned nothing, by two seeds."""
    folder = tmp_path_factory.mktemp("soak")
    write_tables(block_world(3, 20, 8, 6, seed=0), folder / "tables")
    context = {"signals": SIGNALS}
    dataset = read_dataset(folder / "tables", signals_of(context))
    parts = split(dataset, SplitSettings())
    for seed in (0, 1):
        torch.manual_seed(seed)
        encoder = fit_features(*training_rows(dataset, parts), FeatureSettings())
        export(TwoTower(ModelSettings(dim=16), encoder), dataset, parts, folder / "model", context=context)
        build_release(
            folder / "model", folder / "tables", folder / "releases", IndexSpec(), GateSettings(k=10)
        )
    return folder / "releases"


def test_no_answer_of_releases_that_take_turns_is_lost_or_mixed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap_soak, "NUM_PROFILES", 10)
    found = soak(root, seconds=0.5, every_seconds=0.1)
    assert found.failed == []
    assert found.num_mixed == 0
    assert found.during_ms or found.steady_ms


def test_an_answer_that_is_not_that_of_the_release_it_names_is_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap_soak, "NUM_PROFILES", 10)

    def swapped(retriever: Retriever, asked: list[swap_soak.Question]) -> list[tuple[str, ...]]:
        return [(*item_ids, "no such title") for item_ids in answers(retriever, asked)]

    monkeypatch.setattr(swap_soak, "answers", swapped)
    found = soak(root, seconds=0.2, every_seconds=0.1)
    assert found.num_mixed == len(found.during_ms) + len(found.steady_ms) > 0


def test_the_two_releases_answer_differently(root: Path) -> None:
    one, two = (Retriever.open(root / name) for name in ("r000001", "r000002"))
    asked = questions(one)
    assert answers(one, asked) != answers(two, asked)


def test_the_slope_is_that_of_the_later_half_by_the_hour() -> None:
    at = np.arange(0.0, 600.0, 3.0)
    held = np.where(at > 300.0, 1e9 + 1e9 * 0.01 * at / 3600, 5e8)
    samples = [(float(second), int(each)) for second, each in zip(at, held, strict=True)]
    assert memory_slope(samples, 600.0) == pytest.approx(1.0, abs=0.02)
    assert memory_slope(samples[:5], 600.0) is None
