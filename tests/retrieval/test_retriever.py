"""The Retriever's answers, held against brute force."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.completion import complete_topk
from retrieval.index.exact import ExactIndex
from retrieval.index.spec import IndexKind
from retrieval.retriever import Ranking, Retriever
from tests.retrieval.worlds import items_table, queries, release
from towers.errors import QueryError, UnknownIdError
from towers.recommender import PAD, Degraded, Recommender


def _integers(seed: int, num_items: int, dimension: int) -> np.ndarray:
    """Scores of these, and of means of up to a few of them, are exact enough to compare; ties are common."""
    return np.random.default_rng(seed).integers(-3, 4, (num_items, dimension)).astype(np.float32)


def _unit(seed: int, num_items: int, dimension: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((num_items, dimension))
    unit: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[int, int, list[list[int]], int]:
    """A seed, a number of items, histories over them (repeats and all), and k."""
    num_items = draw(st.integers(1, 80))
    history = st.lists(st.integers(0, num_items - 1), max_size=100)
    return (
        draw(st.integers(0, 2**32 - 1)),
        num_items,
        draw(st.lists(history, max_size=6)),
        draw(st.integers(0, 100)),
    )


@given(world=_worlds())
@settings(max_examples=80, deadline=None)
def test_a_flat_index_gives_exactly_the_best_unwatched_items(
    world: tuple[int, int, list[list[int]], int],
) -> None:
    seed, num_items, watched, k = world
    # One power of two watched items has an exact mean, so that no sum depends on its order.
    watched = [rows[: 1 << (len(rows).bit_length() - 1)] if rows else rows for rows in watched]
    vectors = _integers(seed, num_items, 4)
    rankings = Retriever(release(vectors)).rank(queries(*watched), k)
    assert rankings.item_row.shape == rankings.score.shape == (len(watched), k)
    for line, rows in enumerate(watched):
        asked = vectors[rows].astype(np.float64).mean(axis=0) if rows else vectors[0].astype(np.float64)
        scores = {row: float(vectors[row] @ asked) for row in range(num_items) if row not in rows}
        expected = sorted(scores.values(), reverse=True)[:k]
        found = rankings.item_row[line][: len(expected)].tolist()
        assert rankings.score[line][: len(expected)].tolist() == expected
        assert [scores[row] for row in found] == expected  # KeyError where a watched item is among them
        assert len(set(found)) == len(found)
        assert (rankings.item_row[line][len(expected) :] == PAD).all()
        assert (rankings.score[line][len(expected) :] == -np.inf).all()


@given(world=_worlds())
@settings(max_examples=80, deadline=None)
def test_a_graph_gives_full_answers_without_watched_or_repeated_items(
    world: tuple[int, int, list[list[int]], int],
) -> None:
    seed, num_items, watched, k = world
    rankings = Retriever(release(_unit(seed, num_items, 4), kind=IndexKind.HNSW)).rank(queries(*watched), k)
    for line, rows in enumerate(watched):
        num_filled = min(k, num_items - len(set(rows)))
        found = rankings.item_row[line][:num_filled]
        assert (found >= 0).all()
        assert len(set(found.tolist())) == num_filled
        assert not set(found.tolist()) & set(rows)
        assert (rankings.item_row[line][num_filled:] == PAD).all()
        assert (np.diff(rankings.score[line][:num_filled]) <= 0).all()


class _ShortSighted(ExactIndex):
    """An index that finds only its first few vectors, as a graph does whose rest cannot be reached."""

    def __init__(self, vectors: np.ndarray, num_reachable: int) -> None:
        super().__init__(vectors)
        self._reachable = ExactIndex(vectors[:num_reachable])

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        return self._reachable.search(query, k)


def test_what_an_index_cannot_reach_is_found_by_the_exact_scan() -> None:
    vectors = _unit(0, 300, 6)
    asked = queries([0, 1, 2, 3], [], [0])
    query = _unit(1, 3, 6)
    score, row = complete_topk(_ShortSighted(vectors, 6), vectors, query, 5, asked.history)
    exact = query[0] @ vectors.T
    exact[:4] = -np.inf
    assert row[0].tolist() == np.argsort(-exact)[:5].tolist()  # 2 of 5 reachable: scanned
    assert set(row[1].tolist()) < set(range(6))  # 6 of 5 reachable: the index's own answer
    assert (np.diff(score) <= 0).all()


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    vectors = _unit(3, 50, 8)
    return Retriever(
        release(
            vectors, profiles={"ann": [3, 4, 5], "bob": [], "cyd": list(range(48)), "dan": list(range(50))}
        )
    )


def test_the_retriever_is_a_recommender(retriever: Retriever) -> None:
    assert isinstance(retriever, Recommender)


def test_recommend_leaves_out_what_was_watched(retriever: Retriever) -> None:
    ranking = retriever.recommend("ann", k=50)
    assert len(ranking) == 47
    assert not {"i3", "i4", "i5"} & set(ranking.item_id)
    assert retriever.history("ann") == ("i3", "i4", "i5")
    assert ranking.degraded is None
    assert ranking.release_id == "r000001"
    assert [item_id for item_id, _ in ranking] == list(ranking.item_id)


def test_a_history_given_answers_as_the_same_history_stored(retriever: Retriever) -> None:
    given_ids = retriever.recommend(history=["i3", "i4", "i5"], k=10)
    stored = retriever.recommend("ann", k=10)
    assert given_ids.item_id == stored.item_id
    np.testing.assert_array_equal(given_ids.score, stored.score)
    assert retriever.recommend("bob", history=["i3", "i4", "i5"], k=10).item_id == stored.item_id


def test_a_profile_is_ranked_as_its_query_is(retriever: Retriever) -> None:
    rankings = retriever.rank(queries([3, 4, 5]), 10)
    assert [f"i{row}" for row in rankings.item_row[0]] == list(retriever.recommend("ann", k=10).item_id)


def test_an_unknown_profile_is_answered_from_popularity_and_tagged(retriever: Retriever) -> None:
    ranking = retriever.recommend("nobody", k=3)
    assert ranking.item_id == ("i0", "i1", "i2")
    assert ranking.score.tolist() == [49.0, 48.0, 47.0]
    assert ranking.degraded is Degraded.UNKNOWN_PROFILE


@pytest.mark.parametrize("asked", [{"profile_id": "bob"}, {"history": []}, {"history": ["zz", "yy"]}, {}])
def test_a_history_without_a_known_item_is_answered_from_popularity_and_tagged(
    retriever: Retriever, asked: dict[str, object]
) -> None:
    ranking = retriever.recommend(**asked, k=2)  # type: ignore[arg-type]
    assert ranking.item_id == ("i0", "i1")
    assert ranking.degraded is Degraded.EMPTY_HISTORY
    assert ranking.num_unknown_items == len(asked.get("history", []))  # type: ignore[arg-type]


def test_unknown_items_of_a_history_are_left_out_and_counted(retriever: Retriever) -> None:
    ranking = retriever.recommend(history=["i3", "gone", "i4", "i3", "i5", "gone", "lost"], k=5)
    assert ranking.item_id == retriever.recommend("ann", k=5).item_id
    assert ranking.num_unknown_items == 2
    assert ranking.degraded is None


def test_an_empty_history_is_ranked_by_the_prior_without_a_tag(retriever: Retriever) -> None:
    rankings = retriever.rank(queries([]), 1)
    assert rankings.item_row.tolist() == [[0]]  # the prior is the first vector, of unit length
    assert rankings.degraded == ()


def test_the_last_eligible_items_are_all_answered(retriever: Retriever) -> None:
    assert set(retriever.recommend("cyd", k=10).item_id) == {"i48", "i49"}
    assert retriever.recommend("dan", k=10).item_id == ()


def test_k_larger_than_the_catalogue_gives_all_of_it(retriever: Retriever) -> None:
    assert len(retriever.recommend("nobody", k=10**12)) == 50
    assert len(retriever.recommend("ann", k=10**12)) == 47
    assert len(retriever.similar("i0", k=10**12)) == 49


def test_k_zero_is_empty_and_a_negative_k_is_refused(retriever: Retriever) -> None:
    assert retriever.rank(queries([1], [2]), 0).item_row.shape == (2, 0)
    for answer in (
        retriever.recommend("ann", k=0),
        retriever.similar("i1", k=0),
        retriever.search("title", k=0),
    ):
        assert len(answer) == 0
        assert answer.score.shape == (0,)
    for ask in (
        lambda: retriever.rank(queries([1]), -1),
        lambda: retriever.recommend("ann", k=-1),
        lambda: retriever.recommend("nobody", k=-1),
        lambda: retriever.similar("i1", k=-1),
        lambda: retriever.search("title", k=-1),
    ):
        with pytest.raises(QueryError, match="k = -1"):
            ask()


def test_no_queries_give_no_rankings(retriever: Retriever) -> None:
    assert retriever.rank(queries(), 5).item_row.shape == (0, 5)


def test_similar_gives_the_nearest_titles_and_not_the_title_itself(retriever: Retriever) -> None:
    vectors = _unit(3, 50, 8)
    scores = vectors @ vectors[7]
    scores[7] = -np.inf
    assert retriever.similar("i7", k=5).item_id == tuple(f"i{row}" for row in np.argsort(-scores)[:5])


def test_unknown_ids_are_named(retriever: Retriever) -> None:
    with pytest.raises(UnknownIdError, match="item 'zz' is not among the 50"):
        retriever.similar("zz")
    with pytest.raises(UnknownIdError, match="profile 'nobody' is not among the 4"):
        retriever.history("nobody")


@pytest.mark.parametrize("row", [-1, 50])
def test_rows_outside_the_catalogue_are_refused(retriever: Retriever, row: int) -> None:
    with pytest.raises(QueryError, match="expected rows of the 50 items"):
        retriever.rank(queries([row]), 1)


def test_a_text_is_no_history(retriever: Retriever) -> None:
    with pytest.raises(QueryError, match="expected a sequence of item ids"):
        retriever.recommend(history="i3")


def test_a_query_is_answered_alone_as_in_a_batch(retriever: Retriever) -> None:
    histories = [list(range(n)) for n in range(0, 48, 3)]
    batch = retriever.rank(queries(*histories), 7)
    for line, rows in enumerate(histories):
        alone = retriever.rank(queries(rows), 7)
        assert alone.item_row[0].tolist() == batch.item_row[line].tolist()


def test_concurrent_readers_get_the_answers_of_a_single_one() -> None:
    hnsw = Retriever(release(_unit(5, 2000, 16), kind=IndexKind.HNSW))
    asked = [queries([n, n + 1]) for n in range(100)]
    alone = [hnsw.rank(query, 10).item_row.tolist() for query in asked]
    with ThreadPoolExecutor(8) as pool:
        together = [
            rankings.item_row.tolist() for rankings in pool.map(lambda query: hnsw.rank(query, 10), asked)
        ]
    assert together == alone


@pytest.fixture(scope="module")
def cinema() -> Retriever:
    items = items_table(
        5,
        title=["Body Heat", "Heat", "The Matrix", "Amélie", "In the Heat of the Night"],
        release_year=[1981, 1995, 1999, 2001, 1967],
        genres=[["Thriller"], ["Crime", "Thriller"], ["Sci-Fi"], ["Romance"], None],
    )
    vectors = np.eye(5, dtype=np.float32)
    return Retriever(release(vectors, items=items, profiles={"ann": [4], "bob": []}))


def test_search_puts_the_whole_title_first_and_equals_by_popularity(cinema: Retriever) -> None:
    ranking = cinema.search("heat")
    assert ranking.item_id == ("i1", "i0", "i4")
    assert ranking.degraded is None
    assert (np.diff(ranking.score) <= 0).all()
    assert cinema.search("heat", k=1).item_id == ("i1",)


def test_search_orders_equals_by_the_profiles_own_scores(cinema: Retriever) -> None:
    assert cinema.search("heat", profile_id="ann").item_id == ("i1", "i4", "i0")  # ann watched i4
    assert cinema.search("heat", profile_id="nobody").degraded is Degraded.UNKNOWN_PROFILE
    assert cinema.search("heat", profile_id="bob").degraded is Degraded.EMPTY_HISTORY


def test_a_search_that_matches_nothing_is_answered_as_none_and_tagged(cinema: Retriever) -> None:
    for profile_id in (None, "ann", "nobody"):
        ranking = cinema.search("zebra 🦓", profile_id=profile_id, k=3)
        assert ranking.item_id == cinema.recommend(profile_id, k=3).item_id
        assert ranking.degraded is Degraded.NO_MATCH


def test_a_ranking_is_iterable_and_has_a_length() -> None:
    ranking = Ranking(("a", "b"), np.array([2.0, 1.0], np.float32), "r000001")
    assert list(ranking) == [("a", 2.0), ("b", 1.0)]
    assert len(ranking) == 2
