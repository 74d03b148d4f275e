"""Markov counts against a triple loop."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from towers.errors import ConfigError, QueryError
from towers.ladder.markov import Markov, MarkovSettings, fit_markov
from towers.recommender import PAD

NUM_ITEMS = 7


def strength_of(markov: Markov) -> np.ndarray:
    """The transitions as a dense N × N matrix."""
    dense = np.zeros((len(markov.order), len(markov.order)))
    source = np.repeat(np.arange(len(markov.order)), np.diff(markov.offset))
    dense[source, markov.successor] = markov.strength
    return dense


def counted(train: list[list[int]], window: int, popularity: float) -> np.ndarray:
    """The same, by definition."""
    dense = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for profile in train:
        for place, source in enumerate(profile):
            for gap in range(1, window + 1):
                if place + gap < len(profile) and profile[place + gap] != source:
                    dense[source, profile[place + gap]] += 1.0 / gap
    count = np.array([max(1, sum(profile.count(item) for profile in train)) for item in range(NUM_ITEMS)])
    scaled: np.ndarray = dense / count**popularity
    return scaled


@hypothesis_settings(deadline=None)
@given(
    train=st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=9), min_size=1, max_size=6),
    known=st.lists(st.integers(0, NUM_ITEMS - 1), max_size=5, unique=True),
    window=st.integers(1, 10),
    popularity=st.sampled_from([0.0, 0.2, 1.0]),
    max_pairs=st.sampled_from([1, 7, 1000]),
)
def test_it_equals_a_triple_loop(
    train: list[list[int]], known: list[int], window: int, popularity: float, max_pairs: int
) -> None:
    settings = MarkovSettings(window=window, popularity=popularity, decay=0.7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("towers.ladder.markov._MAX_PAIRS", max_pairs)
        markov = fit_markov(watched(train), NUM_ITEMS, settings)
    expected = counted(train, window, popularity)
    np.testing.assert_allclose(strength_of(markov), expected, rtol=1e-6)
    rankings = markov.rank(asked([known]), NUM_ITEMS)
    score = sum(
        (0.7**age * expected[item] for age, item in enumerate(reversed(known))), start=np.zeros(NUM_ITEMS)
    )
    found = dict(zip(rankings.item_row[0].tolist(), rankings.score[0].tolist(), strict=True))
    for item in set(range(NUM_ITEMS)) - set(known):
        if score[item] > 0:
            assert found[item] == pytest.approx(score[item], rel=1e-5)
        else:
            assert found[item] < 0.0


def test_what_followed_soon_and_lately_comes_first_and_then_the_popular() -> None:
    train = watched([[0, 1, 2], [0, 1, 2], [3, 4], [5], [5], [5], [6], [6]])
    rankings = fit_markov(train, NUM_ITEMS, MarkovSettings(popularity=0.0)).rank(
        asked([[0], [3, 0], [0, 3], []]), 4
    )
    # After 0 stood twice 1 (at once) and twice 2 (one later); after 3 once 4. Then 5 three times, 6 twice.
    assert rankings.item_row.tolist() == [[1, 2, 5, 6], [1, 2, 4, 5], [1, 4, 2, 5], [5, 0, 1, 2]]
    assert rankings.score[0, :2].tolist() == [2.0, 1.0]
    assert rankings.score[1, 2] == pytest.approx(0.8)


def test_only_the_newest_events_of_the_query_speak() -> None:
    train = watched([[0, 1], [2, 3], [4]])
    markov = fit_markov(train, 5, MarkovSettings(num_recent=1))
    assert (markov.rank(asked([[0, 2]]), 3).score[0] > 0).tolist() == [True, False, False]


def test_only_the_strongest_successors_are_kept_ties_by_row() -> None:
    train = watched([[0, 3], [0, 3], [0, 1], [0, 2]])
    markov = fit_markov(train, 4, MarkovSettings(num_successors=2, popularity=0.0))
    assert markov.successor.tolist() == [1, 3]
    assert markov.strength.tolist() == [1.0, 2.0]


def test_an_empty_log_gives_catalogue_order() -> None:
    for train in (watched([]), watched([[], []]), watched([[1]])):
        row = fit_markov(train, 3).rank(asked([[1]]), 3).item_row
        assert row.tolist() == [[0, 2, PAD]]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (MarkovSettings(window=0), "markov.window"),
        (MarkovSettings(decay=0.0), "markov.decay"),
        (MarkovSettings(num_recent=0), "markov.num_recent"),
        (MarkovSettings(popularity=-0.1), "markov.popularity"),
        (MarkovSettings(num_successors=0), "markov.num_successors"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_key(settings: MarkovSettings, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        fit_markov(watched([[0, 1]]), 2, settings)


def test_train_events_outside_the_catalogue_are_refused() -> None:
    with pytest.raises(QueryError, match="run from 0 to 3; expected 0 to 2"):
        fit_markov(watched([[0, 3]]), 3)


def test_rows_of_32_bits_as_a_log_on_disk_has_them_do_not_overflow_in_a_large_catalogue() -> None:
    num_items = 50_000  # whose square is beyond 32 bits
    train = watched([[num_items - 2, num_items - 1]])
    markov = fit_markov(replace(train, item_row=train.item_row.astype(np.int32)), num_items)
    assert markov.successor.tolist() == [num_items - 1]
    assert markov.offset[num_items - 2 :].tolist() == [0, 1, 1]
