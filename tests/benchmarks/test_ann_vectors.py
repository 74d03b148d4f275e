"""The vector sets: what keys them, what they are asked, and that their exact answers are the exact ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ann_vectors
from benchmarks.ann_encoders import (
    DIM,
    Encoder,
    FactorsRecipe,
    RealLog,
    SimulatedLog,
    TowersRecipe,
    _of_the_watched,
    asked,
    learned,
)
from benchmarks.ann_vectors import (
    PLANS,
    Plan,
    SetName,
    VectorSet,
    described,
    exact,
    made,
    path_of,
    read,
    write,
)
from benchmarks.claims import BenchmarkError
from retrieval.release.files import read_vectors
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.sources.simulated import SimulatedSettings, simulate
from towers.exported import VECTORS_FILE
from towers.recommender import Queries


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return dataset_from_tables(
        simulate(SimulatedSettings(num_events=6_000, num_profiles=300, num_items=400)).tables
    )


def small_set(num_items: int = 150, seed: int = 0) -> VectorSet:
    rng = np.random.default_rng(seed)
    items, build, test = (rng.standard_normal((num, 8), dtype=np.float32) for num in (num_items, 20, 5))
    truth, num_tied = exact(items, test)
    return VectorSet(items, build, test, truth, num_tied, np.arange(num_items), 1.5)


def test_the_key_changes_with_all_that_makes_a_set_and_with_nothing_else() -> None:
    plan = Plan(TowersRecipe(SimulatedLog(1000, 2000, 30), ("model.dim=128",), 500))
    changed = [
        replace(plan, num_build=1),
        replace(plan, num_test=1),
        replace(plan, test_share=0.5),
        replace(plan, seed=1),
        replace(plan, recipe=TowersRecipe(SimulatedLog(1001, 2000, 30), ("model.dim=128",), 500)),
        replace(plan, recipe=TowersRecipe(SimulatedLog(1000, 2000, 30), ("model.dim=64",), 500)),
        replace(plan, recipe=TowersRecipe(SimulatedLog(1000, 2000, 30), ("model.dim=128",), None)),
        replace(plan, recipe=TowersRecipe(RealLog.MOVIELENS, ("model.dim=128",), 500)),
        replace(plan, recipe=FactorsRecipe(SimulatedLog(1000, 2000, 30))),
        replace(plan, recipe=FactorsRecipe(SimulatedLog(1000, 2000, 30), 3)),
    ]
    keys = {plan.key, *(other.key for other in changed)}
    assert len(keys) == 1 + len(changed)
    assert Plan(TowersRecipe(SimulatedLog(1000, 2000, 30), ("model.dim=128",), 500)).key == plan.key


def test_the_version_of_the_code_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: path_of(name) for name in SetName}
    monkeypatch.setattr(ann_vectors, "_VERSION", 10**6)
    assert not set(before.values()) & {path_of(name) for name in SetName}
    assert len(set(before.values())) == len(PLANS) == len(SetName)


def test_sets_are_kept_in_the_folder_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANN_VECTORS", str(tmp_path))
    assert path_of(SetName.GAMES).parent == tmp_path
    monkeypatch.delenv("ANN_VECTORS")
    assert path_of(SetName.GAMES).parent.name == "ann-vectors"


def test_a_set_is_read_as_it_was_written_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANN_VECTORS", str(tmp_path))
    rng = np.random.default_rng(1)
    calls = []

    def planted(recipe: object, folder: Path) -> Encoder:
        calls.append(recipe)
        folder.mkdir(parents=True)
        dataset = dataset_from_tables(
            simulate(SimulatedSettings(num_events=3_000, num_profiles=150, num_items=200)).tables
        )
        items = rng.standard_normal((200, 8), dtype=np.float32)

        def encode(queries: Queries) -> np.ndarray:
            # A query's vector says how much it had watched and when it asks.
            said = np.stack([queries.history.lengths, queries.time_seconds % 1000], axis=1)
            return np.tile(said, (1, 4)).astype(np.float32)

        return Encoder(items, np.bincount(dataset.history.item_row, minlength=200), dataset, encode)

    monkeypatch.setattr(ann_vectors, "learned", planted)
    first = made(SetName.GAMES)
    assert made(SetName.GAMES) == first
    assert calls == [PLANS[SetName.GAMES].recipe]
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    found = read(first)
    scores = found.test_queries.astype(np.float64) @ found.items.T.astype(np.float64)
    best = np.take_along_axis(scores, found.truth, axis=1)
    np.testing.assert_allclose(best, -np.sort(-scores, axis=1)[:, :100], rtol=1e-5)
    assert described(found)["items"] == 200


def test_writing_keeps_every_array(tmp_path: Path) -> None:
    found = small_set()
    write(found, tmp_path / "set.npz")
    again = read(tmp_path / "set.npz")
    for name in ("items", "build_queries", "test_queries", "truth", "num_events"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert (again.num_tied, again.seconds) == (found.num_tied, found.seconds)


def test_exact_answers_are_those_of_a_full_sort_and_ties_go_to_the_lower_row() -> None:
    items = np.zeros((120, 2), np.float32)
    items[:, 0] = np.repeat(np.arange(60, 0, -1), 2)  # scores 60, 60, 59, 59, …
    truth, num_tied = exact(items, np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32), k=99)
    assert truth[0].tolist() == list(range(99))
    # From below: 118, 119, 116, 117, … whose 99th is the lower row of the pair that the cut goes through.
    assert truth[1].tolist() == [row for pair in range(118, 20, -2) for row in (pair, pair + 1)] + [20]
    assert num_tied == 2


def test_fewer_items_than_answers_are_refused() -> None:
    with pytest.raises(BenchmarkError, match="100 items; expected more than 100"):
        exact(np.zeros((100, 2), np.float32), np.zeros((1, 2), np.float32))


def test_a_set_is_described_by_its_means_and_lengths() -> None:
    found = replace(
        small_set(),
        items=np.tile(np.array([[3.0, 4.0]], np.float32), (150, 1)),
        build_queries=np.array([[-3.0, -4.0], [-6.0, -8.0]], np.float32),
        num_events=np.array([0, 0, *[1] * 148]),
    )
    said = described(found)
    assert said["cosine of the mean item and the mean query"] == -1.0
    assert said["item norms, percentiles 1, 50, 99"] == [5.0, 5.0, 5.0]
    assert said["query norms, percentiles 1, 50, 99"][1] == 7.5
    assert said["items without an event"] == 2
    assert said["dimensions that the queries take up"] == 1.0


def test_queries_take_up_as_many_dimensions_as_they_are_long_in() -> None:
    for lengths, num_taken in (
        ((2.0,) * 8, 8.0),
        ((*(3.0,) * 2, *(0.0,) * 6), 2.0),
        ((1.0, *(0.5,) * 4, *(0.0,) * 3), 3.2),
    ):
        said = described(replace(small_set(), build_queries=np.diag(np.array(lengths, np.float32))))
        assert said["dimensions that the queries take up"] == pytest.approx(num_taken, abs=0.1)


def test_whole_histories_are_asked_of_profiles_that_are_not_the_same(dataset: Dataset) -> None:
    found = asked(dataset, 200, 20, test_share=0.1, seed=0)
    assert (len(found.build), len(found.test)) == (200, 20)
    profiles = [set(_profiles_of(dataset, part)) for part in (found.build, found.test)]
    assert (len(profiles[0]), len(profiles[1])) == (200, 20)
    assert not profiles[0] & profiles[1]
    last = found.build.history.time_seconds[found.build.history.offset[1:] - 1]
    np.testing.assert_array_equal(found.build.time_seconds, last)
    whole = dataset.history.lengths[_profiles_of(dataset, found.test)]
    np.testing.assert_array_equal(found.test.history.lengths, whole)


def test_of_few_profiles_beginnings_of_their_histories_are_asked_each_once(dataset: Dataset) -> None:
    found = asked(dataset, 1_000, 100, test_share=0.1, seed=0)
    assert (len(found.build), len(found.test)) == (1_000, 100)
    build, test = (_profiles_of(dataset, part) for part in (found.build, found.test))
    assert not set(build) & set(test)
    asked_of = set(zip(build, found.build.history.lengths.tolist(), strict=True))
    assert len(asked_of) == 1_000
    assert found.build.history.lengths.min() >= 1
    for row in (0, 500, 999):
        length = int(found.build.history.lengths[row])
        expected = dataset.history.items_of(build[row])[:length]
        np.testing.assert_array_equal(found.build.history.items_of(row), expected)


def test_a_part_of_the_catalogue_is_its_most_watched_titles_and_their_events() -> None:
    tables = simulate(SimulatedSettings(num_events=6_000, num_profiles=300, num_items=400)).tables
    part = _of_the_watched(tables, 50)
    assert part.items.num_rows == 50
    kept = set(part.items["item_id"].to_pylist())
    counts: dict[str, int] = {}
    for item in tables.events["item_id"].to_pylist():
        counts[item] = counts.get(item, 0) + 1
    left_out = max(count for item, count in counts.items() if item not in kept)
    assert min(counts[item] for item in kept) >= left_out
    assert part.events.num_rows == sum(counts[item] for item in kept)
    assert set(part.events["item_id"].to_pylist()) == kept
    assert part.items["item_id"].to_pylist() == [
        item for item in tables.items["item_id"].to_pylist() if item in kept
    ]


def test_factors_are_of_watched_titles_alone_and_rank_what_a_profile_watched_first(tmp_path: Path) -> None:
    encoder = learned(FactorsRecipe(SimulatedLog(400, 6_000, 300), iterations=3), tmp_path)
    watched = np.bincount(encoder.dataset.history.item_row, minlength=400)
    assert encoder.items.shape == (np.count_nonzero(watched), DIM)
    np.testing.assert_array_equal(encoder.num_events, watched[watched > 0])
    row_of = np.cumsum(watched > 0) - 1
    questions = asked(encoder.dataset, 20, 20, test_share=0.1, seed=0).test
    scores = encoder.encode(questions) @ encoder.items.T
    place = np.argsort(np.argsort(scores, axis=1), axis=1) / scores.shape[1]
    own = [place[line, row_of[questions.history.items_of(line)]].mean() for line in range(len(place))]
    assert np.mean(own) > 0.8  # of wrong rows .5, whose standard error is below .03


@pytest.mark.slow
@pytest.mark.usefixtures("forked_scripts")
def test_towers_learn_from_the_watched_titles_and_place_all(tmp_path: Path) -> None:
    small = ("model.dim=16", "model.num_layers=1", "model.max_history=10", "query_tower=none")
    training = (*small, "trainer.max_epochs=1", "loader.batch_positions=1024")
    recipe = TowersRecipe(SimulatedLog(400, 12_000, 300), training, 150)
    encoder = learned(recipe, tmp_path)
    assert encoder.items.shape == (400, 16)
    np.testing.assert_allclose(np.linalg.norm(encoder.items, axis=1), 1.0, rtol=1e-4)
    assert len(np.unique(encoder.items.round(4), axis=0)) > 390  # the cold ones too have places of their own
    trained, _ = read_vectors(tmp_path / "model" / VECTORS_FILE)
    assert trained.shape == (150, 16)
    questions = asked(encoder.dataset, 20, 20, test_share=0.1, seed=0)
    vectors = encoder.encode(questions.test)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-4)

    # Trained once: what stands is read.
    again = learned(recipe, tmp_path)
    np.testing.assert_array_equal(again.items, encoder.items)


def _profiles_of(dataset: Dataset, queries: Queries) -> list[int]:
    assert queries.profiles is not None
    ids = dataset.profiles.ids
    row = {profile: place for place, profile in enumerate(ids)}
    return [row[profile] for profile in queries.profiles["profile_id"].to_pylist()]
