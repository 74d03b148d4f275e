"""EASE against the inverse of the whole matrix, iALS against its normal equations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from tests.worlds import block_of, block_world
from towers.data.dataset import dataset_from_tables
from towers.data.histories import Histories
from towers.data.split import SplitSettings, split
from towers.errors import ConfigError, QueryError
from towers.ladder.factorisation import EASESettings, IALSSettings, fit_ease, fit_ials
from towers.recommender import PAD, Queries

NUM_ITEMS = 6


def binary_matrix(train: list[list[int]]) -> np.ndarray:
    matrix = np.zeros((len(train), NUM_ITEMS))
    for profile, items in enumerate(train):
        matrix[profile, items] = 1.0
    return matrix


@hypothesis_settings(deadline=None)
@given(
    # Fewer profiles than items and more of them: the two ways to the same inverse.
    train=st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=5), min_size=1, max_size=12),
    known=st.lists(st.integers(0, NUM_ITEMS - 1), min_size=1, max_size=4, unique=True),
    regularisation=st.sampled_from([0.5, 10.0]),
    recency=st.sampled_from([0.0, 0.3]),
)
def test_ease_is_the_closed_form_with_the_whole_matrix_inverted(
    train: list[list[int]], known: list[int], regularisation: float, recency: float
) -> None:
    matrix = binary_matrix(train)
    inverse = np.linalg.inv(matrix.T @ matrix + regularisation * np.eye(NUM_ITEMS))
    weight = -inverse / np.diag(inverse)
    np.fill_diagonal(weight, 0.0)
    ease = fit_ease(watched(train), NUM_ITEMS, EASESettings(regularisation, recency))
    rankings = ease.rank(asked([known]), NUM_ITEMS)
    warm = matrix.sum(axis=0) > 0
    age_weight = np.exp(-recency * np.arange(len(known))[::-1])
    expected = age_weight @ weight[known]
    found = dict(zip(rankings.item_row[0].tolist(), rankings.score[0].tolist(), strict=True))
    if warm[known].any():
        for item in set(np.flatnonzero(warm).tolist()) - set(known):
            assert found[item] == pytest.approx(expected[item], rel=1e-3, abs=1e-5)
    lowest = min([0.0, *(found[item] for item in np.flatnonzero(warm).tolist() if item in found)])
    for item in set(np.flatnonzero(~warm).tolist()) - set(known):
        assert found[item] < lowest or not warm[known].any()


def test_ease_counts_co_watches_in_small_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train = watched([rng.choice(NUM_ITEMS, size=3, replace=False).tolist() for _ in range(40)])
    whole = fit_ease(train, NUM_ITEMS)
    monkeypatch.setattr("towers.ladder.catalogue._MAX_VALUES", 5)
    np.testing.assert_array_equal(fit_ease(train, NUM_ITEMS).weight, whole.weight)


def test_ease_keeps_the_most_watched_items_and_the_others_follow_by_popularity() -> None:
    train = watched([[0, 5], [0, 5], [0, 4, 3], [0, 4], [3], [3], [3], [5], [5]])
    ease = fit_ease(train, NUM_ITEMS, EASESettings(regularisation=1.0, max_items=3))
    assert ease.kept.tolist() == [0, 3, 5]
    rankings = ease.rank(asked([[0], [4]]), NUM_ITEMS)
    # 4 has no weight, 1 and 2 no event: they close the first line; knowing only 4 is knowing nothing.
    assert rankings.item_row.tolist() == [[5, 3, 4, 1, 2, PAD], [0, 3, 5, 1, 2, PAD]]


def test_ease_of_an_empty_log_gives_catalogue_order() -> None:
    assert fit_ease(watched([[]]), 3).rank(asked([[2]]), 3).item_row.tolist() == [[0, 1, PAD]]


def test_a_query_vector_of_ials_solves_the_normal_equations_of_its_history() -> None:
    rng = np.random.default_rng(0)
    train = watched([rng.choice(NUM_ITEMS, size=3, replace=False).tolist() for _ in range(20)])
    settings = IALSSettings(
        num_factors=4, regularisation=0.3, confidence=3.0, iterations=5, recency=0.5, num_threads=1
    )
    ials = fit_ials(train, NUM_ITEMS, settings)
    history = Histories(
        offset=np.array([0, 3]),
        item_row=np.array([4, 1, 2]),
        time_seconds=np.array([0, 1, 2]),
        minutes=np.zeros(3, np.float32),
        weight=np.array([1.0, 0.5, 0.2], np.float32),
    )
    item = ials.exact.item_vectors[:, :4].astype(np.float64)
    confidence = np.ones(NUM_ITEMS)
    confidence[[4, 1, 2]] = 3.0 * np.array([1.0, 0.5, 0.2]) * np.exp([-1.0, -0.5, 0.0])
    preferred = np.isin(np.arange(NUM_ITEMS), [4, 1, 2])
    left = (item.T * confidence) @ item + 0.3 * np.eye(4)
    expected = np.linalg.solve(left, item.T @ (confidence * preferred))
    asked_now = Queries(history, np.array([3]), np.array([""]))
    np.testing.assert_allclose(ials.encoder.encode(asked_now)[0, :4], expected, rtol=1e-5, atol=1e-6)


def test_a_sweep_of_ials_leaves_each_item_at_the_optimum_of_its_equations() -> None:
    rng = np.random.default_rng(1)
    lists = [rng.choice(NUM_ITEMS, size=3, replace=False).tolist() for _ in range(30)]
    settings = IALSSettings(
        num_factors=2, regularisation=0.5, confidence=2.0, iterations=60, recency=0.0, num_threads=1
    )
    ials = fit_ials(watched(lists), NUM_ITEMS, settings)
    item = ials.exact.item_vectors[:, :2]
    # At the optimum a train profile is what its own history is folded in as.
    profile = ials.encoder.encode(asked(lists))[:, :2].astype(np.float64)
    preferred = binary_matrix(lists)
    for row in range(NUM_ITEMS):
        confidence = np.where(preferred[:, row] > 0, 2.0, 1.0)
        left = (profile.T * confidence) @ profile + 0.5 * np.eye(2)
        expected = np.linalg.solve(left, profile.T @ (confidence * preferred[:, row]))
        np.testing.assert_allclose(item[row], expected, rtol=0.02, atol=2e-3)


def test_ials_is_the_same_under_a_seed_and_on_any_number_of_threads() -> None:
    rng = np.random.default_rng(2)
    train = watched([rng.choice(NUM_ITEMS, size=3, replace=False).tolist() for _ in range(20)])
    first, again, other = (
        fit_ials(train, NUM_ITEMS, IALSSettings(num_factors=3, seed=seed, num_threads=threads))
        for seed, threads in ((0, 1), (0, 2), (1, 1))
    )
    np.testing.assert_array_equal(first.exact.item_vectors, again.exact.item_vectors)
    assert not np.array_equal(first.exact.item_vectors, other.exact.item_vectors)


def test_an_item_never_watched_follows_all_others_of_ials() -> None:
    rankings = fit_ials(watched([[0, 1], [0, 2], [1, 2], [2]]), 5).rank(asked([[0], [3], []]), 5)
    assert rankings.item_row[0, 2:].tolist() == [3, 4, PAD]
    # Nothing is known of who watched only what nobody did.
    assert rankings.item_row[1:].tolist() == [[2, 0, 1, 4, PAD], [2, 0, 1, 3, 4]]


def test_ials_of_an_empty_log_gives_catalogue_order() -> None:
    assert fit_ials(watched([[]]), 3).rank(asked([[2]]), 3).item_row.tolist() == [[0, 1, PAD]]


def test_titles_of_the_own_block_rank_above_all_others() -> None:
    dataset = dataset_from_tables(block_world(4, 12, 20, 8, seed=1))
    train, num_items = split(dataset, SplitSettings()).train, len(dataset.catalogue)
    known = asked([dataset.history.items_of(profile)[:7].tolist() for profile in range(80)])
    # Four tastes need four dimensions; with more than there are titles, absences would be learned by heart.
    for rung in (
        fit_ease(train, num_items),
        fit_ials(train, num_items, IALSSettings(num_factors=4, regularisation=1.0)),
    ):
        row = rung.rank(known, 5).item_row
        assert np.all(block_of(row, 4) == block_of(np.arange(80), 4)[:, None])


def test_a_setting_out_of_range_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"ease\.regularisation"):
        fit_ease(watched([[0]]), 1, EASESettings(regularisation=0.0))
    with pytest.raises(ConfigError, match=r"ials\.num_factors"):
        fit_ials(watched([[0]]), 1, IALSSettings(num_factors=0))


def test_train_events_outside_the_catalogue_are_refused() -> None:
    for fit in (fit_ease, fit_ials):
        with pytest.raises(QueryError, match="run from 0 to 3; expected 0 to 2"):
            fit(watched([[0, 3]]), 3)
