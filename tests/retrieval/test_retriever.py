"""The Retriever's answers, held against brute force."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.catalogue import Catalogue
from retrieval.completion import complete_topk, unseen
from retrieval.index.exact import ExactIndex
from retrieval.index.spec import IndexKind
from retrieval.ranking import Ranking
from retrieval.retriever import Retriever
from tests.forked import run_program
from tests.retrieval.worlds import MeanEncoder, by_vectors, items_table, queries, release
from towers.errors import QueryError, ReleaseError, UnknownIdError
from towers.recommender import PAD, Degraded, Queries, Recommender


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
    score, row = complete_topk(_ShortSighted(vectors, 6), vectors, query, 5, unseen(asked.history))
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


def test_an_encoder_blind_to_times_answers_ids_given_as_the_same_stored(
    retriever: Retriever,
) -> None:
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


@pytest.mark.parametrize("asked", [{"profile_id": "bob"}, {"history": []}, {"history": ["zz", "yy"]}])
def test_a_history_without_a_known_item_is_answered_as_rank_does_and_tagged(
    retriever: Retriever, asked: dict[str, object]
) -> None:
    ranking = retriever.recommend(**asked, k=20)  # type: ignore[arg-type]
    rankings = retriever.rank(queries([]), 20)
    assert ranking.item_id == tuple(f"i{row}" for row in rankings.item_row[0])
    np.testing.assert_array_equal(ranking.score, rankings.score[0])
    assert ranking.degraded is Degraded.EMPTY_HISTORY
    assert ranking.num_unknown_items == len(asked.get("history", []))  # type: ignore[arg-type]


def test_nobody_is_answered_from_popularity_and_tagged(retriever: Retriever) -> None:
    ranking = retriever.recommend(k=2)
    assert ranking.item_id == ("i0", "i1")
    assert ranking.score.tolist() == [49.0, 48.0]
    assert ranking.degraded is Degraded.UNKNOWN_PROFILE


class _Recording(MeanEncoder):
    """Keeps the queries that it is asked."""

    def __init__(self, vectors: np.ndarray) -> None:
        super().__init__(vectors)
        self.asked: list[Queries] = []

    def encode(self, queries: Queries) -> np.ndarray:
        self.asked.append(queries)
        return super().encode(queries)


def _recorded(country: str) -> tuple[Retriever, _Recording]:
    whole = release(_unit(3, 9, 4), profiles={"ann": [3, 4]})
    answers = by_vectors(whole)
    encoder = _Recording(answers.vectors)
    profiles = replace(whole.profiles, country=np.array([country]))
    served = replace(whole, answers=replace(answers, encoder=encoder), profiles=profiles)
    return Retriever(served), encoder


@pytest.mark.parametrize(("asked", "expected"), [(None, "DE"), ("GB", "GB"), ("gb", "GB")])
def test_country_and_time_reach_the_encoder(asked: str | None, expected: str) -> None:
    served, encoder = _recorded("DE")
    served.recommend("ann", country=asked, time_seconds=1_900_000_000)
    served.recommend("ann", country=asked, time_seconds=5)
    served.search("title", profile_id="ann", country=asked)
    served.recommend(history=[], country="FR", time_seconds=1_900_000_000)
    last = 1_700_003_600  # of ann's second event
    assert [int(one.time_seconds[0]) for one in encoder.asked] == [1_900_000_000, last, last, 1_900_000_000]
    assert [str(one.country[0]) for one in encoder.asked] == [expected] * 3 + ["FR"]


def test_a_history_with_times_reaches_the_encoder_as_the_stored_one_does() -> None:
    served, encoder = _recorded("")
    served.recommend("ann", k=3)
    served.recommend(history=[("i4", 1_700_003_600), ("i3", 1_700_000_000), ("zz", 7)], k=3)
    stored, given_ = encoder.asked
    assert given_.history.item_row.tolist() == stored.history.item_row.tolist()
    assert given_.history.time_seconds.tolist() == stored.history.time_seconds.tolist()
    assert given_.time_seconds.tolist() == stored.time_seconds.tolist()


def test_what_is_no_request_is_refused_and_named() -> None:
    # In a process of its own, without the type checks of the test suite, which would be first.
    program = """
import numpy as np
from retrieval import Retriever
from retrieval.eligibility.rules import All, AttributeIn, Available, ForKids, GenresAny, ItemIn, Not
from tests.retrieval.worlds import release
from towers.errors import QueryError, UnknownIdError
r = Retriever(release(np.eye(3, dtype=np.float32), profiles={"ann": [1]}))
for ask in (
    lambda: r.recommend("ann", k=2.5),
    lambda: r.similar("i0", k="3"),
    lambda: r.search("title", k=True),
    lambda: r.recommend("ann", time_seconds="now"),
    lambda: r.search(b"secret"),
    lambda: r.search("title", understood=["secret"]),
    lambda: r.recommend(history=[3]),
    lambda: r.recommend(history=[("i1", 5), "i2"]),
    lambda: r.recommend(history=[("i1", "now")]),
    lambda: r.recommend(414),
    lambda: r.recommend("ann", country=49),
    lambda: r.recommend("ann", country="UK"),
    lambda: r.search("title", profile_id="ann", country="Narnia"),
    lambda: r.recommend("ann", rule=GenresAny("Horror")),
    lambda: r.recommend("ann", rule=GenresAny((1,))),
    lambda: r.recommend("ann", rule=ItemIn(["i1"])),
    lambda: r.recommend("ann", time_seconds=1_700_000_000_000),
    lambda: r.recommend(history=[("i1", 10**30)]),
    lambda: r.recommend(history=[("i1", -1)]),
    lambda: r.recommend(history=5),
    lambda: r.recommend("ann", exclude=["i1", 2]),
    lambda: r.similar("i0", exclude=[["i1"]]),
    lambda: r.similar("i0", profile_id=b"ann"),
    lambda: r.suggest("title", profile_id=5),
    lambda: r.similar(["i0"]),
    lambda: r.views(0, 10**9),
    lambda: r.recommend("ann", country="\u00df"),  # SS in capitals, of South Sudan
    lambda: r.recommend("ann", rule=Available(None, 5)),
    lambda: r.recommend("ann", rule=Available("DE", "now")),
    lambda: r.recommend("ann", rule=ForKids("7")),
    lambda: r.recommend("ann", rule=AttributeIn(5, ("a",))),
    lambda: r.recommend("ann", rule=All([ForKids()])),
    lambda: r.recommend("ann", rule=All(ForKids())),
    lambda: r.recommend("ann", rule=Not(None)),
):
    try:
        print("answered", ask())
    except (QueryError, UnknownIdError) as error:
        print(error)
"""
    answer = run_program(program)
    assert answer.stderr == ""
    assert answer.stdout.splitlines() == [
        "k = 2.5: expected a whole number of places, 0 or more",
        "k = '3': expected a whole number of places, 0 or more",
        "k = True: expected a whole number of places, 0 or more",
        "time_seconds is 'now'; expected whole Unix seconds",
        "search: the text is a bytes; expected a string",
        "search: understood is a list; expected True, False, or some of what an answer understood",
        "history: holds 3; expected item ids or (item id, Unix seconds) pairs",
        "history: some events have a time and some have none; expected all or none",
        "history: the time of 'i1' is 'now'; expected whole Unix seconds",
        "profile_id: found int; expected a text, or None",
        "country: found int; expected a text, or None",
        "country is 'UK'; expected an ISO 3166-1 alpha-2 code, such as GB, or \"\" where unknown",
        "country is 'Narnia'; expected an ISO 3166-1 alpha-2 code, such as GB, or \"\" where unknown",
        "genres is 'Horror'; expected a tuple of texts, such as ('…',)",
        "genres is (1,); expected a tuple of texts, such as ('…',)",
        "item_ids is ['i1']; expected a tuple of texts, such as ('…',)",
        "time_seconds is 1700000000000; expected whole Unix seconds, 0 to 253402300799",
        "history: the time of 'i1' is 1000000000000000000000000000000; expected whole Unix seconds, 0 to "
        "253402300799",
        "history: the time of 'i1' is -1; expected whole Unix seconds, 0 to 253402300799",
        "history is 5; expected a sequence of item ids",
        "exclude: holds 2; expected item ids",
        "exclude: holds ['i1']; expected item ids",
        "profile_id: found bytes; expected a text, or None",
        "profile_id: found int; expected a text, or None",
        "item ['i0'] is not among the 3 of r000001",
        "profiles 0 to 1000000000; expected a part of 0 to 1",
        "country is 'ß'; expected an ISO 3166-1 alpha-2 code, such as GB, or \"\" where unknown",
        'country is None; expected an ISO 3166-1 alpha-2 code, such as GB, or "" where unknown',
        "time_seconds is 'now'; expected 0 to 253402300799 Unix seconds",
        "age is '7'; expected 0 to 99 years",
        "name is 5; expected a text",
        "rules is [ForKids(age=7)]; expected a tuple of rules",
        "rules is ForKids(age=7); expected a tuple of rules",
        "rule: a NoneType; expected a rule of retrieval.eligibility.rules, or what rule_from_plain makes of "
        "JSON",
    ]


def test_a_release_of_unequal_parts_is_refused() -> None:
    whole = release(_unit(0, 9, 4))
    with pytest.raises(ReleaseError, match="8 titles, 9 event counts and answers over 9"):
        replace(whole, catalogue=Catalogue(items_table(8)))
    with pytest.raises(ReleaseError, match="8 vectors and 9 in the index"):
        replace(by_vectors(whole), vectors=_unit(0, 8, 4))
    with pytest.raises(ReleaseError, match=r"dimensions \(4, 4, 3\)"):
        replace(by_vectors(whole), encoder=MeanEncoder(_unit(0, 9, 3)))


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
    with pytest.raises(UnknownIdError, match="the profile asked for is not among the 4"):
        retriever.history("nobody")


@pytest.mark.parametrize("row", [-1, 50])
def test_rows_outside_the_catalogue_are_refused(retriever: Retriever, row: int) -> None:
    with pytest.raises(QueryError, match=r"history: item rows run .* expected 0 to 49"):
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
