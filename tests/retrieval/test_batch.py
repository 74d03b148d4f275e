"""Every profile's answer in one file, as the profile itself is answered, whole or not at all."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import retrieval.batch
from retrieval.batch import recommend_all
from retrieval.eligibility.rules import Available, ItemIn, Rule
from retrieval.retriever import Retriever
from tests.retrieval.worlds import release
from towers.errors import QueryError

NUM_ITEMS, NUM_PROFILES = 40, 23


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    """Some have watched nothing, and one nearly everything."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(NUM_ITEMS, 8)).astype(np.float32)
    watched = {f"p{row}": rng.permutation(NUM_ITEMS)[: row % 7].tolist() for row in range(NUM_PROFILES)}
    watched["p5"] = list(range(NUM_ITEMS - 2))
    return Retriever(release(vectors, profiles=watched))


@pytest.fixture(params=[5, 100])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Profiles answered at once: in several blocks, and in one."""
    monkeypatch.setattr(retrieval.batch, "_BLOCK", request.param)
    num: int = request.param
    return num


@pytest.mark.parametrize("rule", [None, ItemIn(tuple(f"i{row}" for row in range(0, NUM_ITEMS, 3)))])
def test_each_line_is_what_the_profile_is_recommended(
    retriever: Retriever, tmp_path: Path, block: int, rule: Rule | None
) -> None:
    path = tmp_path / "folder" / "all.parquet"
    report = recommend_all(retriever, path, 6, rule_of=lambda _: rule)
    lines = pq.read_table(path).to_pylist()
    assert [line["profile_id"] for line in lines] == list(retriever.profile_ids)
    assert pq.read_metadata(path).num_row_groups == -(-NUM_PROFILES // block)
    for line in lines:
        answer = retriever.recommend(line["profile_id"], k=6, rule=rule)
        assert tuple(line["item_id"]) == answer.item_id
        np.testing.assert_allclose(line["score"], answer.score, rtol=0, atol=1e-6)
        assert line["degraded"] == answer.degraded
        assert line["release_id"] == retriever.release_id
    assert [path.name for path in path.parent.iterdir()] == ["all.parquet"]
    assert report.num_profiles == NUM_PROFILES
    assert report.num_degraded == sum(line["degraded"] is not None for line in lines) > 0
    assert 0.0 < report.encode_seconds < report.seconds


def test_a_rule_is_made_once_a_country(retriever: Retriever, tmp_path: Path, block: int) -> None:
    asked = []

    def rule_of(country: str) -> Rule:
        asked.append(country)
        return Available(country or "GB", 1_800_000_000)

    recommend_all(retriever, tmp_path / "all.parquet", 3, rule_of=rule_of)
    assert asked == [""]


def test_the_moment_is_that_of_the_request_but_not_before_the_last_event(retriever: Retriever) -> None:
    asked = retriever.questions(0, NUM_PROFILES)
    for row, profile_id in enumerate(retriever.profile_ids):
        watched = len(retriever.history(profile_id))
        assert asked.time_seconds[row] == (1_700_000_000 + 3600 * (watched - 1) if watched else 0)
        assert [f"i{item}" for item in asked.history.items_of(row)] == list(retriever.history(profile_id))
    early = retriever.questions(3, 9, 1_700_000_000 + 3600)
    np.testing.assert_array_equal(
        early.time_seconds, np.maximum(asked.time_seconds[3:9], 1_700_000_000 + 3600)
    )


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (4, 3), (0, NUM_PROFILES + 1)])
def test_questions_of_profiles_that_there_are_not_are_refused(
    retriever: Retriever, first: int, last: int
) -> None:
    with pytest.raises(QueryError, match=f"profiles {first} to {last}; expected a part of 0 to 23"):
        retriever.questions(first, last)


def test_a_batch_that_fails_leaves_the_older_file(
    retriever: Retriever, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval.batch, "_BLOCK", 5)
    path = tmp_path / "all.parquet"
    recommend_all(retriever, path, 2)
    before = path.read_bytes()
    num_calls = 0

    def fails_late(_: str) -> Rule | None:
        nonlocal num_calls
        num_calls += 1
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        recommend_all(retriever, path, 3, rule_of=fails_late)
    with pytest.raises(QueryError, match="k = -1"):
        recommend_all(retriever, path, -1)
    assert num_calls == 1
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["all.parquet"]


def test_no_places_and_no_profiles_make_empty_lists_and_no_lines(tmp_path: Path) -> None:
    vectors = np.eye(3, dtype=np.float32)
    nobody = Retriever(release(vectors))
    recommend_all(nobody, tmp_path / "none.parquet", 3)
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0
    one = Retriever(release(vectors, profiles={"ann": [0]}))
    recommend_all(one, tmp_path / "one.parquet", 0)
    assert pq.read_table(tmp_path / "one.parquet").to_pylist()[0]["item_id"] == []
