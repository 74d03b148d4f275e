"""Every kind of index runs through these, held against brute force in float64."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.index.build import build_index, load_index
from retrieval.index.spec import Index, IndexKind, IndexSpec
from tests.contracts.indexes import APPROXIMATE, SPECS, name_of
from towers.errors import ConfigError, IndexBuildError, QueryError

pytestmark = pytest.mark.parametrize("spec", SPECS, ids=name_of)


def _fit(spec: IndexSpec, vectors: np.ndarray) -> np.ndarray:
    """The vectors as this kind takes them: a graph wants one norm."""
    if spec.kind is not IndexKind.HNSW:
        return vectors
    vectors = vectors + np.float32(0.25)  # no integer vector is zero any more
    unit: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _integers(seed: int, *shape: int) -> np.ndarray:
    """Vectors whose inner products are exact in float32, however they are summed; ties are common."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


def _true_scores(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    scores: np.ndarray = query.astype(np.float64) @ vectors.astype(np.float64).T
    return scores


def _recall(index: Index, query: np.ndarray, vectors: np.ndarray, k: int) -> float:
    """Share of places filled by a vector that is no worse than the k-th best; ties count."""
    true = _true_scores(query, vectors)
    bound = np.sort(true, axis=1)[:, -k][:, None]
    _, row = index.search(query, k)
    assert (row >= 0).all()
    return float((np.take_along_axis(true, row, axis=1) >= bound - 1e-4).mean())


def _assert_lawful(score: np.ndarray, row: np.ndarray, query: np.ndarray, vectors: np.ndarray) -> None:
    """Whatever an index finds: true scores, best first, ties by row, nothing twice, padding last."""
    for line in range(len(query)):
        found = row[line] >= 0
        num_found = int(found.sum())
        assert found[:num_found].all()
        assert (row[line, num_found:] == -1).all()
        assert (score[line, num_found:] == -np.inf).all()
        best, best_row = score[line, :num_found], row[line, :num_found]
        assert len(set(best_row.tolist())) == num_found
        assert (best_row < len(vectors)).all()
        true = _true_scores(query[line : line + 1], vectors)[0, best_row]
        np.testing.assert_allclose(best, true, rtol=1e-5, atol=1e-4 * max(1.0, np.abs(true).max(initial=0)))
        ordered = sorted(zip(-best, best_row, strict=True))
        assert [r for _, r in ordered] == best_row.tolist()


@given(
    num_items=st.integers(1, 60),
    dimension=st.integers(1, 9),
    num_queries=st.integers(0, 5),
    k=st.integers(0, 70),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_answers_are_lawful_and_full(
    spec: IndexSpec, num_items: int, dimension: int, num_queries: int, k: int, seed: int
) -> None:
    vectors = _fit(spec, _integers(seed, num_items, dimension))
    query = _integers(seed + 1, num_queries, dimension)
    score, row = build_index(spec, vectors).search(query, k)
    assert score.shape == row.shape == (num_queries, k)
    assert score.dtype == np.float32
    assert row.dtype == np.int64
    _assert_lawful(score, row, query, vectors)
    assert spec.kind is IndexKind.HNSW or ((row >= 0).sum(axis=1) == min(k, num_items)).all()
    if spec.kind not in APPROXIMATE:
        expected = -np.sort(-_true_scores(query, vectors), axis=1)[:, :k]
        np.testing.assert_array_equal(score[:, : min(k, num_items)], expected)


def test_recall_is_whole_for_scans_and_high_for_others(spec: IndexSpec) -> None:
    vectors, query = _fit(spec, _normal(0, 2000, 16)), _normal(1, 64, 16)
    recall = _recall(build_index(spec, vectors), query, vectors, 20)
    assert recall == 1.0 if spec.kind not in APPROXIMATE else recall >= 0.95


def test_vectors_in_clusters_do_not_collapse_the_recall(spec: IndexSpec) -> None:
    centre = 3.0 * _normal(2, 20, 16)[np.random.default_rng(3).integers(0, 20, 2000)]
    vectors, query = _fit(spec, centre + 0.3 * _normal(3, 2000, 16)), _normal(4, 64, 16)
    recall = _recall(build_index(spec, vectors), query, vectors, 20)
    assert recall == 1.0 if spec.kind not in APPROXIMATE else recall >= 0.95


def test_unequal_norms_are_answered_whole_or_refused(spec: IndexSpec) -> None:
    norm = np.random.default_rng(2).lognormal(0.0, 1.5, (2000, 1)).astype(np.float32)
    vectors, query = _normal(3, 2000, 16) * norm, _normal(4, 64, 16)
    if spec.kind is IndexKind.HNSW:
        with pytest.raises(IndexBuildError, match=r"norms .* expected equal norms for kind hnsw"):
            build_index(spec, vectors)
    else:
        recall = _recall(build_index(spec, vectors), query, vectors, 20)
        assert recall == 1.0 if spec.kind not in APPROXIMATE else recall >= 0.95


def test_many_copies_of_a_few_vectors_hide_nothing(spec: IndexSpec) -> None:
    distinct = _fit(spec, _normal(5, 300, 8))
    copies = np.concatenate([np.repeat(distinct[:3], 400, axis=0), distinct])
    vectors = copies[np.random.default_rng(6).permutation(len(copies))]
    recall = _recall(build_index(spec, vectors), _normal(7, 50, 8), vectors, 10)
    assert recall == 1.0 if spec.kind not in APPROXIMATE else recall >= 0.95


def test_copies_of_one_vector_fill_the_answer_in_row_order(spec: IndexSpec) -> None:
    index = build_index(spec, np.ones((500, 4), np.float32))
    score, row = index.search(np.full((2, 4), 0.5, np.float32), 600)
    assert row[0, :500].tolist() == list(range(500))
    assert (score[:, :500] == 2.0).all()
    assert (row[:, 500:] == -1).all()


def test_one_vector_is_always_found(spec: IndexSpec) -> None:
    score, row = build_index(spec, np.array([[2.0, -1.0]], np.float32)).search(
        np.array([[1.0, 1.0], [-3.0, 0.0], [0.0, 0.0]], np.float32), 3
    )
    assert row.tolist() == [[0, -1, -1]] * 3
    assert score[:, 0].tolist() == [1.0, -6.0, 0.0]


@pytest.mark.parametrize("scale", [1e-18, 1e-6, 1e6, 1e15])
def test_the_scale_of_the_vectors_changes_no_ranking(spec: IndexSpec, scale: float) -> None:
    vectors, query = _fit(spec, _normal(8, 400, 8)), _normal(9, 20, 8)
    _, row = build_index(spec, vectors).search(query, 5)
    _, scaled = build_index(spec, vectors * np.float32(scale)).search(query, 5)
    assert (row == scaled).mean() > 0.98


def test_zero_vectors_and_zero_queries_are_answered(spec: IndexSpec) -> None:
    score, row = build_index(spec, np.zeros((5, 3), np.float32)).search(np.zeros((1, 3), np.float32), 5)
    assert row.tolist() == [[0, 1, 2, 3, 4]]
    assert (score == 0.0).all()


def test_what_is_saved_and_loaded_answers_the_same(spec: IndexSpec, tmp_path: Path) -> None:
    vectors, query = _fit(spec, _normal(10, 300, 8)), _normal(11, 20, 8)
    index = build_index(spec, vectors)
    index.save(tmp_path)
    loaded = load_index(spec, tmp_path, vectors)
    assert (loaded.size, loaded.dimension) == (index.size, index.dimension) == (300, 8)
    for found, expected in zip(loaded.search(query, 30), index.search(query, 30), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert all(path.name.startswith("index") for path in tmp_path.iterdir())


def test_queries_in_column_order_are_answered_the_same(spec: IndexSpec) -> None:
    vectors, query = _fit(spec, _normal(12, 100, 8)), _normal(13, 6, 8)
    index = build_index(spec, np.asfortranarray(vectors))
    np.testing.assert_array_equal(index.search(np.asfortranarray(query), 4)[1], index.search(query, 4)[1])


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((0, 4), np.float32), r"\(0, 4\)"),
        (np.zeros((4, 0), np.float32), r"\(4, 0\)"),
        (
            np.array([[1.0], [np.nan], [np.inf]], np.float32),
            "2 of 3 vectors are not finite, the first in row 1",
        ),
        (np.full((2, 2), 1e30, np.float32), "overflow"),
    ],
)
def test_vectors_that_cannot_be_searched_are_refused(
    spec: IndexSpec, vectors: np.ndarray, message: str
) -> None:
    with pytest.raises(IndexBuildError, match=message):
        build_index(spec, vectors)


def test_queries_that_cannot_be_answered_are_refused(spec: IndexSpec) -> None:
    index = build_index(spec, _fit(spec, _normal(14, 10, 4)))
    with pytest.raises(QueryError, match="k = -1"):
        index.search(_normal(15, 1, 4), -1)
    with pytest.raises(QueryError, match="expected"):
        index.search(_normal(15, 1, 5), 1)
    with pytest.raises(QueryError, match="not finite"):
        index.search(np.full((1, 4), np.nan, np.float32), 1)


def test_a_spec_out_of_range_names_its_key(spec: IndexSpec) -> None:
    with pytest.raises(ConfigError, match=r"index\.m: 1"):
        build_index(replace(spec, m=1), _fit(spec, _normal(16, 10, 4)))
