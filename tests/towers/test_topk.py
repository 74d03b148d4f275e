"""Exact top-k against sorting in plain Python; integer vectors, so that scores are exact and often equal."""

import math
from collections.abc import Collection

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from towers import topk as topk_module
from towers.errors import QueryError
from towers.topk import ordered_topk, topk, topk_from

Vectors = list[list[int]]


def by_sorting(
    query: list[int], items: Vectors, k: int, hidden: Collection[int]
) -> tuple[list[float], list[int]]:
    """Scores and rows of the best k, padded: the definition, one pair at a time."""
    scores = [sum(a * b for a, b in zip(query, item, strict=True)) for item in items]
    best = sorted((-score, row) for row, score in enumerate(scores) if row not in hidden)[:k]
    padding = k - len(best)
    return [float(-score) for score, _ in best] + [-math.inf] * padding, [row for _, row in best] + [
        -1
    ] * padding


@st.composite
def problems(draw: st.DrawFn) -> tuple[Vectors, Vectors, int, list[list[int]], list[bool]]:
    num_queries, num_items = draw(st.integers(0, 4)), draw(st.integers(0, 12))
    size = draw(st.integers(1, 3))
    vector = st.lists(st.integers(-2, 2), min_size=size, max_size=size)
    queries = draw(st.lists(vector, min_size=num_queries, max_size=num_queries))
    items = draw(st.lists(vector, min_size=num_items, max_size=num_items))
    width = draw(st.integers(0, 4))
    row = st.integers(-2, num_items - 1)
    exclude = st.lists(
        st.lists(row, min_size=width, max_size=width), min_size=num_queries, max_size=num_queries
    )
    allowed = st.lists(st.booleans(), min_size=num_items, max_size=num_items)
    return queries, items, draw(st.integers(0, 15)), draw(exclude), draw(allowed)


@settings(deadline=None, max_examples=200)
@given(problems())
def test_topk_is_what_sorting_every_pair_gives(
    problem: tuple[Vectors, Vectors, int, list[list[int]], list[bool]],
) -> None:
    queries, items, k, excluded, allowed = problem
    size = len((queries + items + [[0]])[0])
    score, row = topk(
        torch.tensor(queries, dtype=torch.float32).reshape(len(queries), size),
        torch.tensor(items, dtype=torch.float32).reshape(len(items), size),
        k,
        excluded=torch.tensor(excluded, dtype=torch.int64).reshape(len(queries), -1 if queries else 0),
        allowed=torch.tensor(allowed, dtype=torch.bool),
    )
    forbidden = {item for item, may in enumerate(allowed) if not may}
    expected = [
        by_sorting(query, items, k, forbidden | set(own))
        for query, own in zip(queries, excluded, strict=True)
    ]
    assert score.tolist() == [scores for scores, _ in expected]
    assert row.tolist() == [rows for _, rows in expected]


@settings(deadline=None, max_examples=100)
@given(problems(), st.integers(1, 3), st.integers(0, 3))
def test_what_is_known_to_be_reached_changes_no_answer(
    problem: tuple[Vectors, Vectors, int, list[list[int]], list[bool]], num_interests: int, short: int
) -> None:
    queries, items, k, *_ = problem
    k = min(k, len(items))
    if not queries or not k:
        return
    size = len(items[0])
    turned = [[one[turn:] + one[:turn] for turn in range(num_interests)] for one in queries]
    query = torch.tensor(turned, dtype=torch.float32).reshape(len(queries), num_interests, size)
    item = torch.tensor(items, dtype=torch.float32)
    score, row = topk(query, item, k)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(topk_module, "_CACHED_SCORES", 2 * len(queries))  # two items at a time
        found = topk_from(query, item, k, score[:, -1] - short)
        assert found is not None
        assert (found[0].tolist(), found[1].tolist()) == (score.tolist(), row.tolist())
        # What k items do not reach, and what too many do, is left to the other.
        assert topk_from(query, item, k, score[:, -1] + 1) is None
        # A title without numbers hides none beside it.
        broken = torch.cat([item, torch.full((1, size), torch.nan)])
        found = topk_from(query, broken, k, score[:, -1])
        assert found is not None
        assert (found[0].tolist(), found[1].tolist()) == (score.tolist(), row.tolist())
        patched.setattr(topk_module, "_FEW_PER_PLACE", 0)
        assert topk_from(query, item, k, score[:, -1]) is None


@settings(deadline=None, max_examples=100)
@given(problems(), st.integers(1, 3))
def test_of_several_interests_the_best_for_an_item_is_its_score(
    problem: tuple[Vectors, Vectors, int, list[list[int]], list[bool]], num_interests: int
) -> None:
    queries, items, k, excluded, allowed = problem
    size = len((queries + items + [[0]])[0])
    # Each query's interests are its vector, turned: as good as any others.
    turned = [[one[turn:] + one[:turn] for turn in range(num_interests)] for one in queries]
    score, row = topk(
        torch.tensor(turned, dtype=torch.float32).reshape(len(queries), num_interests, size),
        torch.tensor(items, dtype=torch.float32).reshape(len(items), size),
        k,
        excluded=torch.tensor(excluded, dtype=torch.int64).reshape(len(queries), -1 if queries else 0),
        allowed=torch.tensor(allowed, dtype=torch.bool),
    )
    forbidden = {item for item, may in enumerate(allowed) if not may}
    for line, (interests, own) in enumerate(zip(turned, excluded, strict=True)):
        whole = [by_sorting(one, items, len(items), forbidden | set(own)) for one in interests]
        best: dict[int, float] = {}
        for scores, rows in whole:
            for one, item in zip(scores, rows, strict=True):
                if item >= 0:
                    best[item] = max(one, best.get(item, -math.inf))
        expected = sorted(best, key=lambda item: (-best[item], item))[:k]
        assert row[line].tolist() == expected + [-1] * (k - len(expected))
        assert score[line, : len(expected)].tolist() == [best[item] for item in expected]


def test_equal_scores_are_ordered_by_row_even_where_the_last_place_cuts_through_them() -> None:
    items = torch.ones(1000, 1)
    items[700] = 2.0
    _, row = topk(torch.ones(3, 1), items, 5)
    assert row.tolist() == [[700, 0, 1, 2, 3]] * 3


def test_infinite_scores_are_ordered_by_row_too() -> None:
    score, column = ordered_topk(torch.full((1, 500), torch.inf), 3)
    assert column.tolist() == [[0, 1, 2]]
    assert score.tolist() == [[math.inf] * 3]


def test_a_nan_score_never_ranks() -> None:
    items = torch.tensor([[math.nan], [1.0], [math.nan], [-5.0]])
    score, row = topk(torch.ones(1, 1), items, 4)
    assert row.tolist() == [[1, 3, -1, -1]]
    assert score.tolist() == [[1.0, -5.0, -math.inf, -math.inf]]


def test_a_nan_query_gets_no_item() -> None:
    _, row = topk(torch.full((1, 2), math.nan), torch.ones(3, 2), 2)
    assert row.tolist() == [[-1, -1]]


def test_no_places_are_an_empty_answer_per_query() -> None:
    score, row = topk(torch.ones(2, 3), torch.ones(4, 3), 0)
    assert score.shape == row.shape == (2, 0)


def test_more_places_than_items_are_padded() -> None:
    score, row = topk(torch.ones(1, 1), torch.tensor([[1.0], [2.0]]), 4)
    assert row.tolist() == [[1, 0, -1, -1]]
    assert score.tolist() == [[2.0, 1.0, -math.inf, -math.inf]]


def test_an_excluded_item_is_replaced_by_the_next_best_not_by_padding() -> None:
    items = torch.tensor([[3.0], [2.0], [1.0]])
    _, row = topk(torch.ones(2, 1), items, 2, excluded=torch.tensor([[0, -1], [1, 1]]))
    assert row.tolist() == [[1, 2], [0, 2]]


def test_the_answer_does_not_depend_on_how_queries_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randint(-3, 4, (17, 4), generator=generator).float()
    item = torch.randint(-3, 4, (50, 4), generator=generator).float()
    excluded = torch.randint(-1, 50, (17, 6), generator=generator)
    whole = topk(query, item, 10, excluded=excluded)
    monkeypatch.setattr(topk_module, "_MAX_SCORES", 120)
    score, row = topk(query, item, 10, excluded=excluded)
    assert torch.equal(score, whole[0])
    assert torch.equal(row, whole[1])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(16, 700), st.integers(1, 20), st.integers(16, 4000))
def test_a_long_line_is_looked_through_by_groups_and_blocks(seed: int, num: int, k: int, held: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query = torch.randint(-2, 3, (3, 2), generator=generator)
    item = torch.randint(-2, 3, (num, 2), generator=generator)
    allowed = torch.rand(num, generator=generator) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk_module, "_MIN_GROUPED", 16)
        patch.setattr(topk_module, "_MAX_SCORES", held)
        score, row = topk(query.float(), item.float(), k, allowed=allowed)
    hidden = set(torch.nonzero(~allowed).flatten().tolist())
    for line in range(3):
        expected = by_sorting(query[line].tolist(), item.tolist(), k, hidden)
        assert (score[line].tolist(), row[line].tolist()) == expected


def test_scores_that_are_no_numbers_never_rank_in_a_long_line() -> None:
    scores = torch.full((2, 9000), math.nan)
    scores[0, 8999], scores[0, 17], scores[1, 5000] = 1.0, 1.0, -math.inf
    best, column = ordered_topk(scores, 3)
    assert column.tolist() == [[17, 8999, -1], [-1, -1, -1]]
    assert best[0].tolist() == [1.0, 1.0, -math.inf]


def test_a_negative_number_of_places_is_refused() -> None:
    with pytest.raises(QueryError, match="k = -2"):
        topk(torch.ones(1, 1), torch.ones(1, 1), -2)


@pytest.mark.usefixtures("shapes_unchecked")
def test_queries_and_items_of_different_dimension_are_refused() -> None:
    with pytest.raises(QueryError, match=r"\(1, 2\) and items \(1, 3\)"):
        topk(torch.ones(1, 2), torch.ones(1, 3), 1)


@pytest.mark.usefixtures("shapes_unchecked")
def test_exclusions_of_another_number_of_queries_are_refused() -> None:
    with pytest.raises(QueryError, match="excluded rows of 1 queries for 2 queries"):
        topk(torch.ones(2, 1), torch.ones(3, 1), 1, excluded=torch.tensor([[0]]))


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("num_items", [0, 3])
def test_an_excluded_row_that_is_no_items_is_refused(k: int, num_items: int) -> None:
    with pytest.raises(QueryError, match=f"excluded row {num_items} of {num_items} items"):
        topk(torch.ones(1, 1), torch.ones(num_items, 1), k, excluded=torch.tensor([[-1, num_items]]))


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("shape", [(1,), (2,), (1, 3)])
def test_allowed_items_of_another_catalogue_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(QueryError, match="for 3 items; expected one per item"):
        topk(torch.ones(2, 1), torch.ones(3, 1), 1, allowed=torch.ones(shape, dtype=torch.bool))
