"""Exact search by groups, in plain torch: whatever bfloat16 takes for the best, the answer is float32's."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval.index.allowed import Allowed
from retrieval.index.build import build_index, load_index
from retrieval.index.gpu import GpuIndex
from retrieval.index.groups import group_maxima, groups_of, rows_of
from retrieval.index.spec import Device, Index, IndexKind, IndexSpec
from towers.errors import IndexBuildError, QueryError

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def unit(seed: int, *shape: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal(shape)
    found: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return found


def best(query: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows in float64, by a sort of all; equal scores by row."""
    scores = query.astype(np.float64) @ vectors.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def test_it_is_an_index() -> None:
    assert isinstance(GpuIndex(unit(0, 5, 3), "cpu"), Index)


@given(
    num_items=st.integers(1, 700),
    dimension=st.integers(1, 20),
    num_queries=st.integers(0, 70),
    k=st.integers(0, 90),
    seed=st.integers(0, 2**32 - 1),
)
def test_answers_are_full_and_exact_where_ties_are_common(
    num_items: int, dimension: int, num_queries: int, k: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-3, 4, (num_items, dimension)).astype(np.float32)
    query = rng.integers(-3, 4, (num_queries, dimension)).astype(np.float32)
    score, row = GpuIndex(vectors, "cpu").search(query, k)
    expected, order = best(query, vectors, k)
    assert score.shape == row.shape == (num_queries, k)
    assert score.dtype == np.float32
    assert row.dtype == np.int64
    np.testing.assert_array_equal(score[:, :num_items], expected)
    np.testing.assert_array_equal(row[:, :num_items], order)
    assert (row[:, num_items:] == -1).all()
    assert (score[:, num_items:] == -np.inf).all()


@pytest.mark.parametrize("num_queries", [3, 80])
@pytest.mark.parametrize(("num_items", "dimension", "k"), [(20_000, 32, 100), (9_000, 257, 10)])
def test_among_many_the_answer_is_that_of_a_sort_of_all(
    num_queries: int, num_items: int, dimension: int, k: int
) -> None:
    vectors, query = unit(1, num_items, dimension), unit(2, num_queries, dimension)
    score, row = GpuIndex(vectors, "cpu").search(query, k)
    expected, order = best(query, vectors, k)
    np.testing.assert_allclose(score, expected, atol=1e-6)
    # Where two scores are within rounding of each other, either may come first.
    assert (row == order).mean() > 0.999


def alike(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """20,000 items around one that the queries are near, closer to each other than bfloat16 can tell."""
    centre = unit(3, 1, 32)
    vectors = np.repeat(centre, 20_000, axis=0) + spread * unit(4, 20_000, 32)
    return vectors.astype(np.float32), (centre + 0.1 * unit(5, 20, 32)).astype(np.float32)


def test_items_that_bfloat16_cannot_tell_apart_are_told_apart() -> None:
    vectors, query = alike(spread=1e-3)
    index = GpuIndex(vectors, "cpu")
    score, row, num_whole = index.search_tensors(torch.from_numpy(query), 50)
    expected, order = best(query, vectors, 50)
    np.testing.assert_allclose(score.numpy(), expected, atol=1e-6)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(row.numpy(), order, strict=True)]) > 49
    assert num_whole == 20  # the bound proves none of them


def test_without_the_bound_some_would_be_missed() -> None:
    vectors, query = alike(spread=1e-3)
    index = GpuIndex(vectors, "cpu")
    index._lost = -1.0  # whatever was found is taken for proven
    _, row, num_whole = index.search_tensors(torch.from_numpy(query), 50)
    _, order = best(query, vectors, 50)
    assert num_whole == 0
    assert np.mean([len(set(a) & set(b)) for a, b in zip(row.numpy(), order, strict=True)]) < 45


def test_a_second_look_proves_what_the_first_did_not() -> None:
    # 300 items differ by less than the bound: the first look takes 166 of them, the second all.
    vectors, query = unit(6, 20_000, 64), unit(7, 40, 64)
    near = query[:1] * 0.999 + 0.03 * unit(8, 300, 64)
    vectors[:300] = near / np.linalg.norm(near, axis=1, keepdims=True)
    index = GpuIndex(vectors, "cpu")
    looked = index._look(torch.from_numpy(query), 100)
    assert not looked[7][0]
    score, row, num_whole = index.search_tensors(torch.from_numpy(query), 100)
    assert num_whole == 0
    assert len(set(row[0].tolist())) == 100
    np.testing.assert_allclose(score[0].numpy(), best(query[:1], vectors, 100)[0][0], atol=2e-7)


def test_lengths_of_all_sizes_change_nothing() -> None:
    norm = np.random.default_rng(9).lognormal(0.0, 2.0, (5_000, 1)).astype(np.float32)
    vectors, query = unit(10, 5_000, 16) * norm, unit(11, 70, 16) * 100
    score, row = GpuIndex(vectors, "cpu").search(query, 20)
    expected, order = best(query, vectors, 20)
    np.testing.assert_allclose(score, expected, rtol=1e-5)
    assert (row == order).mean() > 0.999


@pytest.mark.parametrize("tiles_per_block", [1, 4, 64])
def test_each_item_is_in_one_group_and_each_group_in_one_super_group(tiles_per_block: int) -> None:
    of_group, of_super = group_maxima(torch.zeros(1, 2), torch.zeros(1_000, 2), tiles_per_block)
    num_groups, num_supers = of_group.shape[1], of_super.shape[1]
    rows = rows_of(torch.arange(num_groups)).flatten().sort().values
    assert torch.equal(rows, torch.arange(num_groups * 32))
    groups = groups_of(torch.arange(num_supers)[None], tiles_per_block)[0].sort().values
    assert torch.equal(groups, torch.arange(num_groups))


def test_the_maxima_are_those_of_their_items() -> None:
    query, item = torch.from_numpy(unit(12, 3, 8)), torch.from_numpy(unit(13, 1_000, 8))
    of_group, of_super = group_maxima(query, item, 2)
    scores = torch.nn.functional.pad(query @ item.T, (0, of_group.shape[1] * 32 - 1_000), value=-torch.inf)
    assert torch.equal(of_group, scores[:, rows_of(torch.arange(of_group.shape[1]))].amax(2))
    for number in range(of_super.shape[1]):
        members = groups_of(torch.tensor([[number]]), 2)[0]
        assert torch.equal(of_super[:, number], of_group[:, members].amax(1))


def test_it_is_stored_as_the_vectors_alone(tmp_path: Path) -> None:
    vectors, query = unit(14, 300, 9), unit(15, 4, 9)
    spec = IndexSpec(IndexKind.GPU, device=Device.CPU)
    index = build_index(spec, vectors)
    index.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    again = load_index(spec, tmp_path, vectors)
    assert (again.size, again.dimension) == (300, 9)
    for one, other in zip(index.search(query, 7), again.search(query, 7), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_is_refused_or_put_on_the_cpu_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    vectors = unit(18, 50, 4)
    with pytest.raises(IndexBuildError, match=r"no CUDA device"):
        build_index(IndexSpec(IndexKind.GPU, device=Device.CUDA), vectors)
    index = build_index(IndexSpec(IndexKind.GPU), vectors)
    assert "index put on the CPU" in caplog.text
    np.testing.assert_array_equal(index.search(vectors[:5], 1)[1][:, 0], np.arange(5))


def ruled(seed: int, num_queries: int, num_items: int) -> tuple[Allowed, np.ndarray]:
    """Rules that let from almost nothing to almost all pass, rows left out, and the same as booleans."""
    rng = np.random.default_rng(seed)
    passes = rng.random((6, num_items)) < np.array([0.0, 0.0005, 0.01, 0.2, 0.7, 1.0])[:, None]
    left_out = [
        np.sort(rng.choice(num_items, rng.integers(0, 90), replace=False)) for _ in range(num_queries)
    ]
    allowed = Allowed(
        np.packbits(passes, axis=1, bitorder="little"),
        rng.integers(-1, 6, num_queries),
        np.cumsum([0, *map(len, left_out)]),
        np.concatenate(left_out),
    )
    return allowed, np.array([allowed.mask(line, num_items) for line in range(num_queries)])


def assert_allowed_answers_are_whole(vectors: np.ndarray, query: np.ndarray, index: GpuIndex, k: int) -> None:
    allowed, true = ruled(24, len(query), len(vectors))
    score, row = index.search_allowed(query, k, allowed)
    scores = np.where(true, query.astype(np.float64) @ vectors.astype(np.float64).T, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(scores, order, axis=1)
    np.testing.assert_allclose(score, expected, atol=1e-6)
    assert ((row >= 0) == np.isfinite(expected)).all()
    found = row >= 0
    assert np.take_along_axis(true, row, axis=1)[found].all()
    assert all(len(set(each[each >= 0])) == (each >= 0).sum() for each in row)


def test_what_is_allowed_is_searched_exactly() -> None:
    assert_allowed_answers_are_whole(
        vectors := unit(21, 9_000, 24), unit(22, 60, 24), GpuIndex(vectors, "cpu"), 25
    )


def test_what_is_allowed_and_alike_is_scored_whole() -> None:
    vectors, query = alike(spread=1e-4)
    assert_allowed_answers_are_whole(vectors, query, GpuIndex(vectors, "cpu"), 50)


def test_bad_input_is_named() -> None:
    with pytest.raises(IndexBuildError, match="not finite, the first in row 1"):
        GpuIndex(np.array([[1.0], [np.nan]], np.float32), "cpu")
    index = GpuIndex(unit(16, 10, 4), "cpu")
    with pytest.raises(QueryError, match=r"shape \(2, 3\); expected \(queries, 4\)"):
        index.search(unit(17, 2, 3), 1)
    with pytest.raises(QueryError, match="k = -1"):
        index.search(unit(17, 2, 4), -1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_what_to_take_instead() -> None:
    with pytest.raises(IndexBuildError, match=r"no CUDA device .* kind flat, whose answers are the same"):
        GpuIndex(unit(18, 10, 4))


@pytest.mark.gpu
@gpu
def test_on_a_gpu_what_is_allowed_is_searched_exactly() -> None:
    vectors = unit(23, 200_000, 64)
    for num_queries in (1, 16, 70):
        assert_allowed_answers_are_whole(vectors, unit(24, num_queries, 64), GpuIndex(vectors), 100)


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("num_queries", [1, 5, 16, 64, 65, 300])
def test_on_a_gpu_answers_are_those_of_a_sort_of_all(num_queries: int) -> None:
    vectors = unit(19, 200_000, 64)
    index = GpuIndex(vectors)
    for turn in range(3):  # of few queries, the first is recorded and the others replayed
        query = unit(20 + turn, num_queries, 64)
        for k in (10, 100):
            score, row = index.search(query, k)
            expected, order = best(query, vectors, k)
            np.testing.assert_allclose(score, expected, atol=1e-6)
            assert (row == order).mean() > 0.999


@pytest.mark.gpu
@gpu
def test_on_a_gpu_what_cannot_be_proven_is_scored_whole() -> None:
    vectors, query = alike(spread=1e-3)
    _, row, num_whole = GpuIndex(vectors).search_tensors(torch.from_numpy(query).cuda(), 50)
    assert num_whole == 20
    _, order = best(query, vectors, 50)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(row.tolist(), order, strict=True)]) > 49
