"""A release is judged under the settings and on the tables that it was learned from, and on no others."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from conf.schema import EvaluateSettings
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.retriever import Retriever
from scripts.evaluate import evaluate_release
from tests.worlds import SIGNALS, block_world, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.privacy.forgotten import add_forgotten, read_forgotten
from towers.data.privacy.state import LEARNED_FROM, state_of
from towers.data.privacy.tables import erase_from_tables
from towers.data.schema import Tables
from towers.data.split import SplitKind, SplitSettings, split
from towers.errors import ReleaseError
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

WORLD = block_world(3, 20, 8, 6, seed=0)


def train(tables: Tables, folder: Path, title: str, kind: SplitKind = SplitKind.LEAVE_ONE_OUT) -> None:
    """What scripts/train.py writes, without the training."""
    dataset = dataset_from_tables(tables)
    parts = split(dataset, SplitSettings(kind))
    torch.manual_seed(0)
    towers = TwoTower(ModelSettings(dim=16), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    write_tables(tables, folder / "tables")
    context = {
        "title": title,
        "split": {"kind": kind.value, "test_share": 0.1, "validation_share": 0.1},
        "signals": SIGNALS,
        LEARNED_FROM: state_of(folder / "tables"),
    }
    export(towers, dataset, parts, folder / "model", context=context)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A service whose current release is that of its model and tables."""
    train(WORLD, tmp_path, "first")
    build_release(
        tmp_path / "model",
        tmp_path / "tables",
        tmp_path / "releases",
        IndexSpec(),
        GateSettings(k=10, num_queries=20),
    )
    return tmp_path


def evaluated(artifacts: Path) -> dict[str, Any]:
    evaluate_release(EvaluateSettings(artifacts=str(artifacts)))
    report: dict[str, Any] = json.loads((artifacts / "evaluation.json").read_text())
    return report


def test_a_later_model_changes_nothing_of_how_the_release_is_judged(artifacts: Path) -> None:
    before = evaluated(artifacts)
    assert (before["protocol"]["data"], before["protocol"]["split"]) == ("first", "leave_one_out")
    train(WORLD, artifacts, "second", SplitKind.GLOBAL_TIME)
    assert evaluated(artifacts) == before


def erase(profile_id: str, artifacts: Path) -> None:
    add_forgotten(artifacts / "gone", [profile_id], datetime(2026, 1, 1, tzinfo=UTC))
    erased = erase_from_tables(artifacts / "tables", read_forgotten(artifacts / "gone"))
    assert erased.num_profiles == 1


def test_after_profiles_were_forgotten_the_release_is_judged_by_the_others(artifacts: Path) -> None:
    before = evaluated(artifacts)["recommenders"]["served"]["num_queries"]
    for profile_id in ("p0", "p1"):
        erase(profile_id, artifacts)
    assert evaluated(artifacts)["recommenders"]["served"]["num_queries"] == before - 2


def test_where_one_moment_splits_all_profiles_it_moves_as_some_go_and_nothing_is_judged(
    tmp_path: Path,
) -> None:
    train(WORLD, tmp_path, "by time", SplitKind.GLOBAL_TIME)
    gates = GateSettings(k=10, num_queries=20)
    build_release(tmp_path / "model", tmp_path / "tables", tmp_path / "releases", IndexSpec(), gates)
    evaluated(tmp_path)
    erase("p0", tmp_path)
    with pytest.raises(ReleaseError, match=r"train events of .* titles differ"):
        evaluate_release(EvaluateSettings(artifacts=str(tmp_path)))


def without_the_last_watch_of_one_profile() -> Tables:
    events = WORLD.events
    of_first = [row for row, profile in enumerate(events["profile_id"].to_pylist()) if profile == "p0"]
    last = max(of_first, key=lambda row: events["start"][row].as_py())
    kept = [row for row in range(events.num_rows) if row != last]
    return Tables(WORLD.items, events.take(kept), WORLD.profiles, WORLD.queries)


def in_another_order() -> Tables:
    items = WORLD.items.take(list(range(WORLD.items.num_rows))[::-1])
    return Tables(items, WORLD.events, WORLD.profiles, WORLD.queries)


@pytest.mark.parametrize(
    ("tables", "differs"),
    [
        (without_the_last_watch_of_one_profile(), "train events of 1 titles differ in number"),
        (in_another_order(), "60 titles, expected the 60 of the release in order"),
        (block_world(3, 21, 8, 6, seed=0), "63 titles, expected the 60 of the release"),
    ],
)
def test_a_release_is_not_judged_on_the_tables_of_another_model(
    tables: Tables, differs: str, artifacts: Path
) -> None:
    train(tables, artifacts, "second")
    with pytest.raises(ReleaseError, match=r"the tables are not those of release r") as caught:
        evaluated(artifacts)
    assert differs in str(caught.value)
    assert Retriever.open(artifacts / "releases").release_id in str(caught.value)
    assert "run scripts/build_index.py" in str(caught.value)
    assert not (artifacts / "evaluation.json").exists()
