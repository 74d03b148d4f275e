"""A release with a query tower: what is spelled first, then words and meaning together; and for whom."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.eligibility.rules import GenresAny, Not
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.read import Release, read_release
from retrieval.release.store import open_release
from retrieval.retriever import Retriever
from retrieval.vectors import VectorAnswers
from tests.retrieval.conftest import Exported
from tests.worlds import START_SECONDS
from towers.data.dataset import dataset_from_tables
from towers.data.schema import QUERIES, TIME, read_tables, table
from towers.data.split import SplitSettings, split
from towers.errors import ReleaseError
from towers.nets.query_tower import QueryTowerSettings, query_fingerprint, save_query_tower
from towers.nets.two_tower import fingerprint, load_towers
from towers.recommender import Degraded
from towers.training.query_fit import fit_query_tower
from towers.training.query_settings import QueryFitSettings

SETTINGS = QueryFitSettings(
    QueryTowerSettings(buckets=4096), epochs=8, texts_per_title=40, batch=64, learning_rate=1e-2
)


@pytest.fixture(scope="module")
def with_tower(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The export with a query tower that learned from the log that "zanzibar" asks for block 1."""
    folder = tmp_path_factory.mktemp("texts")
    shutil.copytree(exported.model, folder / "model")
    dataset = dataset_from_tables(read_tables(exported.tables))
    searches = {
        "text": ["zanzibar"] * 10,
        "item_id": [f"i{row}" for row in range(1, 31, 3)],
        "time": [1000 * START_SECONDS] * 10,
    }
    queries = table(QUERIES, {**searches, "time": np.array(searches["time"], "datetime64[ms]")})
    assert queries.schema.field("time").type == TIME
    towers, parts = load_towers(folder / "model"), split(dataset, SplitSettings())
    tower = fit_query_tower(towers, dataset, parts, queries, SETTINGS, seed=0)
    assert tower is not None
    save_query_tower(tower, folder / "model", fingerprint(folder / "model"))
    return Exported(folder / "model", exported.tables)


@pytest.fixture(scope="module")
def root(with_tower: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("releases")
    build_release(with_tower.model, with_tower.tables, folder, IndexSpec(), GateSettings(k=10))
    return folder


@pytest.fixture(scope="module")
def made(root: Path) -> Release:
    return read_release(root)


@pytest.fixture(scope="module")
def retriever(made: Release) -> Retriever:
    return Retriever(made)


def blocks(item_ids: tuple[str, ...]) -> list[int]:
    return [int(item_id[1:]) % 3 for item_id in item_ids]


def test_the_query_tower_is_part_of_the_release(with_tower: Exported, root: Path, made: Release) -> None:
    info = open_release(root)
    assert {"query.json", "query.safetensors"} <= set(info.manifest.files)
    assert made.texts is not None
    assert made.texts.fingerprint == query_fingerprint(with_tower.model)
    assert json.loads((info.folder / "query.json").read_text())["towers"] == (
        info.manifest.description.model_fingerprint
    )


def test_what_no_title_has_the_words_of_is_found_by_meaning_and_tagged(retriever: Retriever) -> None:
    found = retriever.search("zanzibar", k=10)
    assert found.degraded is Degraded.NO_MATCH
    assert np.mean(np.array(blocks(found.item_id)) == 1) >= 0.9
    assert retriever.search("zanzibra", k=10).item_id[:3] != retriever.recommend(k=10).item_id[:3]


def test_rules_hold_over_what_is_found_by_meaning(retriever: Retriever) -> None:
    found = retriever.search("zanzibar", k=10, rule=Not(GenresAny(("genre 1",))))
    assert len(found) == 10
    assert 1 not in blocks(found.item_id)


def test_what_the_text_spells_stands_first_as_without_a_query_tower(made: Release) -> None:
    by_words, hybrid = Retriever(replace(made, texts=None)), Retriever(made)
    for text in ("Title 3 of block 2", "title 3 of blokc 2", "title 3 o"):
        for profile_id in (None, "p0", "p1"):
            spelled = by_words.search(text, profile_id=profile_id, k=60)
            first = [place for place, score in enumerate(spelled.score) if score >= 2.0] or [0]
            found = hybrid.search(text, profile_id=profile_id, k=60)
            assert found.item_id[: len(first)] == spelled.item_id[: len(first)]


def test_without_a_query_tower_texts_are_answered_by_words(made: Release, retriever: Retriever) -> None:
    plain = Retriever(replace(made, texts=None)).search("zanzibar", profile_id="p0", k=5)
    assert plain.degraded is Degraded.NO_MATCH
    assert plain.item_id == retriever.recommend("p0", k=5).item_id


def test_nobody_is_answered_by_the_text_alone(made: Release, retriever: Retriever) -> None:
    assert made.texts is not None
    assert isinstance(made.answers, VectorAnswers)
    vector = made.texts.encode("zanzibar")
    assert vector is not None
    # Every title is near enough; temperature 0.05, and popularity by the count of events.
    logits = made.answers.vectors @ vector[0] / 0.05 + np.log(1 + made.num_events)
    best = np.argsort(-logits, kind="stable")[:10]
    expected = [f"i{row}" for row in best]
    assert list(retriever.search("zanzibar", k=10).item_id) == expected
    assert list(retriever.search("zanzibar", profile_id="a stranger", k=10).item_id) == expected


def test_the_vector_is_of_text_and_profile_together(made: Release) -> None:
    texts, answers = made.texts, made.answers
    assert texts is not None
    assert isinstance(answers, VectorAnswers)
    alone = texts.encode("title")
    assert alone is not None
    user = np.eye(1, answers.vectors.shape[1], 3, dtype=np.float32)
    both = texts.encode("title", user)
    assert both is not None
    # It lies in the plane of the two, between them.
    np.testing.assert_allclose(np.linalg.norm(both), 1.0, rtol=1e-5)
    weights, left, *_ = np.linalg.lstsq(np.stack([alone[0], user[0]], 1), both[0], rcond=None)
    assert (weights > 0).all()
    np.testing.assert_allclose(left, 0.0, atol=1e-8)
    several = texts.encode("title", np.stack([user[0], -user[0]])[None])
    assert several is not None
    np.testing.assert_allclose(several[0, 0], both[0], rtol=1e-5)


def test_profiles_order_an_ambiguous_text_and_not_the_name_of_a_title(retriever: Retriever) -> None:
    asked = [retriever.search("zanzibar", profile_id=f"p{row}", k=20).item_id for row in range(6)]
    assert len(set(asked)) > 1
    named = [retriever.search("Title 3 of block 2", profile_id=f"p{row}", k=1).item_id for row in range(6)]
    assert len(set(named)) == 1


@pytest.mark.parametrize("text", ["語", "🎬🎬", "x" * 1000, "a " * 400, "\x00\x01 zanzibar", "' OR 1=1 --"])
def test_any_text_has_an_answer(retriever: Retriever, text: str) -> None:
    assert len(retriever.search(text, profile_id="p1", k=5)) == 5


def test_a_cut_release_reads_texts_by_the_first_numbers(with_tower: Exported, tmp_path: Path) -> None:
    build_release(
        with_tower.model, with_tower.tables, tmp_path, IndexSpec(), GateSettings(k=10), dimension=12
    )
    made = read_release(tmp_path)
    assert made.texts is not None
    vector = made.texts.encode("zanzibar")
    assert vector is not None
    assert vector.shape == (1, 12)
    np.testing.assert_allclose(np.linalg.norm(vector), 1.0, rtol=1e-5)
    assert len(Retriever(made).search("zanzibar", profile_id="p2", k=7)) == 7


def test_the_query_tower_of_other_towers_does_not_become_current(
    with_tower: Exported, tmp_path: Path
) -> None:
    shutil.copytree(with_tower.model, tmp_path / "model")
    document = json.loads((tmp_path / "model" / "query.json").read_text())
    (tmp_path / "model" / "query.json").write_text(json.dumps(document | {"towers": "0" * 64}))
    with pytest.raises(ReleaseError, match="fitted to the item vectors of the towers '0000"):
        build_release(tmp_path / "model", with_tower.tables, tmp_path / "r", IndexSpec(), GateSettings(k=10))
    assert not list((tmp_path / "r").glob("current*"))
