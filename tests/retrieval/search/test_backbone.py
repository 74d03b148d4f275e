"""A release whose query tower has a backbone: whole by itself, verified, and never half read."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from retrieval.index.spec import IndexSpec
from retrieval.rebuild.full import export_anew
from retrieval.release.build import build_release
from retrieval.release.files import query_files
from retrieval.release.footprint import memory_bytes
from retrieval.release.gates import GateSettings
from retrieval.release.read import read_release
from retrieval.release.store import ReleaseInfo, current, open_release
from retrieval.release.verify import Verify
from retrieval.retriever import Retriever
from tests.backbones import MEANINGS
from tests.retrieval.conftest import CONTEXT, Exported
from tests.worlds import START_SECONDS
from towers.data.asked_texts import encode_texts, plain_texts
from towers.data.dataset import dataset_from_tables
from towers.data.schema import QUERIES, TIME, read_tables, table
from towers.data.split import SplitSettings, split
from towers.errors import IntegrityError, MissingExtraError, ReleaseError, SkewError
from towers.nets import backbone as module
from towers.nets.query_tower import QueryTower, QueryTowerSettings, TextTensors, query_fingerprint
from towers.nets.two_tower import load_towers
from towers.training.export import export
from towers.training.query_fit import fit_query_tower
from towers.training.query_settings import QueryFitSettings

SETTINGS = QueryFitSettings(
    QueryTowerSettings(buckets=4096), epochs=4, texts_per_title=5, batch=64, learning_rate=1e-2
)
BLOCKS = 3
UNSEEN = [group[-1] for group in MEANINGS[:BLOCKS]]


@pytest.fixture(scope="module")
def tower(exported: Exported, backbone_folder: Path) -> QueryTower:
    """It learned from the log which words ask for a block; of each block's meaning but the last."""
    dataset = dataset_from_tables(read_tables(exported.tables))
    asked = [(word, row) for row in range(60) for word in MEANINGS[row % BLOCKS][:-1]]
    searches = {
        "text": [word for word, _ in asked],
        "item_id": [f"i{row}" for _, row in asked],
        "time": pa.array([1000 * START_SECONDS] * len(asked), TIME),
    }
    towers, parts = load_towers(exported.model), split(dataset, SplitSettings())
    settings = replace(SETTINGS, backbone=str(backbone_folder))
    found = fit_query_tower(towers, dataset, parts, table(QUERIES, searches), settings, seed=0)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def model(exported: Exported, tower: QueryTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backbones") / "model"
    dataset = dataset_from_tables(read_tables(exported.tables))
    towers = load_towers(exported.model)
    export(towers, dataset, split(dataset, SplitSettings()), folder, context=CONTEXT, query_tower=tower)
    return folder


@pytest.fixture(scope="module")
def info(exported: Exported, model: Path, tmp_path_factory: pytest.TempPathFactory) -> ReleaseInfo:
    root = tmp_path_factory.mktemp("releases")
    return build_release(model, exported.tables, root, IndexSpec(), GateSettings(k=10))


@pytest.fixture
def copy(info: ReleaseInfo, tmp_path: Path) -> Path:
    return Path(shutil.copytree(info.folder, tmp_path / info.release_id))


@torch.inference_mode()
def expected(tower: QueryTower, text: str) -> np.ndarray:
    words = plain_texts([text], tower.settings.max_words)
    assert tower.backbone is not None
    embedded = torch.from_numpy(tower.backbone.embed(words))
    read = encode_texts([text], tower.settings.buckets, tower.settings.max_words)
    found: np.ndarray = tower(TextTensors.of(read), embedded)[0].numpy()
    return found


def test_a_release_reads_texts_as_the_tower_that_was_exported(tower: QueryTower, info: ReleaseInfo) -> None:
    texts = read_release(info.folder.parent).texts
    assert texts is not None
    for text in ("rocket", "Rocket, PLANET!", "kitchen chef's recipe"):
        found = texts.encode(text)
        assert found is not None
        np.testing.assert_allclose(found, expected(tower, text), atol=1e-5)
    assert texts.encode("!?") is None


def test_what_only_the_backbone_knows_is_found(info: ReleaseInfo) -> None:
    retriever = Retriever(read_release(info.folder.parent))
    for block, text in enumerate(UNSEEN):
        found = [int(item_id[1:]) % BLOCKS for item_id in retriever.search(text, k=10).item_id]
        assert np.mean(np.array(found) == block) >= 0.8, text


def test_the_files_of_the_backbone_are_named_and_hashed(
    model: Path, info: ReleaseInfo, backbone_folder: Path
) -> None:
    files = info.manifest.files
    assert {"backbone.modules.json", "backbone.model.safetensors", "backbone.1_Pooling.config.json"} <= set(
        files
    )
    assert "backbone.README.md" not in files
    for name in query_files(files):
        assert (info.folder / name).read_bytes() == (model / name).read_bytes()
    weights = (backbone_folder / "model.safetensors").read_bytes()
    assert (info.folder / "backbone.model.safetensors").read_bytes() == weights
    # Counted with what the release holds in memory.
    assert memory_bytes(read_release(info.folder.parent), info.folder) > len(weights)


def test_an_export_made_of_a_release_has_its_backbone_by_links(
    exported: Exported, info: ReleaseInfo, tmp_path: Path
) -> None:
    dataset = dataset_from_tables(read_tables(exported.tables))
    export_anew(tmp_path / "anew", info.folder, CONTEXT, dataset)
    for name in query_files(info.manifest.files):
        assert (tmp_path / "anew" / name).samefile(info.folder / name)
    assert query_fingerprint(tmp_path / "anew") == query_fingerprint(info.folder)


def test_a_changed_file_of_the_backbone_is_refused(copy: Path) -> None:
    path = copy / "backbone.model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"backbone\.model\.safetensors: SHA-256 is"):
        read_release(copy)
    # Even where the caller has no file hashed.
    with pytest.raises(ReleaseError, match="the fingerprint of the backbone's files is"):
        read_release(copy, Verify.TRUSTED)
    path.unlink()
    with pytest.raises(IntegrityError, match=r"backbone\.model\.safetensors"):
        read_release(copy)


def test_an_export_with_a_changed_backbone_does_not_become_current(
    exported: Exported, model: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(model, tmp_path / "model"))
    settings = changed / "backbone.1_Pooling.config.json"
    settings.write_text(settings.read_text().replace("mean", "cls"))
    with pytest.raises(ReleaseError, match="the fingerprint of the backbone's files is"):
        build_release(changed, exported.tables, tmp_path / "releases", IndexSpec(), GateSettings(k=10))
    assert current(tmp_path / "releases") is None
    (changed / "backbone.1_Pooling.config.json").unlink()
    with pytest.raises(IntegrityError, match=r"is missing; expected the backbone that query\.json names"):
        build_release(changed, exported.tables, tmp_path / "releases", IndexSpec(), GateSettings(k=10))


@pytest.mark.parametrize("path", ["../outside.json", "/etc/passwd.json", ".hidden/config.json", 3, None])
def test_a_file_of_the_backbone_lies_in_its_folder(model: Path, tmp_path: Path, path: object) -> None:
    source = model / "query.json"
    with pytest.raises(ReleaseError, match="backbone has other files than an export"):
        module.open_exported(
            model, {"files": {"backbone.x.json": path}, "fingerprint": "", "max_tokens": 3}, source
        )


def test_other_vectors_than_those_of_the_training_are_refused(
    info: ReleaseInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = module.Backbone.embed
    # As another version of the libraries might: vectors of unit length, but others.
    monkeypatch.setattr(module.Backbone, "embed", lambda self, texts: np.roll(embed(self, texts), 1, axis=1))
    with pytest.raises(SkewError, match=r"query\.json: the backbone reads a text .* install the versions"):
        read_release(info.folder.parent)


def test_without_the_extra_a_release_is_refused_and_not_answered_by_words(
    info: ReleaseInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LIBRARY", "no_such_library")
    with pytest.raises(MissingExtraError, match=r"no_such_library is not installed; .*retrieval\[text\]'"):
        read_release(info.folder.parent)
    assert open_release(info.folder.parent).release_id == info.release_id  # what is verified alone needs none
