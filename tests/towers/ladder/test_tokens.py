"""Tokens of titles, against sets and sums by hand."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import watched
from towers.data.schema import ITEMS, table
from towers.ladder.tokens import read_tokens


def titles(genres: list[list[str] | None], cast: list[list[str] | None] | None = None) -> pa.Table:
    ids = [f"i{row}" for row in range(len(genres))]
    return table(ITEMS, {"item_id": ids, "title": ids, "genres": genres, "cast": cast or [None] * len(ids)})


def test_a_text_is_a_token_per_column_and_counts_once_in_a_title() -> None:
    items = titles([["Ann", "Drama", "Ann"], None, ["Drama"]], [["Ann", "Bob"], ["Bob"], ["Cy", "Ann"]])
    tokens = read_tokens(items, [("genres", 0), ("cast", 1)], rest=False)
    assert tokens.num_of_item.tolist() == [3, 1, 2]
    # Genres Ann and Drama; of each cast the first alone: Ann, Bob, Cy.
    assert tokens.num_of_token.tolist() == [1, 2, 1, 1, 1]


def test_titles_without_any_share_one_of_their_own_where_asked() -> None:
    tokens = read_tokens(titles([["Drama"], None, []]), [("genres", 0)], rest=True)
    assert tokens.item_row.tolist() == [0, 1, 2]
    assert tokens.token.tolist() == [0, 1, 1]


def test_a_catalogue_that_says_nothing_has_no_tokens() -> None:
    tokens = read_tokens(titles([None, None]), [("genres", 0)], rest=False)
    assert tokens.num_tokens == 0
    taste = tokens.gather(np.zeros(0), watched([[0, 1]]), np.ones(2))
    assert tokens.spread(np.zeros(0), taste).tolist() == [[0.0, 0.0]]


@settings(deadline=None)
@given(
    genres=st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=5),
    known=st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_gather_and_spread_are_products_with_the_table_of_values(
    genres: list[set[str]], known: list[list[int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tokens = read_tokens(titles([sorted(each) for each in genres]), [("genres", 0)], rest=False)
    history = watched([[item % len(genres) for item in items] for items in known])
    value, weight = rng.random(len(tokens.token)), rng.random(history.num_events)
    dense = np.zeros((len(genres), tokens.num_tokens))
    dense[tokens.item_row, tokens.token] = value
    views = np.zeros((len(known), len(genres)))
    np.add.at(views, (history.profile_rows(), history.item_row), weight)
    taste = tokens.gather(value, history, weight)
    np.testing.assert_allclose(taste, views @ dense, atol=1e-12)
    scores = tokens.spread(value[tokens.by_token], taste)
    np.testing.assert_allclose(scores, taste @ dense.T, rtol=1e-5, atol=1e-6)
