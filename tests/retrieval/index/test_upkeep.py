"""When an index with updates is built anew, and what comes of that."""

import numpy as np
import pytest

from retrieval.index.build import build_index
from retrieval.index.spec import Geometry, IndexKind, IndexSpec
from retrieval.index.updates import UpdatedIndex
from retrieval.index.upkeep import Due, UpkeepSettings, compacted, due, recall_now
from tests.retrieval.index.test_updates import unit
from towers.errors import IndexBuildError

FLAT = IndexSpec(IndexKind.FLAT)


def flat(vectors: np.ndarray) -> UpdatedIndex:
    return UpdatedIndex.of(build_index(FLAT, vectors), vectors)


def test_recall_is_one_where_every_item_is_scored() -> None:
    index = flat(unit(0, 300, 8)).remove(np.arange(0, 300, 3)).add(unit(1, 40, 8)).remove(np.array([301]))
    assert recall_now(index, unit(2, 25, 8), 10) == 1.0
    assert recall_now(index, unit(3, 25, 2, 8), 10) == 1.0  # of two interests
    assert recall_now(index, unit(2, 5, 8), 1000) == 1.0  # more than there are


def test_recall_counts_what_a_shallow_index_misses() -> None:
    vectors, query = unit(4, 3000, 16), unit(5, 40, 16)
    spec = IndexSpec(IndexKind.PARTITIONED, geometry=Geometry.ITEMS, stop=0.0, extra_candidates=0)
    index = UpdatedIndex.of(build_index(spec, vectors), vectors)
    changed = index.remove(np.arange(0, 3000, 20)).add(unit(6, 30, 16))
    rows, all_vectors = changed.rows(), changed.vectors()
    best = rows[np.argsort(-(query @ all_vectors.T), axis=1)[:, :10]]
    found = changed.search(query, 10)[1]
    expected = np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)])
    assert expected < 0.9
    assert recall_now(changed, query, 10) == pytest.approx(expected)


def test_recall_of_nothing_is_not_known() -> None:
    index = flat(unit(7, 10, 8))
    assert recall_now(index, np.zeros((0, 8), np.float32), 5) is None
    assert recall_now(index.remove(np.arange(10)), unit(8, 3, 8), 5) is None


def test_each_bound_is_a_reason_of_its_own() -> None:
    index = flat(unit(9, 100, 8))
    settings = UpkeepSettings(max_added_share=0.05, max_removed_share=0.1, min_recall=0.9)
    at_the_bounds = index.remove(np.arange(10)).add(unit(10, 5, 8))
    assert due(at_the_bounds, 0.9, settings) == ()
    assert due(at_the_bounds.add(unit(11, 1, 8)), 0.9, settings) == (Due.ADDED,)
    assert due(at_the_bounds.remove(np.array([50])), 0.9, settings) == (Due.REMOVED,)
    assert due(at_the_bounds, 0.89, settings) == (Due.RECALL,)
    assert due(at_the_bounds, None, settings) == (Due.RECALL,)
    assert due(index.remove(np.arange(50)).add(unit(12, 50, 8)), 0.0, settings) == tuple(Due)


@pytest.mark.parametrize("kind", [IndexKind.FLAT, IndexKind.HNSW, IndexKind.PARTITIONED])
def test_a_compacted_index_answers_as_before_under_new_rows(kind: IndexKind) -> None:
    vectors, query = unit(13, 500, 8), unit(14, 30, 8)
    spec = IndexSpec(kind, geometry=Geometry.ITEMS, stop=6.0)
    index = UpdatedIndex.of(build_index(spec, vectors), vectors)
    index = index.remove(np.arange(0, 500, 9)).add(unit(15, 25, 8)).remove(np.array([510]))
    made = compacted(index, spec)
    assert made.index.size == index.size == len(made.vectors)
    np.testing.assert_array_equal(made.vectors[made.row_of[index.rows()]], index.vectors())
    gone = np.setdiff1d(np.arange(index.num_rows), index.rows())
    assert (made.row_of[gone] == -1).all()
    assert (np.diff(made.row_of[index.rows()]) == 1).all()
    same = made.row_of[index.search(query, 10)[1]] == made.index.search(query, 10)[1]
    assert same.mean() > 0.98


def test_nothing_is_built_of_nothing() -> None:
    index = flat(unit(16, 10, 8))
    with pytest.raises(IndexBuildError, match=r"\(0, 8\)"):
        compacted(index.remove(np.arange(10)), FLAT)
