"""Item-kNN against cosines worked out by hand and by dense matrices."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from tests.worlds import block_of, block_world
from towers.data.dataset import dataset_from_tables
from towers.data.split import SplitSettings, split
from towers.errors import ConfigError, QueryError
from towers.evaluation.evaluate import evaluate
from towers.ladder.heuristics import fit_popular
from towers.ladder.neighbours import ItemKNNSettings, fit_item_knn
from towers.recommender import PAD

PLAIN = ItemKNNSettings(num_neighbours=100, shrinkage=0.0, recency=0.0)
# Watched by: 0 {a b}, 1 {a b c}, 2 {a}, 3 {c d}, 4 nobody.
TRAIN = [[0, 1, 2], [0, 1], [1, 3], [3]]


def similarity_of(knn: object, item: int, other: int) -> float:
    neighbour, similarity = knn.neighbour, knn.similarity  # type: ignore[attr-defined]
    found = np.flatnonzero(neighbour[item] == other)
    return float(similarity[item, found[0]]) if len(found) else 0.0


def test_similarity_is_the_cosine_of_who_watched_what() -> None:
    knn = fit_item_knn(watched(TRAIN), 5, PLAIN)
    assert similarity_of(knn, 0, 1) == pytest.approx(2 / math.sqrt(2 * 3))
    assert similarity_of(knn, 0, 2) == pytest.approx(1 / math.sqrt(2 * 1))
    assert similarity_of(knn, 1, 3) == pytest.approx(1 / math.sqrt(3 * 2))
    assert similarity_of(knn, 0, 3) == 0.0
    assert knn.neighbour[4].tolist() == [PAD] * 4
    assert knn.neighbour[1].tolist() == [0, 2, 3, PAD]


def test_shrinkage_stands_beside_the_norms() -> None:
    knn = fit_item_knn(watched(TRAIN), 5, ItemKNNSettings(shrinkage=10.0))
    assert similarity_of(knn, 0, 1) == pytest.approx(2 / (math.sqrt(2 * 3) + 10))


def test_the_score_sums_similarities_to_the_history() -> None:
    rankings = fit_item_knn(watched(TRAIN), 5, PLAIN).rank(asked([[0, 3]]), 3)
    # Item 1: 2/√6 + 1/√6; item 2: 1/√2; item 4 has no similarity and follows behind.
    assert rankings.item_row.tolist() == [[1, 2, 4]]
    assert rankings.score[0, :2] == pytest.approx([3 / math.sqrt(6), 1 / math.sqrt(2)])
    assert rankings.score[0, 2] < 0.0


def test_recency_weighs_by_place_from_the_newest() -> None:
    knn = fit_item_knn(watched(TRAIN), 5, ItemKNNSettings(shrinkage=0.0, recency=0.7))
    rankings = knn.rank(asked([[0, 4, 3], [3, 4, 0]]), 1)
    assert rankings.item_row.tolist() == [[1], [1]]
    assert rankings.score[0, 0] == pytest.approx(2 / math.sqrt(6) * math.exp(-1.4) + 1 / math.sqrt(6))
    assert rankings.score[1, 0] == pytest.approx(2 / math.sqrt(6) + 1 / math.sqrt(6) * math.exp(-1.4))


def test_items_without_a_similarity_follow_by_popularity() -> None:
    train = watched([[0, 1], [2, 3], [3], [3], [2], [4]])
    rankings = fit_item_knn(train, 6, PLAIN).rank(asked([[0], []]), 6)
    # Beside item 1, nothing is similar to item 0: then 3 (three watches), 2 (two), 4 (one), 5 (none).
    assert rankings.item_row.tolist() == [[1, 3, 2, 4, 5, PAD], [3, 2, 0, 1, 4, 5]]


def test_an_event_too_old_to_matter_still_orders_what_nothing_newer_reaches() -> None:
    # Items 0 and 1 are similar, and 2 and 3 are more popular; 400 events lie between item 0 and now.
    num_items = 404
    train = watched([[0, 1], [2, 3], [2, 3], [2, 3]])
    knn = fit_item_knn(train, num_items, ItemKNNSettings(recency=2.0))
    assert knn.rank(asked([[0, *range(4, num_items)]]), 3).item_row.tolist() == [[1, 2, 3]]


def test_only_the_nearest_neighbours_vote_and_ties_go_to_the_lower_row() -> None:
    # Item 0 was watched with 1 three times, with 2 and 3 once each by profiles alike.
    train = watched([[0, 1], [0, 1], [0, 1], [0, 2], [0, 3]])
    knn = fit_item_knn(train, 4, ItemKNNSettings(num_neighbours=2, shrinkage=0.0))
    assert knn.neighbour[0].tolist() == [1, 2]


def test_a_profile_that_watched_an_item_twice_counts_once() -> None:
    once, twice = (
        fit_item_knn(watched([[0, 1], [1]]), 2, PLAIN),
        fit_item_knn(watched([[0, 1, 0], [1]]), 2, PLAIN),
    )
    np.testing.assert_array_equal(once.similarity, twice.similarity)


@hypothesis_settings(deadline=None)
@given(
    train=st.lists(st.lists(st.integers(0, 8), max_size=6, unique=True), min_size=1, max_size=8),
    known=st.lists(st.lists(st.integers(0, 8), max_size=5, unique=True), min_size=1, max_size=4),
    shrinkage=st.sampled_from([0.0, 3.0]),
    recency=st.sampled_from([0.0, 0.4]),
)
def test_it_equals_the_dense_matrix_product(
    train: list[list[int]], known: list[list[int]], shrinkage: float, recency: float
) -> None:
    matrix = np.zeros((len(train), 9))
    for profile, items in enumerate(train):
        matrix[profile, items] = 1.0
    together = matrix.T @ matrix
    norm = np.sqrt(np.diag(together))
    with np.errstate(invalid="ignore"):
        cosine = np.nan_to_num(together / (np.outer(norm, norm) + shrinkage))
    np.fill_diagonal(cosine, 0.0)
    settings = ItemKNNSettings(num_neighbours=8, shrinkage=shrinkage, recency=recency)
    rankings = fit_item_knn(watched(train), 9, settings).rank(asked(known), 9)
    for query, items in enumerate(known):
        weight = np.exp(-recency * np.arange(len(items))[::-1])
        expected = weight @ cosine[items] if items else np.zeros(9)
        scored = {item for item in range(9) if expected[item] > 0 and item not in items}
        row = rankings.item_row[query].tolist()
        assert set(row[: len(scored)]) == scored
        np.testing.assert_allclose(
            rankings.score[query, : len(scored)], expected[row[: len(scored)]], rtol=1e-5
        )
        rest = [item for item in range(9) if item not in scored and item not in items]
        rest.sort(key=lambda item: (-norm[item], item))
        assert row[len(scored) : len(scored) + len(rest)] == rest


def test_counting_and_scoring_in_small_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = watched([rng.choice(40, size=8, replace=False).tolist() for _ in range(60)])
    known = asked([rng.choice(40, size=size, replace=False).tolist() for size in range(12)])
    whole = fit_item_knn(train, 40).rank(known, 15)
    monkeypatch.setattr("towers.ladder.neighbours._MAX_PAIRS", 5)
    monkeypatch.setattr("towers.ladder.catalogue._MAX_VALUES", 100)
    parts = fit_item_knn(train, 40).rank(known, 15)
    np.testing.assert_array_equal(parts.item_row, whole.item_row)
    np.testing.assert_array_equal(parts.score, whole.score)


def test_a_held_out_title_of_the_same_taste_ranks_above_all_others() -> None:
    dataset = dataset_from_tables(block_world(4, 12, 20, 8, seed=1))
    parts = split(dataset, SplitSettings())
    knn = fit_item_knn(parts.train, len(dataset.catalogue))
    # Each profile has watched 7 of the 12 titles of its block; all 5 others must come first.
    rankings = knn.rank(asked([dataset.history.items_of(profile)[:7].tolist() for profile in range(80)]), 5)
    assert np.all(block_of(rankings.item_row, 4) == block_of(np.arange(80), 4)[:, None])
    beside = fit_popular(parts.train, len(dataset.catalogue))
    found, chance = (
        evaluate(rung, parts.test, num_items=len(dataset.catalogue), ks=(5,)).means["recall@5"]
        for rung in (knn, beside)
    )
    assert found == 1.0
    assert chance is not None
    assert chance < 0.6


def test_an_empty_log_gives_catalogue_order() -> None:
    assert fit_item_knn(watched([[]]), 3).rank(asked([[2]]), 3).item_row.tolist() == [[0, 1, PAD]]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (ItemKNNSettings(num_neighbours=0), "item_knn.num_neighbours"),
        (ItemKNNSettings(shrinkage=-1.0), "item_knn.shrinkage"),
        (ItemKNNSettings(recency=-0.1), "item_knn.recency"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_key(settings: ItemKNNSettings, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        fit_item_knn(watched(TRAIN), 5, settings)


def test_train_events_outside_the_catalogue_are_refused() -> None:
    with pytest.raises(QueryError, match="run from 0 to 3; expected 0 to 2"):
        fit_item_knn(watched(TRAIN), 3)
