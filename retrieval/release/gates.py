"""What a candidate release must pass to become current."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.index.spec import Index
from retrieval.lists import RankedLists, sound
from retrieval.release.certificate import Certificate, SliceRecall, certify, find
from retrieval.release.manifest import GateResult
from towers.errors import GateError
from towers.recommender import Rankings
from towers.settings import bounded

log = logging.getLogger(__name__)

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
}


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Bounds on a candidate release.

    min_recall: share of the exact top k that the index finds; 0 lets a catalogue without any history be
    published, whose recall cannot be measured. min_slice_recall: the same of each slice of
    `certificate.RecallSlice`, which fails where its whole interval lies below; of too few queries to tell it
    passes. k: places compared, at most the catalogue.
    num_queries: profiles whose encoded histories are the queries, spread over all that have one.
    max_parity_error: largest difference in any coordinate between the exported item vectors and those that
    the exported tower gives for the same titles now.
    """

    min_recall: float = bounded(0.95, ge=0.0, le=1.0)
    min_slice_recall: float = bounded(0.90, ge=0.0, le=1.0)
    k: int = bounded(100, ge=1)
    num_queries: int = bounded(1000, ge=1)
    max_parity_error: float = bounded(1e-4, ge=0.0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is about to be published; each step is taken once, and only where the checks before it passed.

    item_id: the catalogue. vectors: exported, (N, D). searched: what of them is searched, (N, S).
    num_events: exported, (N,). embed: the same titles embedded anew, (N, D). encode: real histories as
    queries, (Q, S), or (Q, K, S) of K interests. build: the index of what is searched, as it is read from
    the release. length: events of each of these histories; encode_new: as encode, of the same profiles when
    they were new. keep: is given what was certified of the index.
    """

    item_id: Sequence[str]
    vectors: Float32[np.ndarray, "N D"]
    searched: Float32[np.ndarray, "N S"]
    num_events: Int64[np.ndarray, " M"]
    embed: Callable[[], np.ndarray]
    encode: Callable[[], np.ndarray]
    build: Callable[[], Index]
    length: Int64[np.ndarray, " Q"]
    encode_new: Callable[[], np.ndarray]
    keep: Callable[[Certificate], None]


def check_gates(candidate: Candidate, settings: GateSettings) -> tuple[GateResult, ...]:
    """Every gate's result, all passed; GateError lists every gate with value and bound where one failed.

    finite_vectors, finite_queries: lines with NaN or infinity. unique_ids: ids that stand more than once.
    export_counts, index_counts: the largest difference between the counts of titles, vectors and event
    counts, and between titles and index. embedding_parity, recall: see GateSettings. recall_of_…: the upper
    end of the interval of a slice, None where its queries are too few to tell.
    """
    num_items, vectors = len(candidate.item_id), candidate.vectors
    results = [
        gate("finite_vectors", _num_not_finite(vectors), "==", 0),
        gate("unique_ids", num_items - len(set(candidate.item_id)), "==", 0),
        gate("export_counts", _spread(num_items, len(vectors), len(candidate.num_events)), "==", 0),
    ]
    query, new, parity, num_bad_queries, count, recall = None, None, None, None, None, None
    certificate: Certificate | None = None
    if _all_passed(results):
        parity = _parity(vectors, candidate.embed())
        query, new = candidate.encode(), candidate.encode_new()
        num_bad_queries = _num_not_finite(query) + _num_not_finite(new)
    results.append(gate("embedding_parity", parity, "<=", settings.max_parity_error))
    results.append(gate("finite_queries", num_bad_queries, "==", 0))
    if query is not None and new is not None and _all_passed(results):
        index = candidate.build()
        count = _spread(num_items, index.size)
        certificate = _certified(candidate, index, query, new, min(settings.k, num_items))
        recall = certificate.slices[0].recall
        candidate.keep(certificate)
    results.append(gate("index_counts", count, "==", 0))
    results.append(gate("recall", recall, ">=", settings.min_recall))
    if query is not None and len(query) == 0 and settings.min_recall == 0.0 and count == 0:
        results[-1] = GateResult("recall", None, ">=", 0.0, passed=True)
    if certificate is not None:
        results += [_slice_gate(each, settings.min_slice_recall) for each in certificate.slices[1:]]
    return require(results)


def _certified(candidate: Candidate, index: Index, query: np.ndarray, new: np.ndarray, k: int) -> Certificate:
    of_new = find(index, candidate.searched, new, k) if len(new) else None
    of_all = find(index, candidate.searched, query, k)
    return certify(of_all, of_new, candidate.num_events, candidate.length)


def _slice_gate(recall: SliceRecall, least: float) -> GateResult:
    name = f"recall_of_{recall.slice.value}"
    if recall.too_few:
        return GateResult(name, None, ">=", least, passed=True)
    return gate(name, recall.high, ">=", least)


def check_lists(lists: RankedLists, item_id: Sequence[str]) -> tuple[GateResult, ...]:
    """The results of a release of lists, all passed; GateError where one failed.

    unique_ids: ids that stand more than once. list_counts: the difference between titles and event counts.
    sound_lists: lists with an item twice, padding before an item, or scores that rise or are not finite.
    """
    return require(
        [
            gate("unique_ids", len(item_id) - len(set(item_id)), "==", 0),
            gate("list_counts", _spread(len(item_id), len(lists.num_events)), "==", 0),
            gate("sound_lists", int((~sound(lists)).sum()), "==", 0),
        ]
    )


def rung_overlap(served: Rankings, own: Rankings, *, least: float) -> GateResult:
    """The share of a rung's own answers that its release, read back, gives to the same queries."""
    pairs = zip(own.item_row, served.item_row, strict=True)
    num_found = sum(int(np.isin(row[row >= 0], other).sum()) for row, other in pairs)
    num_own = int((own.item_row >= 0).sum())
    return gate("rung_overlap", num_found / num_own if num_own else None, ">=", least)


def require(results: Sequence[GateResult]) -> tuple[GateResult, ...]:
    """The results, all passed; GateError lists every gate with value and bound where one failed."""
    if not _all_passed(results):
        lines = "\n  ".join(map(str, results))
        raise GateError(f"the candidate release did not pass its gates and was not published:\n  {lines}")
    log.info("gates passed %s", " ".join(f"{one.name}={_decimals(one.value)}" for one in results))
    return tuple(results)


def gate(name: str, value: float | int | None, sense: str, bound: float | int) -> GateResult:
    """The result of one check; a value that is missing or NaN does not pass."""
    passed = value is not None and _HOLDS[sense](value, bound)
    return GateResult(name, None if value is None else float(value), sense, float(bound), passed)


def recall_of(
    index: Index, vectors: Float32[np.ndarray, "N D"], query: Float32[np.ndarray, "Q *I D"], k: int
) -> float | None:
    """Mean share of the exact top k that the index finds, 1 <= k <= N; None without queries.

    An item that scores no less than the k-th of the exact answer counts, so equal items are no misses; see
    `certificate.find`.
    """
    if len(query) == 0:
        return None
    return int(find(index, vectors, query, k).hits.sum()) / (len(query) * k)


def _decimals(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _all_passed(results: Sequence[GateResult]) -> bool:
    return all(result.passed for result in results)


def _num_not_finite(vectors: np.ndarray) -> int:
    return int((~np.isfinite(vectors).all(axis=tuple(range(1, vectors.ndim)))).sum())


def _spread(*counts: int) -> int:
    return max(counts) - min(counts)


def _parity(vectors: np.ndarray, embedded: np.ndarray) -> float | None:
    """Largest absolute difference; None where the shapes differ, so that nothing can be compared."""
    if vectors.shape != embedded.shape:
        return None
    return float(np.abs(vectors - embedded).max(initial=0.0))
