"""Profile-kNN against every pair of profiles compared in a loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from towers.errors import ConfigError, QueryError
from towers.ladder.profiles import ProfileKNNSettings, fit_profile_knn
from towers.recommender import PAD

PLAIN = ProfileKNNSettings(num_neighbours=50, shrinkage=0.0, recency=0.0, popularity=0.0)
# Profiles a, b, c, d.
TRAIN = [[0, 1, 2], [0, 1], [1, 3], [3]]


def test_the_score_sums_the_cosines_of_the_profiles_that_watched_the_item() -> None:
    rankings = fit_profile_knn(watched(TRAIN), 5, PLAIN).rank(asked([[0, 3]]), 3)
    # To a 1/√6, to b 1/2, to c 1/2, to d 1/√2: item 1 by a, b, c; item 2 by a; item 4 by nobody.
    assert rankings.item_row.tolist() == [[1, 2, 4]]
    assert rankings.score[0, :2] == pytest.approx([1 / math.sqrt(6) + 1.0, 1 / math.sqrt(6)])
    assert rankings.score[0, 2] < 0.0


def test_only_the_nearest_profiles_vote_and_ties_go_to_the_lower_row() -> None:
    train = watched([[0, 1], [0, 2], [0, 3], [0]])
    settings = ProfileKNNSettings(num_neighbours=2, shrinkage=0.0, recency=0.0, popularity=0.0)
    rankings = fit_profile_knn(train, 4, settings).rank(asked([[0]]), 3)
    # The last profile is the nearest and votes for nothing new; of the others the first is next.
    assert rankings.item_row.tolist() == [[1, 2, 3]]
    assert (rankings.score[0] > 0.0).tolist() == [True, False, False]


def test_newer_events_of_the_query_say_more() -> None:
    settings = ProfileKNNSettings(shrinkage=0.0, recency=1.0, popularity=0.0)
    knn = fit_profile_knn(watched([[0, 2], [1, 3]]), 4, settings)
    rankings = knn.rank(asked([[0, 1], [1, 0]]), 2)
    assert rankings.item_row.tolist() == [[3, 2], [2, 3]]
    ratio = rankings.score[:, 0] / rankings.score[:, 1]
    assert ratio.tolist() == pytest.approx([math.e, math.e])


def test_an_item_that_many_watched_counts_less_by_the_power_of_their_number() -> None:
    train = watched([[0, 1, 2], [1], [1], [1]])
    settings = ProfileKNNSettings(shrinkage=0.0, recency=0.0, popularity=0.5)
    rankings = fit_profile_knn(train, 3, settings).rank(asked([[0]]), 2)
    assert rankings.item_row.tolist() == [[2, 1]]
    assert rankings.score[0, 0] / rankings.score[0, 1] == pytest.approx(2.0)


@hypothesis_settings(deadline=None)
@given(
    train=st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=1, max_size=8),
    known=st.lists(st.lists(st.integers(0, 8), max_size=5, unique=True), min_size=1, max_size=4),
    shrinkage=st.sampled_from([0.0, 3.0]),
    recency=st.sampled_from([0.0, 0.4]),
)
def test_it_equals_a_loop_over_all_pairs(
    train: list[list[int]], known: list[list[int]], shrinkage: float, recency: float
) -> None:
    settings = ProfileKNNSettings(50, shrinkage, recency, 0.0)
    rankings = fit_profile_knn(watched(train), 9, settings).rank(asked(known), 9)
    count = [sum(profile.count(item) for profile in train) for item in range(9)]
    for query, items in enumerate(known):
        weight = {item: math.exp(-recency * age) for age, item in enumerate(reversed(items))}
        norm = math.sqrt(sum(value**2 for value in weight.values()))
        expected = [0.0] * 9
        for profile in map(set, train):
            common = sum(weight[item] for item in profile & set(items))
            for item in profile if common else ():
                expected[item] += common / (norm * math.sqrt(len(profile)) + shrinkage)
        scored = {item for item in range(9) if expected[item] > 0 and item not in items}
        row = rankings.item_row[query].tolist()
        assert set(row[: len(scored)]) == scored
        np.testing.assert_allclose(
            rankings.score[query, : len(scored)], [expected[item] for item in row[: len(scored)]], rtol=1e-5
        )
        rest = [item for item in range(9) if item not in scored and item not in items]
        rest.sort(key=lambda item: (-count[item], item))
        assert row[len(scored) :] == [*rest, *[PAD] * len(items)]


def test_an_empty_log_gives_catalogue_order() -> None:
    for train in (watched([]), watched([[]])):
        assert fit_profile_knn(train, 3).rank(asked([[2]]), 3).item_row.tolist() == [[0, 1, PAD]]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (ProfileKNNSettings(num_neighbours=0), "profile_knn.num_neighbours"),
        (ProfileKNNSettings(shrinkage=-1.0), "profile_knn.shrinkage"),
        (ProfileKNNSettings(recency=-0.1), "profile_knn.recency"),
        (ProfileKNNSettings(popularity=1.1), "profile_knn.popularity"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_key(settings: ProfileKNNSettings, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        fit_profile_knn(watched(TRAIN), 5, settings)


def test_train_events_outside_the_catalogue_are_refused() -> None:
    with pytest.raises(QueryError, match="run from 0 to 3; expected 0 to 2"):
        fit_profile_knn(watched(TRAIN), 3)
