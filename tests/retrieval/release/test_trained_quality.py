"""What a training measured is held against what is served: towers changed in between do not pass."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import Gate, GateSettings
from retrieval.release.manifest import GateResult
from tests.retrieval.conftest import CONTEXT, Exported
from tests.worlds import block_world, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.privacy.state import LEARNED_FROM, state_of
from towers.data.split import SplitSettings, split
from towers.errors import GateError, ReleaseError
from towers.evaluation.measured import measured
from towers.exported import FINGERPRINT, TRAINING_FILE, VECTORS_FILE
from towers.nets.two_tower import ModelSettings, TwoTower, fingerprint, load_towers, save_towers
from towers.training.export import export


@pytest.fixture(scope="module")
def measured_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """As scripts/train.py leaves it, but for the training: 150 profiles, each with a validation question."""
    folder = tmp_path_factory.mktemp("measured")
    tables = block_world(3, 20, 50, 6, seed=0)
    dataset = dataset_from_tables(tables)
    parts = split(dataset, SplitSettings())
    torch.manual_seed(0)
    towers = TwoTower(ModelSettings(dim=16), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    write_tables(tables, folder / "tables")
    exact = towers.exact(towers.encoder.encode(dataset.items))
    context = {**CONTEXT, LEARNED_FROM: state_of(folder / "tables")}
    context |= measured(exact, dataset, SplitSettings())
    export(towers, dataset, parts, folder / "model", context=context)
    return Exported(folder / "model", folder / "tables")


@pytest.fixture
def copied(measured_export: Exported, tmp_path: Path) -> Exported:
    shutil.copytree(measured_export.model, tmp_path / "model")
    shutil.copytree(measured_export.tables, tmp_path / "tables")
    return Exported(tmp_path / "model", tmp_path / "tables")


def _built(export: Exported, **keys: Any) -> GateResult:
    """The gate of the release of an export."""
    info = build_release(
        export.model, export.tables, export.model.parent / "releases", IndexSpec(), GateSettings(k=10), **keys
    )
    (found,) = (one for one in info.manifest.description.gates if one.name == Gate.TRAINED_QUALITY)
    return found


def _with(export: Exported, said: Any) -> None:
    path = export.model / TRAINING_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"measured": said}))


def test_what_was_measured_is_found_again(copied: Exported) -> None:
    found = _built(copied)
    assert found.passed
    assert found.value == pytest.approx(1.0, abs=1e-6)


def test_a_user_tower_that_was_not_trained_beside_these_items_is_stopped(copied: Exported) -> None:
    towers = load_towers(copied.model)
    with torch.no_grad():
        for name, weight in towers.named_parameters():
            if ".users." in name:
                weight.copy_(weight.flatten()[torch.randperm(weight.numel())].view_as(weight))
    # Everything says that they belong together: only what they find does not.
    save_towers(towers, copied.model)
    arrays = load_file(copied.model / VECTORS_FILE)
    save_file(arrays, copied.model / VECTORS_FILE, metadata={FINGERPRINT: fingerprint(copied.model)})
    with pytest.raises(GateError, match=r"FAILED trained_quality: 0\.\d+, expected >= 0\.9"):
        _built(copied)


def test_of_other_tables_and_shorter_vectors_nothing_is_promised(copied: Exported) -> None:
    assert _built(copied, dimension=8).value is None
    report = copied.tables / "ingest.json"
    report.write_text(report.read_text() + "\n")
    newer = _built(copied)
    assert newer.passed
    assert newer.value is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"questions": "many", "ndcg@10": 0.1}, "expected questions, above 0, and ndcg@10, 0 to 1"),
        ({"questions": 150, "ndcg@10": np.inf}, "expected questions, above 0, and ndcg@10, 0 to 1"),
        ([0.1], "expected questions, above 0, and ndcg@10, 0 to 1"),
        ({"questions": 151, "ndcg@10": 0.1}, "of 151 validation questions these tables have 150"),
    ],
)
def test_a_damaged_promise_is_an_error_that_says_what_was_expected(
    copied: Exported, said: Any, expected: str
) -> None:
    _with(copied, said)
    with pytest.raises(ReleaseError, match=expected):
        _built(copied)


def test_an_export_from_before_anything_was_measured_is_published(copied: Exported) -> None:
    path = copied.model / TRAINING_FILE
    context = json.loads(path.read_text())
    del context["measured"]
    path.write_text(json.dumps(context))
    assert _built(copied).value is None
