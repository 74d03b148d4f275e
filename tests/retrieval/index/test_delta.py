"""Items that are scanned by codes first are ranked as by their vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.index.allowed import everything
from retrieval.index.delta import delta_of, scan_delta
from retrieval.index.spec import nothing_found


def scanned(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best k of a delta whose rows begin at 1000, joined to an answer that holds nothing."""
    score, row = nothing_found(len(query), k)
    delta = delta_of(vectors, np.arange(1000, 1000 + len(vectors)))
    scan_delta(delta, query, everything(len(query)), score, row)
    return score, row


@given(
    num=st.integers(1, 2500),
    dimension=st.sampled_from([1, 3, 33, 128, 512, 513]),
    exponent=st.integers(-15, 15),
    k=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25)
def test_the_best_are_found_among_vectors_of_every_length(
    num: int, dimension: int, exponent: int, k: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    length = 10.0 ** (exponent + rng.normal(0.0, 0.5, (num, 1)))
    vectors = (rng.standard_normal((num, dimension)) * length).astype(np.float32)
    query = rng.standard_normal((2, dimension)).astype(np.float32)
    score, row = scanned(vectors, query, k)
    true = query.astype(np.float64) @ vectors.T.astype(np.float64)
    num_filled = min(k, num)
    slack = 1e-5 * (np.abs(query).astype(np.float64) @ np.abs(vectors).T).max()
    best = -np.sort(-true, axis=1)[:, :num_filled]
    np.testing.assert_allclose(score[:, :num_filled], best, rtol=1e-5, atol=slack)
    found = np.take_along_axis(true, row[:, :num_filled] - 1000, axis=1)
    np.testing.assert_allclose(found, best, rtol=1e-5, atol=slack)
    assert (row[:, num_filled:] == -1).all()


@pytest.mark.parametrize("outlier", [0.0, 50.0])
def test_what_the_codes_cannot_tell_apart_the_vectors_do(outlier: float) -> None:
    """2,000 vectors closer than a step of their codes, which a large coordinate makes coarse."""
    rng = np.random.default_rng(0)
    vectors = np.tile(rng.standard_normal(64), (2000, 1))
    vectors[:, 0] = outlier
    vectors[:, 1:] += 1e-4 * rng.standard_normal((2000, 63))
    vectors = vectors.astype(np.float32)
    query = rng.standard_normal((5, 64)).astype(np.float32)
    query[:, 0] = 0.0
    _, row = scanned(vectors, query, 10)
    true = query.astype(np.float64) @ vectors.T.astype(np.float64)
    for one in range(5):
        bound = np.sort(true[one])[-10]
        assert (true[one, row[one] - 1000] >= bound - 1e-5).all()


def test_many_queries_are_answered_as_each_alone() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((1500, 16)).astype(np.float32)
    query = rng.standard_normal((300, 16)).astype(np.float32)
    _, together = scanned(vectors, query, 7)
    for one in range(0, 300, 50):
        np.testing.assert_array_equal(scanned(vectors, query[one : one + 1], 7)[1][0], together[one])


def test_equal_items_stand_by_row_and_zero_vectors_are_items() -> None:
    score, row = scanned(np.zeros((3000, 8), np.float32), np.ones((1, 8), np.float32), 4)
    assert row.tolist() == [[1000, 1001, 1002, 1003]]
    assert score.tolist() == [[0.0] * 4]
