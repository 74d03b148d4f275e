"""Genre affinity against its formula by hand and by brute force."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from tests.towers.ladder.test_tokens import titles
from towers.errors import ConfigError
from towers.ladder.affinity import AffinitySettings, fit_genre_affinity
from towers.ladder.heuristics import fit_popular

GENRES: list[list[str] | None] = [
    ["Drama"],
    ["Comedy"],
    ["Drama", "Comedy"],
    ["Horror"],
    ["Drama"],
    None,
    ["Horror"],
]
NUM_ITEMS = len(GENRES)
# Watches: item 0 four, 1 three, 2 two, 3 one, 5 one; 4 and 6 none.
TRAIN = watched([[0, 1, 2], [0, 1, 2], [0, 1, 3], [0, 5]])


def test_the_genre_of_the_history_comes_first_most_popular_first() -> None:
    rung = fit_genre_affinity(TRAIN, titles(GENRES), AffinitySettings(prior_events=0.1))
    rankings = rung.rank(asked([[4], [6], [2]]), 3)
    # After Drama 0 leads, after Horror 3. After both Drama and Comedy 0 has half of 4/5, 1 half of 3/4.
    assert rankings.item_row.tolist() == [[0, 2, 1], [3, 0, 1], [0, 1, 3]]


def test_the_score_is_the_mixture_of_popularity_within_genres() -> None:
    rung = fit_genre_affinity(TRAIN, titles(GENRES), AffinitySettings(recency=np.log(2.0), prior_events=0.0))
    rankings = rung.rank(asked([[4, 1]]), NUM_ITEMS)
    # Drama weighs 1/2 and Comedy 1. Drama holds 4 + 1 watches, Comedy 3 + 1.
    expected = [(1 / 3) * 4 / 5, (1 / 3) * 1 / 5 + (2 / 3) * 1 / 4]
    assert rankings.item_row.tolist() == [[0, 2, 3, 5, 6, -1, -1]]
    np.testing.assert_allclose(rankings.score[0, :2], expected, rtol=1e-6)
    assert np.all(rankings.score[0, 2:] < 0.0)


def test_what_was_liked_more_weighs_more() -> None:
    rung = fit_genre_affinity(TRAIN, titles(GENRES), AffinitySettings(recency=0.0, prior_events=0.0))
    queries = asked([[4, 6]])
    for weight, best in (([9.0, 1.0], 0), ([1.0, 9.0], 3)):
        history = replace(queries.history, weight=np.array(weight, dtype=np.float32))
        assert rung.rank(replace(queries, history=history), 1).item_row.tolist() == [[best]]


def test_an_empty_history_and_an_average_taste_are_answered_by_popularity() -> None:
    queries = asked([[], [4]])
    rung = fit_genre_affinity(TRAIN, titles(GENRES), AffinitySettings(prior_events=1e9))
    rankings = rung.rank(queries, NUM_ITEMS)
    expected = fit_popular(TRAIN, NUM_ITEMS).rank(queries, NUM_ITEMS).item_row
    np.testing.assert_array_equal(rankings.item_row[0], expected[0])
    # Watched equally often, 3 and 5 may change places by rounding alone.
    assert rankings.item_row[1, :3].tolist() == expected[1, :3].tolist()
    np.testing.assert_allclose(rankings.score[1, :5], np.array([4, 3, 2, 1, 1]) / 11, rtol=1e-5)


@settings(deadline=None)
@given(
    train=st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=6), min_size=1, max_size=4),
    known=st.lists(st.integers(0, NUM_ITEMS - 1), min_size=1, max_size=5),
    prior=st.sampled_from([0.0, 0.5, 4.0]),
)
@example(train=[[2]], known=[0], prior=0.0)
def test_every_score_is_that_of_the_formula(train: list[list[int]], known: list[int], prior: float) -> None:
    rung = fit_genre_affinity(watched(train), titles(GENRES), AffinitySettings(0.3, prior))
    rankings = rung.rank(asked([known]), NUM_ITEMS)
    genres_of = [each or ["none"] for each in GENRES]
    count = [sum(profile.count(item) for profile in train) for item in range(NUM_ITEMS)]
    total = sum(count)

    def within(genre: str) -> float:
        return sum(count[i] / len(genres_of[i]) for i in range(NUM_ITEMS) if genre in genres_of[i])

    names = sorted({genre for each in genres_of for genre in each})
    taste = {genre: prior * within(genre) / max(1, total) for genre in names}
    for age, item in enumerate(reversed(known)):
        for genre in genres_of[item]:
            taste[genre] += np.exp(-0.3 * age) / len(genres_of[item])
    whole = sum(taste.values())
    for item, score in zip(rankings.item_row[0].tolist(), rankings.score[0].tolist(), strict=True):
        if item < 0:
            continue
        expected = sum(
            taste[genre] / whole * count[item] / len(genres_of[item]) / within(genre)
            for genre in genres_of[item]
            if count[item]
        )
        assert (score == pytest.approx(expected, rel=1e-4)) if expected > 0 else (score < 0)


def test_a_prior_below_nothing_is_refused_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"affinity\.prior_events: -1\.0"):
        fit_genre_affinity(TRAIN, titles(GENRES), AffinitySettings(prior_events=-1.0))
