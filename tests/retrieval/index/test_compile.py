"""The compiler finds an index that keeps its promise on queries it has not seen, and says what it found."""

from dataclasses import replace

import numpy as np
import pytest

from retrieval.index import compile as compiling
from retrieval.index.compile import compile_index
from retrieval.index.operating import exact_rows, recall_by_query
from retrieval.index.partitioned.build import build_partitioned
from retrieval.index.spec import Geometry, IndexKind, IndexSpec
from towers.errors import IndexBuildError

WANTED = IndexSpec(IndexKind.COMPILED, target_recall=0.9, target_k=20)


def _world(num_items: int, num_queries: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Titles in clusters; queries that ask along few of the directions in which titles differ."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((200, 48))
    items = centre[rng.integers(0, 200, num_items)] + 0.5 * rng.standard_normal((num_items, 48))
    asked = np.zeros((num_queries, 48))
    asked[:, :8] = rng.standard_normal((num_queries, 8))
    asked[:, 8:] = 0.05 * rng.standard_normal((num_queries, 40))
    return items.astype(np.float32), asked.astype(np.float32)


def test_an_index_of_many_items_keeps_its_recall_on_other_queries_and_reads_a_part_of_them() -> None:
    items, queries = _world(30_000, 1500, 0)
    made = compile_index(items, queries[:1200], WANTED)
    assert made.spec.kind is IndexKind.PARTITIONED
    # Distances among the items are mostly of what no query asks for.
    assert made.spec.geometry is Geometry.QUERIES
    held_out = queries[1200:]
    found = made.index.search(held_out, 20)[1]
    assert recall_by_query(found, exact_rows(items, held_out, 20)).mean() > 0.87
    assert made.curve is not None
    point = made.curve.at(0.9)
    assert point is not None
    assert point.stop == made.spec.stop
    assert point.recall >= 0.9
    assert point.codes < 0.3 * len(items)
    recalls = [each.recall for each in made.curve.points]
    assert recalls == sorted(recalls)


@pytest.mark.parametrize(("alike", "expected"), [(60, 3.0), (90, 5.0)])
def test_as_many_candidates_are_refined_as_look_alike_to_the_codes(alike: int, expected: float) -> None:
    """Titles of a group differ in what no code holds: for its best 20, nearly the whole of it is refined."""
    rng = np.random.default_rng(4)
    head = np.repeat(rng.standard_normal((300, 32)), alike, axis=0)
    head += 0.05 * rng.standard_normal(head.shape)
    items = np.hstack([head, 0.2 * rng.standard_normal(head.shape)]).astype(np.float32)
    queries = items[rng.integers(0, len(items), 300)] + 0.3 * rng.standard_normal((300, 64)).astype(
        np.float32
    )
    queries[:, 32:] = rng.standard_normal((300, 32))
    target = replace(WANTED, target_recall=0.95)
    spec = replace(
        target, kind=IndexKind.PARTITIONED, geometry=Geometry.ITEMS, code_dim=32, extra_candidates=0
    )
    exact = exact_rows(items, queries, 20)
    made = compiling._well_refined(build_partitioned(items, spec), queries, exact, target)
    assert made is not None
    assert made.spec.refine_factor == expected
    found = made.search_with(queries, 20, stop=10.0)[1]
    assert recall_by_query(found, exact).mean() > 0.95


def test_the_same_input_compiles_to_the_same_spec() -> None:
    items, queries = _world(12_000, 400, 1)
    first, second = (compile_index(items, queries, WANTED) for _ in range(2))
    assert first.spec == second.spec
    assert first.trials == second.trials


def test_few_items_are_scanned() -> None:
    items, queries = _world(300, 60, 2)
    made = compile_index(items, queries, WANTED)
    assert made.spec.kind is IndexKind.FLAT
    assert made.curve is None
    np.testing.assert_array_equal(made.index.search(queries, 20)[1], exact_rows(items, queries, 20))


def test_without_queries_there_is_nothing_to_compile_for() -> None:
    items, queries = _world(100, 1, 3)
    with pytest.raises(IndexBuildError, match="no query vectors"):
        compile_index(items, queries[:0], WANTED)


def test_recall_counts_what_is_found_of_the_exact_answer() -> None:
    exact = np.array([[1, 2, 3, 4], [5, 6, -1, -1]])
    found = np.array([[4, 9, 1, -1], [-1, 6, 5, 0]])
    assert recall_by_query(found, exact).tolist() == [0.5, 1.0]
