"""A request may ask for a recall of its own, of those that its index was measured at."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.index.operating import CURVE_FILE, OperatingCurve, OperatingPoint, read_curve, write_curve
from retrieval.index.partitioned.build import build_partitioned
from retrieval.index.spec import Geometry, IndexKind, IndexSpec
from retrieval.retriever import Retriever
from retrieval.vectors import VectorAnswers
from tests.retrieval.worlds import by_vectors, queries, release
from towers.errors import QueryError, ReleaseError

CURVE = OperatingCurve(
    10, 100, 40.0, (OperatingPoint(0.5, 0.0, 0.6, 90.0, 2.0), OperatingPoint(0.99, 9.0, 1.0, 900.0, 40.0))
)


@pytest.fixture(scope="module")
def retriever() -> Retriever:
    vectors = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)
    made = release(vectors, profiles={"ann": [3, 4, 5]})
    spec = IndexSpec(IndexKind.PARTITIONED, geometry=Geometry.ITEMS, stop=0.0)
    answers = VectorAnswers(vectors, build_partitioned(vectors, spec), by_vectors(made).encoder, CURVE)
    return Retriever(replace(made, answers=answers))


def test_more_recall_is_more_of_the_exact_answer(retriever: Retriever) -> None:
    asked = queries(*[[row, row + 1] for row in range(60)])
    oracle = retriever.exact()
    assert oracle is not None
    exact = oracle.rank(asked, 10).item_row

    def found(recall: float | None) -> float:
        row = retriever.rank(asked, 10, recall=recall).item_row
        return float(np.mean([np.isin(a, b).mean() for a, b in zip(exact, row, strict=True)]))

    assert found(None) == found(0.5) < 0.95
    assert found(0.99) == found(0.7) > 0.99  # between two points the next one counts
    assert retriever.recommend("ann", k=5, recall=0.99).item_id == tuple(
        retriever.items.vocabulary.ids[row] for row in oracle.rank(queries([3, 4, 5]), 5).item_row[0].tolist()
    )


def test_what_the_index_does_not_reach_is_refused(retriever: Retriever) -> None:
    with pytest.raises(QueryError, match=r"recall = 0\.995: the index reaches 0\.99"):
        retriever.recommend("ann", recall=0.995)
    for nothing in (0.0, -0.9, float("nan")):
        with pytest.raises(QueryError, match=f"recall = {nothing}: expected a share, above 0 and below 1"):
            retriever.recommend("ann", recall=nothing)
    flat = Retriever(release(np.eye(8, dtype=np.float32), profiles={"ann": [1]}))
    with pytest.raises(QueryError, match="one depth of search"):
        flat.recommend("ann", recall=0.9)


def test_a_curve_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_curve(tmp_path) is None
    write_curve(CURVE, tmp_path)
    assert read_curve(tmp_path) == CURVE
    document = json.loads((tmp_path / CURVE_FILE).read_text())
    for change in ({"points": 3}, {"more": 1}, {"points": [{"target": 1.0}]}):
        (tmp_path / CURVE_FILE).write_text(json.dumps(document | change))
        with pytest.raises(ReleaseError, match="expected an operating curve"):
            read_curve(tmp_path)
