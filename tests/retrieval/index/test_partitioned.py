"""What a partition does beyond the contract: its geometry, its codes, ties, and files that do not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from retrieval.index.allowed import Allowed
from retrieval.index.operating import exact_rows, recall_by_query
from retrieval.index.partitioned.basis import item_basis, query_basis
from retrieval.index.partitioned.build import build_partitioned, load_partitioned
from retrieval.index.spec import Geometry, IndexKind, IndexSpec, Refinement
from towers.errors import IndexBuildError, QueryError

ITEMS = IndexSpec(IndexKind.PARTITIONED, geometry=Geometry.ITEMS)


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_coordinates_keep_inner_products_and_the_first_carry_most_of_the_scores() -> None:
    items, asked = _normal(0, 3000, 24), _normal(1, 500, 24)
    asked[:, 6:] *= 0.05  # what queries hardly ever ask for
    items[:, 6:] *= 4.0
    true = asked @ items.T
    kept = {}
    for name, basis in (("queries", query_basis(items, asked)), ("items", item_basis(items))):
        turned, by_query = items @ basis.item.T, asked @ basis.query.T
        np.testing.assert_allclose(by_query @ turned.T, true, rtol=1e-3, atol=2e-3)
        kept[name] = float(((by_query[:, :6] @ turned[:, :6].T - true) ** 2).mean() / (true**2).mean())
    # The last 18 of 24 hold (0.05 · 4)² · 18 = 0.72 of what 6.72 the scores have.
    assert kept["queries"] < 0.13
    assert kept["items"] > 5 * kept["queries"]


def test_codes_alone_find_what_vectors_do_with_scores_nearly_theirs() -> None:
    vectors, query = _normal(2, 3000, 80), _normal(3, 80, 80)
    spec = replace(ITEMS, code_dim=64, refinement=Refinement.CODES, stop=9.0, refine_factor=8.0)
    score, row = build_partitioned(vectors, spec).search(query, 10)
    assert recall_by_query(row, exact_rows(vectors, query, 10)).mean() > 0.9
    true = np.take_along_axis(query @ vectors.T, row, axis=1)
    np.testing.assert_allclose(score, true, atol=0.05 * np.abs(true).max())
    assert np.abs(score - true).mean() < 0.01 * np.abs(true).mean()


def test_of_the_coordinates_that_vary_most_codes_know_what_rounding_took_off() -> None:
    """Sixteen coordinates say nearly everything: 8 bits of them alone would be off by 4 in a thousand."""
    vectors, query = _normal(14, 4000, 64), _normal(15, 60, 64)
    vectors[:, 16:] *= 0.01
    spec = replace(ITEMS, code_dim=32, refinement=Refinement.CODES, stop=9.0, refine_factor=2.0)
    score, row = build_partitioned(vectors, spec).search(query, 10)
    true = np.take_along_axis(query @ vectors.T, row, axis=1)
    np.testing.assert_allclose(score, true, atol=2e-4 * np.abs(true).max())
    assert recall_by_query(row, exact_rows(vectors, query, 10)).mean() > 0.99


def test_an_index_of_an_older_version_that_kept_no_rounding_is_read(tmp_path: Path) -> None:
    vectors, query = _normal(16, 2000, 64), _normal(17, 40, 64)
    spec = replace(ITEMS, code_dim=32, refinement=Refinement.CODES, stop=9.0, refine_factor=30.0)
    build_partitioned(vectors, spec).save(tmp_path)
    arrays = load_file(tmp_path / "index.safetensors")
    older = {name: arrays[name][:64] for name in ("basis", "scale")} | {
        "tail": np.ascontiguousarray(arrays["tail"][:, :32])
    }
    save_file(arrays | older, tmp_path / "index.safetensors")
    index = load_partitioned(tmp_path, vectors, spec)
    assert recall_by_query(index.search(query, 10)[1], exact_rows(vectors, query, 10)).mean() > 0.9


@pytest.mark.parametrize("num_copies", [3000, 9000])
def test_more_equal_items_than_a_search_can_hold_fill_the_answer_once_each(num_copies: int) -> None:
    vectors = np.repeat(_normal(4, 2, 8), num_copies, axis=0)
    index = build_partitioned(vectors, replace(ITEMS, num_lists=2))
    score, row = index.search(vectors[:1] * 3, 50)
    assert len(set(row[0].tolist())) == 50
    np.testing.assert_allclose(score[0], 3 * float(vectors[0] @ vectors[0]), rtol=1e-6)
    everything = index.search(vectors[:1], 2 * num_copies)[1][0]
    assert sorted(everything.tolist()) == list(range(2 * num_copies))


def test_few_better_items_are_found_among_many_equal_ones() -> None:
    vectors = np.zeros((8000, 8), np.float32)
    vectors[:, 0] = 1.0
    vectors[::1000, 1] = 0.5  # eight that the query likes more
    index = build_partitioned(vectors, replace(ITEMS, num_lists=1))
    _, row = index.search(np.array([[1.0, 1.0] + [0.0] * 6], np.float32), 20)
    assert set(row[0, :8].tolist()) == set(range(0, 8000, 1000))


def test_a_narrow_rule_reads_as_many_lists_as_it_takes() -> None:
    vectors, query = _normal(5, 4000, 16), _normal(6, 30, 16)
    index = build_partitioned(vectors, replace(ITEMS, stop=2.0))
    passes = np.random.default_rng(7).random(4000) < 0.08
    bitmap = np.packbits(np.pad(passes, (0, -4000 % 64)), bitorder="little")[None]
    narrow = Allowed.but(np.zeros(31, np.int64), np.zeros(0, np.int64)).among(bitmap, np.zeros(30, np.int64))
    _, row, work = index.search_with(query, 20, narrow, stop=2.0)
    assert (row >= 0).all()
    assert passes[row].all()
    assert work[0] > index.search_with(query, 20, stop=2.0)[2][0]


def test_who_may_be_shown_few_rows_alone_reads_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, query = _normal(16, 4000, 16), _normal(17, 40, 16)
    index = build_partitioned(vectors, ITEMS)
    passes = np.random.default_rng(18).random(4000) < 0.01
    bitmap = np.packbits(np.pad(passes, (0, -4000 % 64)), bitorder="little")[None]
    line = np.where(np.arange(40) % 2 == 0, 0, -1)  # every other query has the rule
    mixed = Allowed.but(np.zeros(41, np.int64), np.zeros(0, np.int64)).among(bitmap, line)
    _, row, work = index.search_with(query, 5, mixed, stop=9.0)
    _, free, of_others = index.search_with(query[1::2], 5, stop=9.0)
    np.testing.assert_array_equal(row[1::2], free)
    best = np.flatnonzero(passes)[np.argsort(-(query[::2] @ vectors[passes].T), axis=1)[:, :5]]
    np.testing.assert_array_equal(row[::2], best)
    assert work[1] == of_others[1] > 0

    def never(*_: object) -> int:
        raise AssertionError("lists are searched")

    monkeypatch.setattr("retrieval.index.partitioned.index.search_partition", never)
    narrow = mixed.select(np.arange(0, 40, 2))
    np.testing.assert_array_equal(index.search_with(query[::2], 5, narrow, stop=9.0)[1], best)


def test_a_batch_is_answered_as_its_queries_alone_whatever_the_threads() -> None:
    vectors, query = _normal(8, 5000, 24), _normal(9, 300, 24)
    index = build_partitioned(vectors, ITEMS)
    score, row, _ = index.search_with(query, 15, stop=3.0, threads=1)
    again, rows_again, _ = index.search_with(query, 15, stop=3.0, threads=4)
    np.testing.assert_array_equal(row, rows_again)
    np.testing.assert_array_equal(score, again)
    alone = np.concatenate([index.search_with(one[None], 15, stop=3.0)[1] for one in query])
    # Sums of a centre's score in another order may turn a list that is on the edge.
    assert (alone == row).mean() > 0.99


def test_one_bad_query_of_many_is_named() -> None:
    index = build_partitioned(_normal(10, 300, 8), ITEMS)
    query = _normal(11, 100, 8)
    query[70, 3] = np.nan
    with pytest.raises(QueryError, match="query 70 is not finite"):
        index.search(query, 5)


def test_the_geometry_of_queries_needs_them() -> None:
    with pytest.raises(IndexBuildError, match="geometry queries without queries"):
        build_partitioned(_normal(12, 50, 8), IndexSpec(IndexKind.PARTITIONED))


@pytest.mark.parametrize("name", ["offset", "row", "place", "code", "centre"])
def test_a_file_whose_parts_do_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    vectors = _normal(13, 200, 8)
    build_partitioned(vectors, ITEMS).save(tmp_path)
    arrays = load_file(tmp_path / "index.safetensors")
    save_file(arrays | {name: np.ascontiguousarray(arrays[name][:-1])}, tmp_path / "index.safetensors")
    with pytest.raises(IndexBuildError, match="do not fit each other"):
        load_partitioned(tmp_path, vectors, ITEMS)
    save_file({"code": arrays["code"]}, tmp_path / "index.safetensors")
    with pytest.raises(IndexBuildError, match="expected basis, centre"):
        load_partitioned(tmp_path, vectors, ITEMS)
