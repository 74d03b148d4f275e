"""The export folder: replaced as a whole, and refused by name where it is damaged."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.worlds import block_world
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.split import Split, SplitKind, SplitSettings, split, split_of
from towers.errors import MissingDataError, ReleaseError
from towers.exported import read_context
from towers.nets.two_tower import ModelSettings, TwoTower, fingerprint, load_towers
from towers.training.export import export

SETTINGS = SplitSettings(SplitKind.GLOBAL_TIME, test_share=0.2, validation_share=0.3)
CONTEXT: dict[str, Any] = {"title": "blocks", "split": asdict(SETTINGS)}

World = tuple[Dataset, Split]


@pytest.fixture(scope="module")
def world() -> World:
    dataset = dataset_from_tables(block_world(3, 8, 4, 6, seed=0))
    return dataset, split(dataset, SplitSettings())


def towers_of(world: World, seed: int) -> TwoTower:
    dataset, parts = world
    torch.manual_seed(seed)
    encoder = fit_features(*training_rows(dataset, parts), FeatureSettings())
    return TwoTower(ModelSettings(dim=8), encoder).eval()


def test_an_export_holds_towers_vectors_counts_and_context(world: World, tmp_path: Path) -> None:
    dataset, parts = world
    towers = towers_of(world, 0)
    export(towers, *world, tmp_path / "model", context=CONTEXT)
    items = load_file(tmp_path / "model" / "items.safetensors")
    np.testing.assert_array_equal(items["vector"], towers.embed(towers.encoder.encode(dataset.items)))
    rows = parts.train.item_row.tolist()
    assert items["num_events"].tolist() == [rows.count(row) for row in range(len(dataset.catalogue))]
    assert load_towers(tmp_path / "model").settings == towers.settings
    assert split_of(read_context(tmp_path / "model")) == SETTINGS


def test_a_newer_export_replaces_the_older_one_as_a_whole(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    export(towers_of(world, 0), *world, folder, context=CONTEXT)
    older = fingerprint(folder)
    (folder / "of_an_older_version.bin").write_bytes(b"")
    export(towers_of(world, 1), *world, folder, context=CONTEXT)
    assert fingerprint(folder) != older
    assert not (folder / "of_an_older_version.bin").exists()


def test_an_export_that_fails_leaves_the_older_one(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    export(towers_of(world, 0), *world, folder, context=CONTEXT)
    older = fingerprint(folder)
    with pytest.raises(TypeError, match="not JSON serializable"):
        export(towers_of(world, 1), *world, folder, context={"split": object()})
    assert fingerprint(folder) == older
    assert split_of(read_context(folder)) == SETTINGS
    assert sorted(path.name for path in tmp_path.iterdir()) == [".model.lock", "model"]


def test_a_missing_export_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"training\.json: no exported model; run scripts/train\.py"):
        read_context(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff"])
def test_a_context_that_is_no_json_object_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "training.json").write_bytes(content)
    with pytest.raises(ReleaseError, match=rf"^{tmp_path}/training\.json: .*expected"):
        read_context(tmp_path)


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        (None, "split: NoneType"),
        ({"kind": "global_time", "test_share": 0.2}, "expected the settings"),
        (asdict(SETTINGS) | {"seed": 1}, "'seed'"),
        (asdict(SETTINGS) | {"kind": "by_coin"}, r"split\.kind: 'by_coin'; expected one of leave_one_out"),
        (asdict(SETTINGS) | {"test_share": "0.2"}, r"split\.test_share: '0\.2'; expected float"),
        (asdict(SETTINGS) | {"test_share": 0.9}, r"split\.test_share \+ split\.validation_share: 1\.2"),
    ],
)
def test_a_split_that_is_not_wholly_known_is_refused(chosen: object, complaint: str) -> None:
    context = json.loads(json.dumps({"title": "blocks", "split": chosen}))
    with pytest.raises(ReleaseError, match=rf"^training settings: .*{complaint}.*expected"):
        split_of(context)


def test_a_context_without_a_split_is_refused() -> None:
    with pytest.raises(ReleaseError, match=r"training settings: split: "):
        split_of({"title": "blocks"})
