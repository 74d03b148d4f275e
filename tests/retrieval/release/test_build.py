"""An export becomes a release, and only a sound one does."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file, save_file

from retrieval.index.build import build_index
from retrieval.index.spec import Codes, Index, IndexKind, IndexSpec
from retrieval.release import build, saved_index
from retrieval.release.build import build_release
from retrieval.release.certificate import CERTIFICATE_FILE, RecallSlice, read_certificate
from retrieval.release.gates import Candidate, Gate, GateSettings, check_gates
from retrieval.release.manifest import AnswerKind, GateResult
from retrieval.release.store import open_release
from retrieval.retriever import Retriever
from tests.retrieval.conftest import CONTEXT, Exported
from towers.data.dataset import dataset_from_tables
from towers.data.schema import read_tables
from towers.errors import ConfigError, GateError, IntegrityError, MissingDataError, ReleaseError, SchemaError
from towers.nets.two_tower import load_towers
from towers.recommender import Degraded, Queries


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Exported:
    """An export that a test may spoil."""
    shutil.copytree(exported.model, tmp_path / "model")
    shutil.copytree(exported.tables, tmp_path / "tables")
    return Exported(tmp_path / "model", tmp_path / "tables")


def _spoil(copied: Exported, vector: np.ndarray, num_events: np.ndarray) -> None:
    save_file({"vector": vector, "num_events": num_events}, copied.model / "items.safetensors")


def _vectors(copied: Exported) -> tuple[np.ndarray, np.ndarray]:
    read = load_file(copied.model / "items.safetensors")
    return read["vector"], read["num_events"]


def _of_kind(kind: IndexKind) -> IndexSpec:
    """A spec of that kind, with codes that it reads."""
    return IndexSpec(kind, codes=Codes.FLAT) if kind is IndexKind.GPU_IVF else IndexSpec(kind)


@pytest.mark.parametrize("kind", list(IndexKind))
def test_an_export_is_published_and_served(exported: Exported, tmp_path: Path, kind: IndexKind) -> None:
    info = build_release(exported.model, exported.tables, tmp_path, _of_kind(kind), GateSettings(k=10))
    about = open_release(tmp_path).manifest.description
    assert about == info.manifest.description
    # So few titles compile to a scan.
    assert about.index == _of_kind(IndexKind.FLAT if kind is IndexKind.COMPILED else kind)
    assert (about.kind, about.dimension, about.num_items) == (AnswerKind.TOWERS, 16, 60)
    assert (about.num_profiles, about.num_events) == (24, 144)
    assert about.context == CONTEXT
    # Those of lists and of other rungs are not of towers.
    others = {Gate.LIST_COUNTS, Gate.SOUND_LISTS, Gate.RUNG_OVERLAP}
    assert {gate.name for gate in about.gates} == set(Gate) - others
    certificate = read_certificate(info.folder)
    assert certificate is not None
    assert [each.slice for each in certificate.slices] == list(RecallSlice)
    assert certificate.slices[0].num_queries == 24  # every profile
    assert CERTIFICATE_FILE in info.manifest.files
    assert all(gate.passed for gate in about.gates)

    retriever = Retriever.open(str(tmp_path))
    assert retriever.context == CONTEXT
    dataset = dataset_from_tables(read_tables(exported.tables))
    ids = np.array(dataset.catalogue.ids)
    for profile in (0, 23):
        profile_id = dataset.profiles.id(profile)
        watched = ids[dataset.history.items_of(profile)].tolist()
        assert list(retriever.history(profile_id)) == watched
        ranking = retriever.recommend(profile_id, k=60)
        assert set(ranking.item_id) == set(ids) - set(watched)
        assert ranking.release_id == info.release_id
    assert retriever.items["i4"].title == "Title 1 of block 1"
    assert retriever.items["i4"].genres == ("genre 1",)


@pytest.mark.parametrize("kind", list(IndexKind))
def test_a_release_of_several_interests_ranks_by_the_best_of_them(
    exported_interests: Exported, tmp_path: Path, kind: IndexKind
) -> None:
    made = exported_interests
    info = build_release(made.model, made.tables, tmp_path, _of_kind(kind), GateSettings(k=10))
    assert info.manifest.description.dimension == 16
    recall = {gate.name: gate.value for gate in info.manifest.description.gates}["recall"]
    assert recall is not None
    assert recall >= 0.95
    towers = load_towers(made.model)
    assert towers.settings.num_interests == 3
    dataset = dataset_from_tables(read_tables(made.tables))
    vectors = towers.embed(towers.encoder.encode(dataset.items))
    retriever = Retriever.open(tmp_path)
    asked = Queries(
        dataset.history,
        dataset.history.time_seconds[dataset.history.offset[1:] - 1],
        dataset.country,
        dataset.profile_table,
    )
    query = towers.encode(asked, torch.from_numpy(vectors))
    assert query.shape == (24, 3, 16)
    liking = (query.astype(np.float64) @ vectors.T.astype(np.float64)).max(1)
    for row, profile_id in enumerate(dataset.profiles.ids):
        watched = dataset.history.items_of(row)
        ranking = retriever.recommend(profile_id, k=60)
        assert len(ranking) == 60 - len(set(watched.tolist()))
        rows = dataset.catalogue.rows(ranking.item_id)
        assert not set(rows.tolist()) & set(watched.tolist())
        np.testing.assert_allclose(ranking.score, liking[row, rows], atol=1e-5)
        assert (np.diff(ranking.score) <= 0).all()
        short = retriever.recommend(profile_id, k=3)
        np.testing.assert_allclose(short.score, ranking.score[:3], atol=1e-5)
    # Equal matches of a text stand in the same order.
    found = retriever.search("title", profile_id="p5", k=60)
    rows = dataset.catalogue.rows(found.item_id)
    ties = np.flatnonzero(np.diff(found.score) == 0)
    assert len(ties) > 10
    assert (liking[5, rows[ties]] >= liking[5, rows[ties + 1]] - 1e-5).all()


@pytest.mark.parametrize("dimension", [1, 6, 16])
@pytest.mark.parametrize("several", [False, True])
def test_a_release_searches_the_first_numbers_of_its_vectors_where_it_is_told_to(
    exported: Exported, exported_interests: Exported, tmp_path: Path, dimension: int, several: bool
) -> None:
    made = exported_interests if several else exported
    info = build_release(
        made.model, made.tables, tmp_path, IndexSpec(), GateSettings(k=10), dimension=dimension
    )
    assert info.manifest.description.dimension == dimension
    towers, dataset = load_towers(made.model), dataset_from_tables(read_tables(made.tables))
    vectors = towers.embed(towers.encoder.encode(dataset.items))
    # The user tower reads whole vectors of what was watched.
    asked = Queries(
        dataset.history,
        dataset.history.time_seconds[dataset.history.offset[1:] - 1],
        dataset.country,
        dataset.profile_table,
    )
    query = towers.encode(asked, torch.from_numpy(vectors)).reshape(24, -1, 16)
    short, asked_short = (
        one[..., :dimension].astype(np.float64)
        / np.linalg.norm(one[..., :dimension].astype(np.float64), axis=-1, keepdims=True)
        for one in (vectors, query)
    )
    liking = (asked_short @ short.T).max(1)
    retriever = Retriever.open(tmp_path)
    for row, profile_id in enumerate(dataset.profiles.ids):
        ranking = retriever.recommend(profile_id, k=60)
        rows = dataset.catalogue.rows(ranking.item_id)
        np.testing.assert_allclose(ranking.score, liking[row, rows], atol=1e-5)
        assert (np.diff(ranking.score) <= 0).all()
    similar = retriever.similar("i4", k=60)
    rows = dataset.catalogue.rows(similar.item_id)
    np.testing.assert_allclose(similar.score, short[rows] @ short[4], atol=1e-5)


@pytest.mark.parametrize("dimension", [0, 17])
def test_more_numbers_than_there_are_cannot_be_searched(
    exported: Exported, tmp_path: Path, dimension: int
) -> None:
    with pytest.raises(ConfigError, match=rf"dimension: {dimension}; expected 1 to 16"):
        build_release(
            exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(), dimension=dimension
        )
    assert list(tmp_path.iterdir()) == []


def test_it_says_where_vectors_were_not_trained_to_be_cut(
    copied: Exported, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = json.loads((copied.model / "training.json").read_text())
    context["objective"] = {"matryoshka": [6]}
    (copied.model / "training.json").write_text(json.dumps(context))
    for dimension, expected in ((6, 0), (16, 0), (7, 1)):
        caplog.clear()
        build_release(
            copied.model, copied.tables, tmp_path / "r", IndexSpec(), GateSettings(k=10), dimension=dimension
        )
        warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warned) == expected, warned
    assert "dimension=7 trained=[6]" in warned[0]


def test_the_release_stands_alone(copied: Exported, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    build_release(copied.model, copied.tables, releases, IndexSpec(), GateSettings(k=10))
    expected = Retriever.open(releases).recommend("p0", k=5)
    shutil.rmtree(copied.model)
    shutil.rmtree(copied.tables)
    moved = tmp_path / "moved"
    shutil.move(releases, moved)
    assert Retriever.open(moved).recommend("p0", k=5).item_id == expected.item_id
    assert Retriever.open(moved / "r000001").recommend("p0", k=5).item_id == expected.item_id


def test_popularity_comes_from_the_train_events(exported: Exported, tmp_path: Path) -> None:
    build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(k=10))
    ranking = Retriever.open(tmp_path).recommend("a stranger", k=60)
    num_events = load_file(exported.model / "items.safetensors")["num_events"]
    assert ranking.degraded is Degraded.UNKNOWN_PROFILE
    assert ranking.score.tolist() == sorted(num_events.tolist(), reverse=True)


def test_any_changed_file_is_named_before_it_is_parsed(exported: Exported, tmp_path: Path) -> None:
    spec = IndexSpec(IndexKind.HNSW)
    folder = build_release(exported.model, exported.tables, tmp_path, spec, GateSettings(k=10)).folder
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 11
    for name in names:
        content = (folder / name).read_bytes()
        # Noise from end to end: a parser that were handed it would raise an error of its own, or crash.
        (folder / name).write_bytes(np.random.default_rng(0).bytes(len(content)))
        with pytest.raises(IntegrityError) as caught:
            Retriever.open(tmp_path)
        assert name in str(caught.value)
        (folder / name).write_bytes(content)
    Retriever.open(tmp_path)


def _refused(copied: Exported, releases: Path, failed: str, spec: IndexSpec | None = None) -> str:
    with pytest.raises(GateError) as caught:
        build_release(copied.model, copied.tables, releases, spec or IndexSpec(), GateSettings(k=10))
    assert f"FAILED {failed}" in str(caught.value)
    assert not [path for path in releases.iterdir() if path.name != ".lock"]
    return str(caught.value)


def test_a_nan_vector_is_refused(copied: Exported, tmp_path: Path) -> None:
    vector, num_events = _vectors(copied)
    vector[7, 3] = np.nan
    _spoil(copied, vector, num_events)
    message = _refused(copied, tmp_path / "releases", "finite_vectors: 1, expected == 0")
    assert "FAILED recall: not measured, expected >= 0.95" in message
    assert "passed unique_ids: 0" in message


@pytest.mark.parametrize("num_items", [59, 61])
def test_counts_that_differ_are_refused(copied: Exported, tmp_path: Path, num_items: int) -> None:
    vector, num_events = _vectors(copied)
    _spoil(copied, np.resize(vector, (num_items, 16)), np.resize(num_events, num_items))
    _refused(copied, tmp_path / "releases", "export_counts: 1, expected == 0")


def test_event_counts_of_another_catalogue_are_refused(copied: Exported, tmp_path: Path) -> None:
    vector, num_events = _vectors(copied)
    _spoil(copied, vector, num_events[:-2])
    _refused(copied, tmp_path / "releases", "export_counts: 2, expected == 0")


def test_vectors_in_another_order_are_refused(copied: Exported, tmp_path: Path) -> None:
    vector, num_events = _vectors(copied)
    vector[[0, 1]] = vector[[1, 0]]
    _spoil(copied, vector, num_events)
    _refused(copied, tmp_path / "releases", "embedding_parity")


def test_a_repeated_id_is_refused(copied: Exported, tmp_path: Path) -> None:
    items = pq.read_table(copied.tables / "items.parquet")
    ids = items["item_id"].to_pylist()
    repeated = items.set_column(0, items.schema.field(0), [[ids[1], *ids[1:]]])
    pq.write_table(repeated, copied.tables / "items.parquet")
    with pytest.raises(SchemaError, match="'i1' stands in 2 rows"):
        build_release(copied.model, copied.tables, tmp_path / "releases", IndexSpec(), GateSettings())
    assert not (tmp_path / "releases").exists()


def test_a_failed_gate_leaves_the_old_release_current(copied: Exported, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    build_release(copied.model, copied.tables, releases, IndexSpec(), GateSettings(k=10))
    vector, num_events = _vectors(copied)
    vector[0] = np.inf
    _spoil(copied, vector, num_events)
    with pytest.raises(GateError):
        build_release(copied.model, copied.tables, releases, IndexSpec(), GateSettings(k=10))
    assert Retriever.open(releases).release_id == "r000001"
    assert {path.name for path in releases.iterdir()} == {".lock", "CURRENT", "r000001"}


def test_missing_and_foreign_inputs_are_named(copied: Exported, tmp_path: Path) -> None:
    def published() -> None:
        build_release(copied.model, copied.tables, tmp_path / "releases", IndexSpec(), GateSettings())

    training = (copied.model / "training.json").read_bytes()
    for content, error, message in (
        (b"{", ReleaseError, "expected JSON"),
        (b"[]", ReleaseError, "holds a list"),
        (None, MissingDataError, r"training\.json: no exported model; run scripts/train\.py"),
    ):
        (copied.model / "training.json").unlink()
        if content is not None:
            (copied.model / "training.json").write_bytes(content)
        with pytest.raises(error, match=message):
            published()
    (copied.model / "training.json").write_bytes(training)
    (copied.model / "items.safetensors").write_bytes(b"not one")
    with pytest.raises(ReleaseError, match="expected a safetensors file"):
        published()
    _spoil(copied, np.zeros((60, 16), np.float64), np.zeros(60, np.int64))
    with pytest.raises(ReleaseError, match=r"F64.*expected vector float32 \(N, D\)"):
        published()
    (copied.model / "items.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"items\.safetensors: no exported item vectors"):
        published()


def test_settings_out_of_range_name_their_key(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gates\.min_recall: 1\.5"):
        build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(min_recall=1.5))
    with pytest.raises(ConfigError, match=r"index\.ef_search: 0"):
        build_release(exported.model, exported.tables, tmp_path, IndexSpec(ef_search=0), GateSettings())


def test_logs_name_no_profile(exported: Exported, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(k=10))
        Retriever.open(tmp_path).recommend("p17")
    assert "release published id=r000001" in caplog.text
    assert "gates passed finite_vectors=0.0000" in caplog.text
    assert "p17" not in caplog.text


def test_an_export_replaced_while_it_is_gated_does_not_reach_the_release(
    copied: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced_meanwhile(candidate: Candidate, settings: GateSettings) -> tuple[GateResult, ...]:
        weights = load_file(copied.model / "towers.safetensors")
        save_file({name: value + 1 for name, value in weights.items()}, copied.model / "towers.safetensors")
        return check_gates(candidate, settings)

    monkeypatch.setattr(build, "check_gates", replaced_meanwhile)
    before = (copied.model / "towers.safetensors").read_bytes()
    info = build_release(copied.model, copied.tables, tmp_path / "releases", IndexSpec(), GateSettings(k=10))
    assert (info.folder / "towers.safetensors").read_bytes() == before
    assert len(Retriever.open(tmp_path / "releases").recommend("p0")) == 10


def test_what_cannot_be_opened_does_not_become_current(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "write_profiles", lambda _, path, columns, **__: path.write_bytes(b"not one"))
    with pytest.raises(SchemaError, match=r"profiles\.parquet"):
        build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(k=10))
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_an_index_that_saves_other_vectors_fails_its_gate(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mixed_up(spec: IndexSpec, vectors: np.ndarray, queries: object) -> Index:
        assert queries is None  # a scan is laid out for nobody
        return build_index(spec, -vectors)

    monkeypatch.setattr(saved_index, "build_index", mixed_up)
    _refused(exported, tmp_path / "releases", "recall: 0")


def _resealed(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    change(document)
    _seal(folder, json.dumps(document).encode())


def _seal(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")


def test_a_resealed_manifest_that_does_not_fit_its_files_is_refused(
    exported: Exported, tmp_path: Path
) -> None:
    folder = build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(k=10)).folder
    sealed = (folder / "manifest.json").read_bytes()
    counts = json.loads(sealed)["counts"]
    changes: dict[str, dict[str, object]] = {
        "model_fingerprint is": {"model_fingerprint": "f" * 64},
        "dimension is 16": {"dimension": 17},
        "items is 60": {"counts": counts | {"items": 61}},
        "profiles is 24": {"counts": counts | {"profiles": 25}},
    }
    for message, change in changes.items():
        _resealed(folder, lambda document, change=change: document.update(change))  # type: ignore[misc]
        with pytest.raises(IntegrityError, match=message):
            Retriever.open(tmp_path)
        _seal(folder, sealed)
    _seal(folder, b"[" * 200_000)
    with pytest.raises(IntegrityError, match=r"manifest\.json: .*expected JSON"):
        Retriever.open(tmp_path)
    _seal(folder, sealed)
    (folder / "items.parquet").unlink()
    _resealed(folder, lambda document: document["files"].pop("items.parquet"))  # type: ignore[attr-defined]
    with pytest.raises(IntegrityError, match=r"does not name items\.parquet"):
        Retriever.open(tmp_path)
    with pytest.raises(ReleaseError, match="is a file; expected a folder"):
        Retriever.open(folder / "manifest.json")


def test_a_release_of_the_first_format_is_served_as_it_was(exported: Exported, tmp_path: Path) -> None:
    folder = build_release(exported.model, exported.tables, tmp_path, IndexSpec(), GateSettings(k=10)).folder
    expected = Retriever.open(tmp_path).recommend("p0", k=5)
    # The first format knew towers alone and named no kind.
    _resealed(folder, lambda document: (document.pop("kind"), document.update(format_version=1)))
    assert open_release(tmp_path).manifest.description.kind is AnswerKind.TOWERS
    found = Retriever.open(tmp_path).recommend("p0", k=5)
    assert (found.item_id, found.score.tolist()) == (expected.item_id, expected.score.tolist())
