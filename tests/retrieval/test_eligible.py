"""Answers of a Retriever hold what a request may be shown, all of it, and nothing else."""

import numpy as np
import pytest

from retrieval.eligibility.rules import All, Available, GenresAny, ItemIn, Not, Rule, check_rule
from retrieval.index.build import build_index
from retrieval.index.spec import Geometry, IndexKind, IndexSpec
from retrieval.lists import ListAnswers, RankedLists
from retrieval.release.read import Release
from retrieval.retriever import Retriever
from retrieval.vectors import VectorAnswers
from tests.retrieval.worlds import by_vectors, items_table, queries, release
from towers.errors import QueryError
from towers.recommender import Degraded

NUM = 200
DRAMA, HORROR = GenresAny(("Drama",)), GenresAny(("Horror",))


def _genres(row: int) -> list[str]:
    return (["Drama"] if row % 2 else ["Comedy"]) + (["Horror"] if row % 5 == 0 else [])


def _release(kind: IndexKind) -> Release:
    vectors = np.random.default_rng(0).standard_normal((NUM, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    licences = [[{"country": "DE", "start": None, "end": None}] if row < 30 else None for row in range(NUM)]
    items = items_table(NUM, genres=[_genres(row) for row in range(NUM)], licences=licences)
    return release(vectors, kind=kind, items=items, profiles={"ann": [3, 4, 5], "bob": []})


@pytest.fixture(scope="module", params=[IndexKind.FLAT, IndexKind.HNSW])
def served(request: pytest.FixtureRequest) -> Retriever:
    return Retriever(_release(request.param))


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        (DRAMA, lambda row: row % 2 == 1),
        (All((DRAMA, Not(HORROR))), lambda row: row % 2 == 1 and row % 5 != 0),
        (Available("FR", 1_700_000_000), lambda row: row >= 30),
        (Available("DE", 1_700_000_000), lambda row: True),
        (ItemIn(("i3", "i7", "i8")), lambda row: row in (3, 7, 8)),
        (GenresAny(("Western",)), lambda row: False),
    ],
)
def test_everything_that_passes_is_answered_best_first(served: Retriever, rule: Rule, passes: object) -> None:
    assert callable(passes)
    expected = {f"i{row}" for row in range(NUM) if passes(row) and row not in (3, 4, 5)}
    answer = served.recommend("ann", k=NUM, rule=rule)
    assert set(answer.item_id) == expected
    assert len(answer) == len(expected)
    assert (np.diff(answer.score) <= 0).all()
    few = served.recommend("ann", k=10, rule=rule)
    assert few.item_id == answer.item_id[:10]
    assert few.degraded is None


def test_what_is_excluded_is_not_answered_and_unknown_ids_do_not_matter(served: Retriever) -> None:
    best = served.recommend("ann", k=5).item_id
    rest = served.recommend("ann", k=5, exclude=[*best[:3], "no such title"])
    assert rest.item_id[:2] == best[3:]
    assert not set(rest.item_id) & set(best[:3])
    with pytest.raises(QueryError, match="exclude is 'i1'"):
        served.recommend("ann", exclude="i1")


@pytest.mark.parametrize("rule", [{"for_kids": {}}, "kids", None])
def test_what_is_no_rule_is_refused_and_told_what_makes_one(rule: object) -> None:
    with pytest.raises(QueryError, match=r"rule: a (dict|str|NoneType); expected .* rule_from_plain"):
        check_rule(rule)


def test_popularity_answers_an_unknown_profile_within_the_rule(served: Retriever) -> None:
    answer = served.recommend("who", k=4, rule=DRAMA, exclude=["i3"])
    assert answer.item_id == ("i1", "i5", "i7", "i9")
    assert answer.degraded is Degraded.UNKNOWN_PROFILE


def test_similar_titles_and_matches_of_a_text_pass_the_rule(served: Retriever) -> None:
    near = served.similar("i1", k=NUM, rule=DRAMA, exclude=["i3"])
    assert set(near.item_id) == {f"i{row}" for row in range(NUM) if row % 2} - {"i1", "i3"}
    found = served.search("title", k=NUM, rule=DRAMA)
    assert set(found.item_id) == {f"i{row}" for row in range(NUM) if row % 2}
    assert served.search("title 2", k=1, rule=DRAMA).item_id != ("i2",)


def test_a_batch_has_a_rule_for_each_query(served: Retriever) -> None:
    asked = queries([3, 4, 5], [], [0], [1])
    rules = [DRAMA, None, HORROR, DRAMA]
    ranked = served.rank(asked, 20, rules)
    for line, rule in enumerate(rules):
        alone = served.rank(asked.select(np.array([line])), 20, [rule])
        np.testing.assert_array_equal(ranked.item_row[line], alone.item_row[0])
    assert (ranked.item_row[0] % 2 == 1).all()
    assert (ranked.item_row[2] % 5 == 0).all()
    assert len(set(ranked.item_row[1] % 2)) == 2
    with pytest.raises(QueryError, match="rules: 2 for 4 queries"):
        served.rank(asked, 20, rules[:2])


def test_a_partition_answers_within_a_rule_what_a_scan_does() -> None:
    made = _release(IndexKind.FLAT)
    scanned = Retriever(made)
    by = by_vectors(made)
    spec = IndexSpec(IndexKind.PARTITIONED, geometry=Geometry.ITEMS, stop=9.0)
    answers = VectorAnswers(by.vectors, build_index(spec, by.vectors), by.encoder)
    parted = Retriever(
        Release(made.release_id, made.catalogue, made.num_events, answers, made.profiles, made.context)
    )
    for rule in (DRAMA, All((DRAMA, HORROR)), Available("FR", 0), None):
        assert (
            parted.recommend("ann", k=30, rule=rule).item_id
            == scanned.recommend("ann", k=30, rule=rule).item_id
        )


def test_lists_give_what_passes_of_them_then_what_else_passes_by_popularity() -> None:
    made = _release(IndexKind.FLAT)
    # Of two profiles, one country and every title: rows 1, 2, 3 … from the list's own number on.
    item_row = (np.arange(2 + 1 + NUM)[:, None] + np.arange(1, 5)) % NUM
    score = np.tile(np.arange(4, 0, -1, dtype=np.float32), (len(item_row), 1))
    lists = RankedLists(item_row.astype(np.int32), score, made.num_events)
    answers = ListAnswers(lists, made.profiles)
    listed = Retriever(Release(made.release_id, made.catalogue, made.num_events, answers, made.profiles))
    # Ann's own list is 1, 2, 3, 4 and a newcomer's 3, 4, 5, 6; she watched 3, 4 and 5.
    assert listed.recommend("ann", k=4, rule=DRAMA).item_id == ("i1", "i7", "i9", "i11")
    everything = listed.recommend("ann", k=NUM, rule=DRAMA, exclude=["i9"])
    assert set(everything.item_id) == {f"i{row}" for row in range(1, NUM, 2)} - {"i3", "i5", "i9"}
