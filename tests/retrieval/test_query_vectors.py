"""Vectors of one model never meet the index of another, however alike they look."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from retrieval.index.spec import IndexSpec
from retrieval.query_vectors import QueryVectors
from retrieval.release.build import build_release
from retrieval.release.build_rung import Learned, ListSettings, release_rung
from retrieval.release.gates import GateSettings
from retrieval.release.read import read_parts
from retrieval.release.store import open_release
from retrieval.retriever import Retriever
from retrieval.vectors import VectorAnswers
from tests.retrieval.conftest import CONTEXT, Exported
from tests.retrieval.worlds import by_vectors, release
from tests.worlds import SIGNALS, block_world
from towers.data.dataset import dataset_from_tables, read_dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.signals.settings import signals_of
from towers.data.split import SplitSettings, split
from towers.errors import MissingDataError, QueryError, SkewError
from towers.ladder.heuristics import fit_popular
from towers.nets.two_tower import ModelSettings, TwoTower, fingerprint
from towers.training.export import export


@pytest.fixture(scope="module")
def other(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Towers of the same shape over the same tables, with other weights."""
    folder = tmp_path_factory.mktemp("other")
    dataset = read_dataset(exported.tables, signals_of({"signals": SIGNALS}))
    parts = split(dataset, SplitSettings())
    torch.manual_seed(1)
    towers = TwoTower(ModelSettings(dim=16), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    export(towers, dataset, parts, folder / "model", context=CONTEXT)
    return Exported(folder / "model", exported.tables)


def _released(made: Exported, root: Path) -> Retriever:
    build_release(made.model, made.tables, root, IndexSpec(), GateSettings(k=10))
    return Retriever.open(root)


def test_an_index_answers_its_own_vectors_and_refuses_those_of_another_tower_of_equal_width(
    exported: Exported, other: Exported, tmp_path: Path
) -> None:
    one, two = _released(exported, tmp_path / "one"), _released(other, tmp_path / "two")
    asked = one.questions(0, len(one.profile_ids))
    vectors = one.encode(asked)
    assert vectors.vector.shape == two.encode(asked).vector.shape
    assert vectors.fingerprint == fingerprint(exported.model)
    assert (one.rank(asked, 5, vectors=vectors).item_row == one.rank(asked, 5).item_row).all()
    with pytest.raises(SkewError, match="encode the queries with this release"):
        two.rank(asked, 5, vectors=vectors)
    with pytest.raises(QueryError, match="expected a line each"):
        one.rank(asked, 5, vectors=vectors.select(np.array([0])))


def test_vectors_keep_their_fingerprint_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "queries.safetensors"
    vectors = QueryVectors(np.arange(12, dtype=np.float32).reshape(2, 3, 2), "f" * 64)
    vectors.save(path)
    read = QueryVectors.load(path)
    assert read.fingerprint == vectors.fingerprint
    assert (read.vector == vectors.vector).all()
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SkewError):
        read.of("e" * 64)


def test_a_file_that_does_not_say_whose_vectors_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "queries.safetensors"
    with pytest.raises(MissingDataError, match="expected query vectors"):
        QueryVectors.load(path)
    save_file({"query_vector": np.zeros((2, 3), np.float32)}, path)
    with pytest.raises(QueryError, match="model_fingerprint in its metadata"):
        QueryVectors.load(path)
    save_file({"other": np.zeros((2, 3), np.float32)}, path, metadata={"model_fingerprint": "f"})
    with pytest.raises(QueryError, match="expected query_vector"):
        QueryVectors.load(path)
    path.write_bytes(b"not one")
    with pytest.raises(QueryError, match="expected query vectors in a safetensors file"):
        QueryVectors.load(path)


def test_item_vectors_on_the_disk_name_their_towers(exported: Exported, tmp_path: Path) -> None:
    build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(k=10))
    for folder in (exported.model, tmp_path / "r000001"):
        with safe_open(folder / "items.safetensors", "numpy") as file:
            assert file.metadata() == {"model_fingerprint": fingerprint(exported.model)}


@pytest.mark.parametrize("swapped", ["towers", "vectors"])
def test_an_export_of_two_trainings_of_equal_width_is_not_published(
    exported: Exported, other: Exported, tmp_path: Path, swapped: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(exported.model, model)
    name = {"towers": "towers.safetensors", "vectors": "items.safetensors"}[swapped]
    shutil.copyfile(other.model / name, model / name)
    with pytest.raises(SkewError, match="expected those of the same export"):
        build_release(model, exported.tables, tmp_path / "r", IndexSpec(), GateSettings(k=10))
    assert not (tmp_path / "r" / "CURRENT").exists()


def test_a_release_put_together_of_two_is_not_opened_even_where_its_manifest_agrees(
    exported: Exported, other: Exported, tmp_path: Path
) -> None:
    _released(exported, tmp_path)
    info = open_release(tmp_path)
    for name in ("model.json", "towers.safetensors"):
        shutil.copyfile(other.model / name, info.folder / name)
    about = replace(info.manifest.description, model_fingerprint=fingerprint(other.model))
    with pytest.raises(SkewError, match="expected one model"):
        read_parts(info.folder, "r000001", about)


def test_vectors_written_before_they_named_their_towers_are_held_to_the_manifest(
    exported: Exported, tmp_path: Path
) -> None:
    retriever = _released(exported, tmp_path)
    info = open_release(tmp_path)
    path = info.folder / "items.safetensors"
    save_file(load_file(path), path)
    opened = read_parts(info.folder, "r000001", info.manifest.description)
    assert Retriever(opened).recommend("p0").item_id == retriever.recommend("p0").item_id
    wrong = replace(info.manifest.description, model_fingerprint="f" * 64)
    with pytest.raises(SkewError):
        read_parts(info.folder, "r000001", wrong)


def test_answers_are_not_made_of_vectors_and_an_encoder_of_two_models() -> None:
    made = by_vectors(release(np.eye(4, dtype=np.float32)))
    parts = (made.vectors, made.index, made.encoder, made.curve)
    assert VectorAnswers(*parts, model="mean").num_items == 4
    with pytest.raises(SkewError):
        VectorAnswers(*parts, model="another")


def test_a_release_of_lists_has_no_vectors(tmp_path: Path) -> None:
    dataset = dataset_from_tables(block_world(2, 10, 4, 4, seed=0))
    num_events = np.bincount(dataset.history.item_row, minlength=20)
    rung, learned = fit_popular(dataset.history, 20), Learned(dataset, num_events, {})
    release_rung(rung, learned, tmp_path, IndexSpec(), ListSettings(), GateSettings(k=10))
    retriever = Retriever.open(tmp_path)
    with pytest.raises(QueryError, match="answers from lists"):
        retriever.encode(retriever.questions(0, 1))


def test_the_metadata_is_plain_json(exported: Exported) -> None:
    content = (exported.model / "items.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"] == {"model_fingerprint": fingerprint(exported.model)}
