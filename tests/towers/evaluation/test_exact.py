"""The exact recommender against a plain loop over every item."""

import pickle

import numpy as np
import pytest
import torch

from tests.towers.evaluation.questions import histories
from towers.errors import IndexBuildError, QueryError
from towers.evaluation.exact import ExactRecommender, padded_items
from towers.recommender import PAD, Queries

RNG = np.random.default_rng(0)
ITEMS = RNG.normal(size=(50, 6)).astype(np.float32)


def queries_of(known: list[list[int]]) -> Queries:
    return Queries(histories(known), np.zeros(len(known), np.int64), np.full(len(known), ""))


def last_item(queries: Queries) -> np.ndarray:
    """The vector of the last item watched."""
    history = queries.history
    return np.stack([ITEMS[history.items_of(query)[-1]] for query in range(len(history))])


def test_it_ranks_by_inner_product_and_leaves_the_history_out() -> None:
    known = [RNG.choice(50, size=size, replace=False).tolist() for size in (1, 4, 17, 49)]
    rankings = ExactRecommender(last_item, ITEMS).rank(queries_of(known), 5)
    for history, row, score in zip(known, rankings.item_row.tolist(), rankings.score.tolist(), strict=True):
        products = {item: float(ITEMS[item] @ ITEMS[history[-1]]) for item in range(50)}
        best = sorted((item for item in products if item not in history), key=lambda item: -products[item])
        best = best[:5]
        assert row == [*best, *[PAD] * (5 - len(best))]
        assert score[: len(best)] == pytest.approx([products[item] for item in best], rel=1e-5)


def test_it_is_stored_with_its_vectors_once_and_answers_as_before() -> None:
    vectors = RNG.normal(size=(5_000, 6)).astype(np.float32)
    stored = pickle.dumps(ExactRecommender(last_item, vectors))
    assert len(stored) < 1.1 * vectors.nbytes
    queries = queries_of([[3], [4, 5]])
    one, again = (
        each.rank(queries, 9) for each in (ExactRecommender(last_item, vectors), pickle.loads(stored))
    )
    assert one.item_row.tolist() == again.item_row.tolist()
    assert one.score.tolist() == again.score.tolist()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_ranks_as_a_cpu_does() -> None:
    queries = queries_of([RNG.choice(50, size=size, replace=False).tolist() for size in (1, 4, 17)])
    here, there = (ExactRecommender(last_item, ITEMS, device).rank(queries, 40) for device in ("cpu", "cuda"))
    assert here.item_row.tolist() == there.item_row.tolist()
    # A sum in another order: near 0 what is lost is of the terms' size.
    np.testing.assert_allclose(here.score, there.score, rtol=1e-5, atol=1e-6)


def test_an_item_is_ranked_by_the_interest_that_likes_it_best() -> None:
    def first_and_last(queries: Queries) -> np.ndarray:
        history = queries.history
        ends = [history.items_of(query)[[0, -1]] for query in range(len(history))]
        vectors: np.ndarray = ITEMS[np.array(ends)]
        return vectors

    known = [RNG.choice(50, size=size, replace=False).tolist() for size in (2, 5, 17)]
    rankings = ExactRecommender(first_and_last, ITEMS).rank(queries_of(known), 6)
    for history, row, score in zip(known, rankings.item_row.tolist(), rankings.score.tolist(), strict=True):
        liked = {i: max(float(ITEMS[i] @ ITEMS[history[end]]) for end in (0, -1)) for i in range(50)}
        best = sorted((item for item in liked if item not in history), key=lambda item: -liked[item])[:6]
        assert row == best
        assert score == pytest.approx([liked[item] for item in best], rel=1e-5)


def test_queries_are_encoded_in_batches_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def encode(queries: Queries) -> np.ndarray:
        sizes.append(len(queries))
        return last_item(queries)

    queries = queries_of([[item % 50] for item in range(25)])
    whole = ExactRecommender(encode, ITEMS).rank(queries, 7)
    monkeypatch.setattr("towers.evaluation.exact._BATCH", 10)
    parts = ExactRecommender(encode, ITEMS).rank(queries, 7)
    assert sizes == [25, 10, 10, 5]
    np.testing.assert_array_equal(parts.item_row, whole.item_row)


def test_histories_are_padded_behind() -> None:
    assert padded_items(histories([[4, 2], [], [7, 7, 1]])).tolist() == [
        [4, 2, PAD],
        [PAD, PAD, PAD],
        [7, 7, 1],
    ]


def test_item_vectors_that_are_not_finite_are_refused() -> None:
    vectors = ITEMS.copy()
    vectors[[3, 8], 2] = np.nan, np.inf
    with pytest.raises(IndexBuildError, match="2 of 50 are not finite"):
        ExactRecommender(last_item, vectors)


def test_query_vectors_that_are_not_finite_are_refused() -> None:
    recommender = ExactRecommender(lambda queries: np.full((len(queries), 6), np.nan, np.float32), ITEMS)
    with pytest.raises(QueryError, match="not finite"):
        recommender.rank(queries_of([[1]]), 3)


def test_query_vectors_of_another_width_are_refused(shapes_unchecked: None) -> None:
    recommender = ExactRecommender(lambda queries: np.zeros((len(queries), 5), np.float32), ITEMS)
    with pytest.raises(QueryError, match=r"\(1, 5\); expected \(1, 6\)"):
        recommender.rank(queries_of([[1]]), 3)
