"""The gates on candidates of which the fault is known."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from retrieval.index.build import build_index
from retrieval.index.exact import ExactIndex
from retrieval.index.spec import Index, IndexSpec
from retrieval.release.gates import Candidate, Gate, GateSettings, check_gates, gate
from tests.recall import recall_of
from towers.errors import GateError

SLICES = ("cold_items", "tail_items", "new_profiles", "long_histories")


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _candidate(
    vectors: np.ndarray,
    *,
    item_id: tuple[str, ...] | None = None,
    embedded: np.ndarray | None = None,
    query: np.ndarray | None = None,
    index: Index | None = None,
    num_events: np.ndarray | None = None,
    new: np.ndarray | None = None,
) -> Candidate:
    asked = _normal(9, 20, vectors.shape[1]) if query is None else query
    return Candidate(
        item_id=pa.array([f"i{row}" for row in range(len(vectors))] if item_id is None else item_id),
        vectors=vectors,
        searched=vectors,
        num_events=np.zeros(len(vectors), np.int64) if num_events is None else num_events,
        embed=lambda: vectors if embedded is None else embedded,
        encode=lambda: asked,
        build=lambda: build_index(IndexSpec(), vectors) if index is None else index,
        length=np.full(len(asked), 10),
        encode_new=lambda: asked[:0] if new is None else new,
        keep=lambda certificate: None,
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
        *((f"recall_of_{name}", None) for name in SLICES),
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
    with pytest.raises(GateError, match="FAILED recall: not measured"):
        check_gates(nobody, GateSettings(k=10))
    recall = check_gates(nobody, GateSettings(k=10, min_recall=0.0))[-5]
    assert (recall.name, recall.value, recall.passed) == ("recall", None, True)


def test_what_numpy_measured_is_kept_as_plain_json() -> None:
    made = gate(Gate.COVERAGE, np.float64(0.75), ">=", 0.5)
    assert made.passed is True
    assert json.dumps([made.value, made.bound, made.passed]) == "[0.75, 0.5, true]"


def test_a_value_that_is_nan_passes_no_gate() -> None:
    assert not any(gate(Gate.RECALL, float("nan"), sense, 0).passed for sense in (">=", "<=", "=="))


class _Losing(ExactIndex):
    """An index that never answers some of its items, and answers queries of a sign badly."""

    def __init__(self, vectors: np.ndarray, lost: np.ndarray, *, bad_below: float = -np.inf) -> None:
        super().__init__(vectors)
        self._lost, self._bad_below = lost, bad_below

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        score, row = super().search(query, self.size)
        kept = ~self._lost[row]
        kept[query[:, 0] < self._bad_below, : k // 2] = False  # of these the better half is not found
        order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(score, order, axis=1), np.take_along_axis(row, order, axis=1)


def test_an_index_that_is_fine_on_average_and_loses_the_tail_is_stopped() -> None:
    vectors = _normal(0, 1000, 8)
    lost = np.arange(1000) >= 700
    vectors[lost] *= 0.7  # seldom among the best of a query
    num_events = np.where(lost, 580, 1000)  # the head is four fifths of the events: all others
    candidate = _candidate(
        vectors, query=_normal(1, 200, 8), num_events=num_events, index=_Losing(vectors, lost)
    )
    with pytest.raises(GateError) as caught:
        check_gates(candidate, GateSettings(k=20))
    assert "passed recall: 0.9" in str(caught.value)
    assert str(caught.value).count("FAILED") == 1
    assert "FAILED recall_of_tail_items" in str(caught.value)
    assert "passed recall_of_cold_items: not measured" in str(caught.value)


def test_an_index_that_is_bad_for_new_profiles_is_stopped() -> None:
    vectors, asked, new = _normal(0, 500, 8), np.abs(_normal(1, 100, 8)), -np.abs(_normal(2, 100, 8))
    index = _Losing(vectors, np.zeros(500, bool), bad_below=0.0)
    with pytest.raises(GateError) as caught:
        check_gates(_candidate(vectors, query=asked, new=new, index=index), GateSettings(k=20))
    assert "passed recall: 1," in str(caught.value)
    assert "FAILED recall_of_new_profiles: 0." in str(caught.value)
    few = check_gates(_candidate(vectors, query=asked, new=new[:20], index=index), GateSettings(k=20))
    assert {one.name: (one.value, one.passed) for one in few}["recall_of_new_profiles"] == (None, True)


def test_lines_that_are_not_finite_are_counted_and_large_ones_are_not() -> None:
    vectors = _normal(0, 5, 4)
    vectors[0], vectors[1, :2], vectors[3, 2] = 3e38, [np.inf, -np.inf], np.nan
    with pytest.raises(GateError, match="FAILED finite_vectors: 2"):
        check_gates(_candidate(vectors), GateSettings(k=1))


def test_places_that_are_embedded_anew_are_held_to_their_own_vectors() -> None:
    vectors = _normal(0, 50, 4)
    again = np.array([3, 40])
    check_gates(replace(_candidate(vectors, embedded=vectors[again]), embedded=again), GateSettings(k=10))
    with pytest.raises(GateError, match="FAILED embedding_parity"):
        check_gates(
            replace(_candidate(vectors, embedded=vectors[again]), embedded=again + 1), GateSettings(k=10)
        )


def test_new_profiles_whose_queries_are_not_finite_are_counted() -> None:
    bad = np.full((2, 4), np.nan, np.float32)
    with pytest.raises(GateError, match="FAILED finite_queries: 2"):
        check_gates(_candidate(_normal(0, 50, 4), new=bad), GateSettings(k=10))
