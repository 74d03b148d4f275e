"""The gates on candidates of which the fault is known."""

import numpy as np
import pytest

from retrieval.index.build import build_index
from retrieval.index.exact import ExactIndex
from retrieval.index.spec import Index, IndexSpec
from retrieval.release.gates import Candidate, GateSettings, check_gates, gate, recall_of
from towers.errors import GateError


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _candidate(
    vectors: np.ndarray,
    *,
    item_id: tuple[str, ...] | None = None,
    embedded: np.ndarray | None = None,
    query: np.ndarray | None = None,
    index: Index | None = None,
) -> Candidate:
    return Candidate(
        item_id=tuple(f"i{row}" for row in range(len(vectors))) if item_id is None else item_id,
        vectors=vectors,
        searched=vectors,
        num_events=np.zeros(len(vectors), np.int64),
        embed=lambda: vectors if embedded is None else embedded,
        encode=lambda: _normal(9, 20, vectors.shape[1]) if query is None else query,
        build=lambda: build_index(IndexSpec(), vectors) if index is None else index,
    )


class _Permuted(ExactIndex):
    """An index over the right vectors whose rows are not theirs."""

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        score, row = super().search(query, k)
        return score, (row + 1) % self.size


class _Stuttering(ExactIndex):
    """An index that fills an answer with its best item."""

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        score, row = super().search(query, k)
        return np.repeat(score[:, :1], k, axis=1), np.repeat(row[:, :1], k, axis=1)


def test_a_sound_candidate_passes_every_gate() -> None:
    results = check_gates(_candidate(_normal(0, 50, 4)), GateSettings(k=10))
    assert [(result.name, result.value) for result in results] == [
        ("finite_vectors", 0.0),
        ("unique_ids", 0.0),
        ("export_counts", 0.0),
        ("embedding_parity", 0.0),
        ("finite_queries", 0.0),
        ("index_counts", 0.0),
        ("recall", 1.0),
    ]


def test_faults_are_named_with_value_and_bound() -> None:
    vectors = _normal(0, 50, 4)
    settings = GateSettings(k=10)
    moved = vectors.copy()
    moved[3, 1] += 0.25
    few = build_index(IndexSpec(), vectors[:48])
    faults = {
        "unique_ids: 1, expected == 0": _candidate(
            vectors, item_id=(*(f"i{row}" for row in range(49)), "i0")
        ),
        "export_counts: 1, expected == 0": _candidate(vectors, item_id=("i0",) * 49),
        "embedding_parity: 0.25, expected <= 0.0001": _candidate(vectors, embedded=moved),
        "embedding_parity: not measured": _candidate(vectors, embedded=vectors[:, :3]),
        "finite_queries: 2, expected == 0": _candidate(vectors, query=np.full((2, 4), np.nan, np.float32)),
        "index_counts: 2, expected == 0": _candidate(vectors, index=few),
        "recall: 0.": _candidate(vectors, index=_Permuted(vectors)),
        "recall: 0.1, expected >= 0.95": _candidate(vectors, index=_Stuttering(vectors)),
    }
    for message, candidate in faults.items():
        with pytest.raises(GateError) as caught:
            check_gates(candidate, settings)
        assert f"FAILED {message}" in str(caught.value)
        for name in ("finite_vectors", "unique_ids", "export_counts", "embedding_parity", "recall"):
            assert name in str(caught.value)


def test_recall_is_the_share_of_the_exact_answer_that_is_found() -> None:
    vectors = np.array([[4.0], [3.0], [2.0], [1.0]], np.float32)

    class Misses(ExactIndex):
        def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            score, _ = super().search(query, k)
            return score, np.array([[0, 3], [1, -1]])

    # Exact: rows 0 and 1 for one query, 3 and 2 for the other; found: row 0 for the one, none for the other.
    assert recall_of(Misses(vectors), vectors, np.array([[1.0], [-1.0]], np.float32), 2) == 0.25


def test_equal_items_are_no_misses() -> None:
    vectors = np.ones((10, 2), np.float32)

    class Reversed(ExactIndex):
        def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            score, row = super().search(query, k)
            return score, 9 - row

    assert recall_of(Reversed(vectors), vectors, _normal(1, 5, 2), 3) == 1.0


def test_recall_of_no_queries_is_not_measured_and_passes_only_a_bound_of_zero() -> None:
    vectors = _normal(0, 50, 4)
    nobody = _candidate(vectors, query=np.zeros((0, 4), np.float32))
    assert recall_of(build_index(IndexSpec(), vectors), vectors, np.zeros((0, 4), np.float32), 3) is None
    with pytest.raises(GateError, match="FAILED recall: not measured"):
        check_gates(nobody, GateSettings(k=10))
    recall = check_gates(nobody, GateSettings(k=10, min_recall=0.0))[-1]
    assert (recall.value, recall.passed) == (None, True)


def test_a_value_that_is_nan_passes_no_gate() -> None:
    assert not any(gate("g", float("nan"), sense, 0).passed for sense in (">=", "<=", "=="))
