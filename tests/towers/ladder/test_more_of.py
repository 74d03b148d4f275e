"""More of what was watched, against cosines by brute force and a planted taste for one actor."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from towers.data.schema import ITEMS, table
from towers.errors import ConfigError
from towers.ladder.heuristics import fit_popular
from towers.ladder.more_of import MoreOfSettings, fit_more_of

NAMES = "abcde"


def titles(columns: dict[str, list[list[str]]]) -> pa.Table:
    ids = [f"i{row}" for row in range(len(next(iter(columns.values()))))]
    return table(ITEMS, {"item_id": ids, "title": ids, **columns})


def test_a_shared_actor_says_more_than_a_shared_genre() -> None:
    genres = [["Drama"], ["Drama"], ["Comedy"], ["Drama"], ["Comedy"], ["Comedy"]]
    cast = [["Ann"], ["Bob"], ["Ann"], ["Cy"], ["Dee"], ["Eve"]]
    rung = fit_more_of(watched([[]]), titles({"genres": genres, "cast": cast}))
    assert rung.rank(asked([[0]]), 5).item_row.tolist() == [[2, 1, 3, 4, 5]]


def test_only_the_first_of_the_cast_and_the_last_titles_count() -> None:
    cast = [["Ann", "Bob"], ["Bob"], ["Cy"], ["Cy"], ["Ann"]]
    rung = fit_more_of(watched([[1]]), titles({"cast": cast}), MoreOfSettings(num_titles=1, num_cast=1))
    assert rung.rank(asked([[2, 0], [0, 2]]), 3).item_row.tolist() == [[4, 1, 3], [3, 1, 4]]


def test_popularity_decides_among_the_alike_and_an_empty_history_gives_it() -> None:
    items = titles({"directors": [["Ann"], ["Ann"], ["Ann"], ["Bob"]]})
    train = watched([[3], [3], [3, 2]])
    queries = asked([[0], []])
    rankings = fit_more_of(train, items).rank(queries, 4)
    assert rankings.item_row[0].tolist() == [2, 1, 3, -1]
    np.testing.assert_array_equal(rankings.item_row[1], fit_popular(train, 4).rank(queries, 4).item_row[1])
    # Item 1 stands second of its director with a lift of 1 / 4, item 2 with 2 / 4; cosines are 1.
    np.testing.assert_allclose(rankings.score[0, :2], [2 / 4, 1 / 4], rtol=1e-6)


@settings(deadline=None)
@given(
    columns=st.lists(
        st.tuples(*[st.lists(st.sampled_from(NAMES), max_size=3, unique=True) for _ in range(4)]),
        min_size=2,
        max_size=6,
    ),
    known=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    popularity=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_every_score_is_a_sum_of_idf_weighted_cosines(
    columns: list[tuple[list[str], ...]], known: list[int], popularity: float
) -> None:
    names = ("genres", "sub_genres", "cast", "directors")
    items = titles({name: [row[place] for row in columns] for place, name in enumerate(names)})
    num_items = len(columns)
    known = [item % num_items for item in known]
    train = watched([[0], [0, 1]])
    chosen = MoreOfSettings(num_titles=3, num_cast=2, recency=0.4, popularity=popularity)
    rankings = fit_more_of(train, items, chosen).rank(asked([known]), num_items)
    bags = [
        {
            (name, text)
            for name, texts in zip(names, row, strict=True)
            for text in texts[: 2 if name == "cast" else 9]
        }
        for row in columns
    ]

    def idf(token: tuple[str, str]) -> float:
        return math.log(1 + num_items / sum(token in bag for bag in bags))

    def cosine(one: int, other: int) -> float:
        norm = math.prod(math.sqrt(sum(idf(token) ** 2 for token in bags[item])) for item in (one, other))
        return sum(idf(token) ** 2 for token in bags[one] & bags[other]) / norm if norm else 0.0

    for item, score in zip(rankings.item_row[0].tolist(), rankings.score[0].tolist(), strict=True):
        if item < 0:
            continue
        like = sum(math.exp(-0.4 * age) * cosine(item, j) for age, j in enumerate(reversed(known[-3:])))
        lift = ({0: 3, 1: 2}.get(item, 1) / 3) ** popularity
        assert (score == pytest.approx(like * lift, rel=1e-4)) if like > 0 else (score < 0)


def test_no_titles_to_look_back_on_are_refused_with_the_key() -> None:
    with pytest.raises(ConfigError, match=r"more_of\.num_titles: 0"):
        fit_more_of(watched([[]]), titles({"cast": [["Ann"]]}), MoreOfSettings(num_titles=0))
