"""Metrics against hand-computed tables and against plain loops that know nothing of arrays."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from towers.errors import QueryError
from towers.evaluation.metrics import (
    Hits,
    average_precision,
    coverage,
    find_hits,
    in_ragged,
    ndcg,
    recall,
    reciprocal_rank,
)
from towers.recommender import PAD

NUM_ITEMS = 12


def ragged(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offset = np.cumsum([0, *(len(one) for one in lists)], dtype=np.int64)
    return offset, np.array([row for one in lists for row in one], dtype=np.int64)


def hits_of(rows: list[list[int]], targets: list[list[int]]) -> Hits:
    return find_hits(np.array(rows, dtype=np.int64), *ragged(targets))


# Five places for four queries, worked out by hand with 1/log2(2) = 1, 1/log2(3) = .63093, 1/log2(4) = .5,
# 1/log2(5) = .43068, 1/log2(6) = .38685.
RANKED = [
    [7, 3, 9, 1, 4],  # one target, at rank 2
    [0, 1, 2, 3, 4],  # three targets: ranks 1 and 4, and one not shown
    [5, 6, PAD, PAD, PAD],  # a short list that misses
    [8, 2, 6, 0, 5],  # six targets, more than places: ranks 1, 2, 3, 4, 5 and one left
]
TARGETS = [[3], [3, 0, 11], [1], [5, 0, 6, 2, 8, 10]]


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [0.0, 1 / 3, 0.0, 1 / 6]),
        (2, [1.0, 1 / 3, 0.0, 2 / 6]),
        (4, [1.0, 2 / 3, 0.0, 4 / 6]),
        (5, [1.0, 2 / 3, 0.0, 5 / 6]),
    ],
)
def test_recall_is_the_share_of_the_targets_that_are_shown(k: int, expected: list[float]) -> None:
    np.testing.assert_allclose(recall(hits_of(RANKED, TARGETS), k), expected)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [0.0, 1.0, 0.0, 1.0]),
        (2, [0.63093, 1.0 / 1.63093, 0.0, 1.0]),
        (4, [0.63093, 1.43068 / 2.13093, 0.0, 1.0]),
        (5, [0.63093, 1.43068 / 2.13093, 0.0, 1.0]),
    ],
)
def test_ndcg_discounts_by_the_log_of_the_rank_and_is_over_the_best_possible(
    k: int, expected: list[float]
) -> None:
    np.testing.assert_allclose(ndcg(hits_of(RANKED, TARGETS), k), expected, atol=1e-5)


@pytest.mark.parametrize(("k", "expected"), [(1, [0.0, 1.0, 0.0, 1.0]), (5, [0.5, 1.0, 0.0, 1.0])])
def test_the_reciprocal_rank_is_that_of_the_first_hit(k: int, expected: list[float]) -> None:
    np.testing.assert_allclose(reciprocal_rank(hits_of(RANKED, TARGETS), k), expected)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        # Ranks 2; 1 and 4; none; 1 to 5. Of four places, question 1 has precision 1 and 2/4 over 3 targets.
        (1, [0.0, 1.0, 0.0, 1.0]),
        (4, [1 / 2, (1 + 2 / 4) / 3, 0.0, 1.0]),
        (5, [1 / 2, (1 + 2 / 4) / 3, 0.0, 1.0]),
    ],
)
def test_average_precision_is_over_the_targets_or_the_places_whichever_are_fewer(
    k: int, expected: list[float]
) -> None:
    np.testing.assert_allclose(average_precision(hits_of(RANKED, TARGETS), k), expected)


@pytest.mark.parametrize(("k", "num_shown"), [(1, 4), (2, 8), (5, 10)])
def test_coverage_counts_distinct_items_and_no_padding(k: int, num_shown: int) -> None:
    # Top 1: 7 0 5 8. Top 2 adds 3 1 6 2. Top 5 adds 9 4.
    assert coverage(np.array(RANKED), k, num_items=NUM_ITEMS) == num_shown / NUM_ITEMS


def test_one_target_at_rank_two_scores_what_the_protocol_says() -> None:
    hits = hits_of([[7, 3, 9]], [[3]])
    assert recall(hits, 3)[0] == 1.0
    assert ndcg(hits, 3)[0] == pytest.approx(1 / math.log2(3))
    assert reciprocal_rank(hits, 3)[0] == 0.5


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], int]:
    num_queries, width = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    rows, targets = [], []
    for _ in range(num_queries):
        num_filled = draw(st.integers(0, width))
        shown = draw(st.permutations(range(NUM_ITEMS)))[:num_filled]
        rows.append([*shown, *[PAD] * (width - num_filled)])
        wanted = draw(st.sets(st.integers(0, NUM_ITEMS - 1), min_size=1, max_size=NUM_ITEMS))
        targets.append(draw(st.permutations(sorted(wanted))))
    return rows, targets, draw(st.integers(1, width))


@settings(deadline=None)
@given(answers())
def test_every_metric_equals_the_plain_loop(case: tuple[list[list[int]], list[list[int]], int]) -> None:
    rows, targets, k = case
    hits = hits_of(rows, targets)
    for query, (row, wanted) in enumerate(zip(rows, targets, strict=True)):
        ranks = [place + 1 for place, item in enumerate(row[:k]) if item != PAD and item in wanted]
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(wanted), k) + 1))
        gain = sum(1 / math.log2(rank + 1) for rank in ranks)
        assert recall(hits, k)[query] == pytest.approx(len(ranks) / len(wanted))
        assert ndcg(hits, k)[query] == pytest.approx(gain / ideal)
        assert reciprocal_rank(hits, k)[query] == pytest.approx(1 / ranks[0] if ranks else 0.0)
        precision = sum(sum(other <= rank for other in ranks) / rank for rank in ranks)
        assert average_precision(hits, k)[query] == pytest.approx(precision / min(len(wanted), k))
    shown = {item for row in rows for item in row[:k] if item != PAD}
    assert coverage(np.array(rows), k, num_items=NUM_ITEMS) == pytest.approx(len(shown) / NUM_ITEMS)


@settings(deadline=None)
@given(answers())
def test_every_metric_lies_between_zero_and_one(case: tuple[list[list[int]], list[list[int]], int]) -> None:
    rows, targets, k = case
    hits = hits_of(rows, targets)
    for value in (recall(hits, k), ndcg(hits, k), reciprocal_rank(hits, k), average_precision(hits, k)):
        assert np.all((value >= 0.0) & (value <= 1.0 + 1e-12))


@settings(deadline=None)
@given(answers(), st.randoms(use_true_random=False))
def test_hits_of_some_targets_are_those_found_with_no_others(
    case: tuple[list[list[int]], list[list[int]], int], random: Random
) -> None:
    rows, targets, _ = case
    counts = [[random.random() < 0.5 for _ in wanted] for wanted in targets]
    assume(any(map(any, counts)))
    kept = [
        (row, [item for item, one in zip(wanted, chosen, strict=True) if one])
        for row, wanted, chosen in zip(rows, targets, counts, strict=True)
        if any(chosen)
    ]
    part = hits_of(rows, targets).only(np.array([one for chosen in counts for one in chosen]))
    alone = hits_of([row for row, _ in kept], [wanted for _, wanted in kept])
    for name in ("query", "rank", "target", "num_targets", "rank_of_target"):
        np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))


def test_an_item_is_looked_for_among_its_own_query_only() -> None:
    offset, values = ragged([[1, 2], [], [3]])
    rows = np.array([[2, 3, PAD], [1, 2, 3], [1, 3, 2]])
    assert in_ragged(rows, offset, values).tolist() == [
        [True, False, False],
        [False, False, False],
        [False, True, False],
    ]


def test_padding_is_never_a_hit_even_beside_the_highest_row_of_the_query_before() -> None:
    # Keys are query · width + row, so −1 of query 1 has the key of the last row of query 0.
    assert not hits_of([[5, PAD], [PAD, PAD]], [[9], [0]]).rank.size


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[1], []], "1 queries have no target"),
        ([[1], [-1]], "target row -1"),
        ([[1], [2, 2]], "named twice"),
        ([[1]], "targets of 1 queries for 2 rankings"),
    ],
)
def test_targets_that_cannot_be_judged_are_refused(targets: list[list[int]], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        hits_of([[0, 1], [2, 3]], targets)


def test_an_offset_that_leaves_targets_out_is_refused() -> None:
    with pytest.raises(QueryError, match="from 0 to 3"):
        find_hits(np.array([[0]]), np.array([0, 2]), np.array([1, 2, 3]))


@pytest.mark.parametrize("k", [-1, 0, 6])
def test_places_that_were_not_ranked_cannot_be_judged(k: int) -> None:
    hits = hits_of(RANKED, TARGETS)
    for metric in (recall, ndcg, reciprocal_rank, average_precision):
        with pytest.raises(QueryError, match=f"k = {k}: expected 1 to 5"):
            metric(hits, k)
    with pytest.raises(QueryError, match=f"k = {k}"):
        coverage(np.array(RANKED), k, num_items=NUM_ITEMS)


def test_an_empty_catalogue_has_no_coverage() -> None:
    with pytest.raises(QueryError, match="0 items"):
        coverage(np.array(RANKED), 5, num_items=0)
