"""What each query is allowed, over every kind of index, held against brute force in float64."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.completion import complete_topk
from retrieval.index.allowed import Allowed
from retrieval.index.build import build_index
from retrieval.index.spec import IndexKind, IndexSpec
from tests.contracts.indexes import APPROXIMATE, SPECS, name_of
from towers.errors import QueryError

pytestmark = pytest.mark.parametrize("spec", SPECS, ids=name_of)


def allowed_of(passes: np.ndarray, line: list[int], left_out: list[list[int]]) -> tuple[Allowed, np.ndarray]:
    """What is allowed, and the same as (Q, N) booleans."""
    num_items = passes.shape[1]
    width = -(-num_items // 64) * 8
    bitmap = np.zeros((len(passes), width), np.uint8)
    bitmap[:, : -(-num_items // 8)] = np.packbits(passes, axis=1, bitorder="little")
    rows = [sorted({row % num_items for row in each}) for each in left_out]
    offset = np.cumsum([0, *map(len, rows)])
    given = Allowed(bitmap, np.array(line, np.int64), offset, np.array(list(chain(*rows)), np.int64))
    true = np.array([passes[one] if one >= 0 else np.ones(num_items, bool) for one in line])
    true = true.reshape(len(line), num_items)
    for one, each in enumerate(rows):
        true[one, each] = False
    return given, true


def vectors_for(spec: IndexSpec, rng: np.random.Generator, num: int, dim: int) -> np.ndarray:
    """Integers, whose products are exact and often equal; of one norm for a graph."""
    found = rng.integers(-3, 4, (num, dim)).astype(np.float32)
    if spec.kind is not IndexKind.HNSW:
        return found
    found = found + np.float32(0.25)
    unit: np.ndarray = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


@given(
    num_items=st.integers(1, 150),
    share=st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
    line=st.lists(st.integers(-1, 2), max_size=5),
    left_out=st.lists(st.lists(st.integers(0, 149), max_size=60), min_size=5, max_size=5),
    k=st.integers(0, 170),
    num_interests=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_answers_are_complete_allowed_and_none_twice(
    spec: IndexSpec,
    num_items: int,
    share: float,
    line: list[int],
    left_out: list[list[int]],
    k: int,
    num_interests: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    vectors = vectors_for(spec, rng, num_items, 4)
    query = rng.integers(-3, 4, (len(line), num_interests, 4)).astype(np.float32)
    allowed, true = allowed_of(rng.random((3, num_items)) < share, line, left_out[: len(line)])
    index = build_index(spec, vectors)
    score, row = complete_topk(index, vectors, query[:, 0] if num_interests == 1 else query, k, allowed)
    products = np.einsum("qid,nd->qin", query.astype(np.float64), vectors.astype(np.float64)).max(axis=1)
    assert score.shape == row.shape == (len(line), k)
    for one in range(len(line)):
        num_filled = min(k, int(true[one].sum()))
        found = row[one, :num_filled]
        assert (row[one, num_filled:] == -1).all()
        assert (score[one, num_filled:] == -np.inf).all()
        assert len(set(found.tolist())) == num_filled
        assert true[one, found].all()
        np.testing.assert_allclose(score[one, :num_filled], products[one, found], rtol=1e-5, atol=1e-5)
        assert (np.diff(score[one, :num_filled]) <= 0).all()
        if spec.kind not in APPROXIMATE:
            best = np.sort(products[one, true[one]])[::-1][:num_filled]
            np.testing.assert_allclose(score[one, :num_filled], best, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.04, 0.06, 0.2, 0.6, 0.95])
def test_recall_holds_at_every_share_that_passes(spec: IndexSpec, share: float, correlated: bool) -> None:
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((40, 16))
    vectors = centre[rng.integers(0, 40, 6000)] + 0.5 * rng.standard_normal((6000, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    query = (centre[rng.integers(0, 40, 60)] + 0.5 * rng.standard_normal((60, 16))).astype(np.float32)
    # What passes lies on one side of the space, or anywhere.
    merit = vectors @ centre[0] if correlated else rng.random(6000)
    passes = (merit >= np.quantile(merit, 1 - share))[None]
    allowed, true = allowed_of(passes, [0] * 60, [[line] for line in range(60)])
    _, row = complete_topk(build_index(spec, vectors), vectors, query, 20, allowed)
    products = np.where(true, query @ vectors.T, -np.inf)
    num_filled = np.minimum(20, true.sum(axis=1))
    assert ((row >= 0).sum(axis=1) == num_filled).all()
    expected = np.argsort(-products, axis=1)[:, :20]
    hits = [
        np.isin(row[one, :filled], expected[one, :filled]).mean() for one, filled in enumerate(num_filled)
    ]
    assert np.mean(hits) >= 0.95


def test_what_is_allowed_must_be_of_as_many_queries(spec: IndexSpec) -> None:
    vectors = vectors_for(spec, np.random.default_rng(1), 20, 4)
    allowed, _ = allowed_of(np.ones((1, 20), bool), [0, 0], [[], []])
    with pytest.raises(QueryError, match="3 queries"):
        complete_topk(build_index(spec, vectors), vectors, np.ones((3, 4), np.float32), 5, allowed)


def test_a_bitmap_that_does_not_cover_the_rows_is_refused(spec: IndexSpec) -> None:
    vectors = vectors_for(spec, np.random.default_rng(2), 20, 4)
    narrow = Allowed(
        np.zeros((1, 2), np.uint8), np.zeros(1, np.int64), np.zeros(2, np.int64), np.zeros(0, np.int64)
    )
    with pytest.raises(QueryError, match="bitmaps of 2 bytes for 20 rows"):
        complete_topk(build_index(spec, vectors), vectors, np.ones((1, 4), np.float32), 5, narrow)


@pytest.mark.parametrize("share", [0.02, 1.0])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_query_that_is_not_finite_is_refused_whatever_is_allowed(
    spec: IndexSpec, number: float, share: float
) -> None:
    rng = np.random.default_rng(3)
    vectors = vectors_for(spec, rng, 400, 4)
    allowed, _ = allowed_of(rng.random((1, 400)) < share, [0], [[3]])
    with pytest.raises(QueryError, match="not finite"):
        complete_topk(
            build_index(spec, vectors), vectors, np.array([[0.0, number, 0.0, 1.0]], np.float32), 5, allowed
        )
