"""What a candidate release must pass to become current."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from retrieval.id_table import IdTable
from retrieval.index.spec import Index
from retrieval.lists import RankedLists, sound
from retrieval.release.certificate import Certificate, SliceRecall, certify, find
from retrieval.release.manifest import GateResult
from towers.errors import ConfigError, GateError
from towers.recommender import Rankings
from towers.settings import bounded

log = logging.getLogger(__name__)

_MAX_OFF_UNIT = 1e-3
"""By how much a vector of unit length may be longer or shorter: far above rounding, far below what ranks."""

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
}


class Gate(StrEnum):
    """Every check by its name; docs/release.md says what each measures."""

    FINITE_VECTORS = "finite_vectors"
    UNIT_VECTORS = "unit_vectors"
    UNIQUE_IDS = "unique_ids"
    EXPORT_COUNTS = "export_counts"
    EMBEDDING_PARITY = "embedding_parity"
    FINITE_QUERIES = "finite_queries"
    INDEX_COUNTS = "index_counts"
    LIST_COUNTS = "list_counts"
    SOUND_LISTS = "sound_lists"
    ELIGIBILITY_PARITY = "eligibility_parity"
    RECALL = "recall"
    RECALL_OF_COLD_ITEMS = "recall_of_cold_items"
    RECALL_OF_TAIL_ITEMS = "recall_of_tail_items"
    RECALL_OF_NEW_PROFILES = "recall_of_new_profiles"
    RECALL_OF_LONG_HISTORIES = "recall_of_long_histories"
    RUNG_OVERLAP = "rung_overlap"
    TITLES_KEPT = "titles_kept"
    TRAINED_QUALITY = "trained_quality"
    QUALITY = "quality"
    COVERAGE = "coverage"
    POPULARITY_LIFT = "popularity_lift"
    EXPOSURE = "exposure"
    WATCHED_UNLICENSED = "watched_unlicensed"
    AVAILABLE = "available"
    LICENCES_CHANGED = "licences_changed"
    DAYS_BEHIND = "days_behind"
    LATENCY = "latency_ms"
    MEMORY = "memory_mib"


SOUNDNESS = frozenset(
    {
        Gate.FINITE_VECTORS,
        Gate.UNIT_VECTORS,
        Gate.UNIQUE_IDS,
        Gate.EXPORT_COUNTS,
        Gate.EMBEDDING_PARITY,
        Gate.FINITE_QUERIES,
        Gate.INDEX_COUNTS,
        Gate.LIST_COUNTS,
        Gate.SOUND_LISTS,
        Gate.ELIGIBILITY_PARITY,
    }
)
"""Gates that nobody can override: what fails one answers wrongly. What fails others is worse, or dearer."""


@dataclass(frozen=True, slots=True)
class LiveBounds:
    """How far a candidate may fall behind the release that is current; of no meaning where there is none.

    min_titles_kept: share of the live titles that it must have too. max_quality_loss: by how much its
    nDCG@10 on held-out questions may be sure to be lower, as a share of the live one's; num_questions: so
    many of them. min_coverage, max_popularity_lift, min_exposure: times the live one's share of the catalogue
    that is shown, lift of popularity and evenness of exposure (1 - Gini), in the top 10 of these questions.
    min_available: times the live one's share of titles with a licence, over the viewers' countries.
    max_licences_changed: share of titles and countries that the live table licensed otherwise at its own
    newest event: what is past does not change, unless a table is older than the live one. max_days_behind: by
    how much its newest event may be older, as it is where whoever watched last was erased. max_latency,
    max_memory: times the live one's, where no budget is given.
    """

    min_titles_kept: float = bounded(0.9, ge=0.0, le=1.0)
    max_quality_loss: float = bounded(0.05, ge=0.0, le=1.0)
    num_questions: int = bounded(2000, ge=0)
    min_coverage: float = bounded(0.5, ge=0.0)
    max_popularity_lift: float = bounded(1.5, ge=0.0)
    min_exposure: float = bounded(0.5, ge=0.0)
    min_available: float = bounded(0.9, ge=0.0, le=1.0)
    max_licences_changed: float = bounded(0.005, ge=0.0, le=1.0)
    max_days_behind: float = bounded(0.5, ge=0.0)
    max_latency: float = bounded(2.0, gt=0.0)
    max_memory: float = bounded(2.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Bounds on a candidate release.

    min_recall: share of the exact top k that the index finds; 0 lets a catalogue without any history be
    published, whose recall cannot be measured. min_slice_recall: the same of each slice of
    `certificate.RecallSlice`, which fails where its whole interval lies below; of too few queries to tell it
    passes. k: places compared, at most the catalogue.
    num_queries: profiles whose encoded histories are the queries, spread over all that have one.
    max_parity_error: largest difference in any coordinate between the exported item vectors and those that
    the exported tower gives for the same titles now. min_trained_quality: of the nDCG@10 that the training
    measured, so much is found as served, on the tables it learned from. max_watched_unlicensed: share of the
    newest events whose title has, by the table, no licence there and then. max_latency_ms: CPU time of one
    query; max_memory_mib: of the release opened; null: no more than `live` says.
    override: gates whose failure does not stop the release, with the reason in override_reason, which the
    manifest keeps. ConfigError on one that nobody can override (SOUNDNESS), or where the reason is missing.
    """

    min_recall: float = bounded(0.95, ge=0.0, le=1.0)
    min_slice_recall: float = bounded(0.90, ge=0.0, le=1.0)
    k: int = bounded(100, ge=1)
    num_queries: int = bounded(1000, ge=1)
    max_parity_error: float = bounded(1e-4, ge=0.0)
    min_trained_quality: float = bounded(0.9, ge=0.0, le=1.0)
    max_watched_unlicensed: float = bounded(0.1, ge=0.0, le=1.0)
    max_latency_ms: float | None = bounded(None, gt=0.0)
    max_memory_mib: float | None = bounded(None, gt=0.0)
    live: LiveBounds = field(default_factory=LiveBounds)
    override: list[Gate] = field(default_factory=list)
    override_reason: str = ""

    def __post_init__(self) -> None:
        for name in self.override:
            if name not in list(Gate) or name in SOUNDNESS:
                choice = ", ".join(each for each in Gate if each not in SOUNDNESS)
                raise ConfigError(f"gates.override: {name!r} cannot be overridden; expected some of {choice}")
        if self.override and not self.override_reason.strip():
            raise ConfigError(
                "gates.override_reason: not given; expected why these gates may fail, for the manifest"
            )


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is about to be published; each step is taken once, and only where the checks before it passed.

    item_id: the catalogue. vectors: exported, (N, D). searched: what of them is searched, (N, S).
    num_events: exported, (N,). is_unit: whether vectors are of unit length by their making. embed: the same
    titles embedded anew, (N, D), or those of the places `embedded`, (E, D), where it is given. encode: real
    histories as queries, (Q, S), or (Q, K, S) of K interests. build: the index of what is searched, as it is
    read from the release. length: events of each of these histories; encode_new: as encode, of the same
    profiles when they were new. keep: is given what was certified of the index. num_repeated: how many ids
    stand in a line before, where the caller has counted them.
    """

    item_id: pa.Array
    vectors: Float32[np.ndarray, "N D"]
    searched: Float32[np.ndarray, "N S"]
    num_events: Int64[np.ndarray, " M"]
    embed: Callable[[], np.ndarray]
    encode: Callable[[], np.ndarray]
    build: Callable[[], Index]
    length: Int64[np.ndarray, " Q"]
    encode_new: Callable[[], np.ndarray]
    keep: Callable[[Certificate], None]
    is_unit: bool = False
    embedded: Int64[np.ndarray, " E"] | None = None
    num_repeated: int | None = None


def check_gates(candidate: Candidate, settings: GateSettings) -> tuple[GateResult, ...]:
    """Every gate's result, all passed; GateError lists every gate with value and bound where one failed.

    finite_vectors, finite_queries: lines with NaN or infinity. unit_vectors: the largest difference of a
    length from 1, where it is to be that. unique_ids: ids that stand more than once.
    export_counts, index_counts: the largest difference between the counts of titles, vectors and event
    counts, and between titles and index. embedding_parity, recall: see GateSettings. recall_of_…: the upper
    end of the interval of a slice, None where its queries are too few to tell.
    """
    num_items, vectors = len(candidate.item_id), candidate.vectors
    results = [
        gate(Gate.FINITE_VECTORS, _num_not_finite(vectors), "==", 0),
        *([gate(Gate.UNIT_VECTORS, _off_unit(vectors), "<=", _MAX_OFF_UNIT)] if candidate.is_unit else []),
        gate(Gate.UNIQUE_IDS, _num_repeated(candidate), "==", 0),
        gate(Gate.EXPORT_COUNTS, _spread(num_items, len(vectors), len(candidate.num_events)), "==", 0),
    ]
    query, new, parity, num_bad_queries, count, recall = None, None, None, None, None, None
    certificate: Certificate | None = None
    if all_passed(results):
        chosen = candidate.embedded
        parity = _parity(vectors if chosen is None else vectors[chosen], candidate.embed())
        query, new = candidate.encode(), candidate.encode_new()
        num_bad_queries = _num_not_finite(query) + _num_not_finite(new)
    results.append(gate(Gate.EMBEDDING_PARITY, parity, "<=", settings.max_parity_error))
    results.append(gate(Gate.FINITE_QUERIES, num_bad_queries, "==", 0))
    if query is not None and new is not None and all_passed(results):
        index = candidate.build()
        count = _spread(num_items, index.size)
        certificate = _certified(candidate, index, query, new, min(settings.k, num_items))
        recall = certificate.slices[0].recall
        candidate.keep(certificate)
    results.append(gate(Gate.INDEX_COUNTS, count, "==", 0))
    results.append(gate(Gate.RECALL, recall, ">=", settings.min_recall))
    if query is not None and len(query) == 0 and settings.min_recall == 0.0 and count == 0:
        results[-1] = GateResult(Gate.RECALL, None, ">=", 0.0, passed=True)
    if certificate is not None:
        results += [_slice_gate(each, settings.min_slice_recall) for each in certificate.slices[1:]]
    return require(results, settings)


def _num_repeated(candidate: Candidate) -> int:
    if candidate.num_repeated is not None:
        return candidate.num_repeated
    return IdTable(candidate.item_id.cast(pa.large_string())).num_repeated


def _certified(candidate: Candidate, index: Index, query: np.ndarray, new: np.ndarray, k: int) -> Certificate:
    # All at once: every vector is read once for them.
    found = find(index, candidate.searched, np.concatenate([query, new]), k)
    of_new = found.of(slice(len(query), None)) if len(new) else None
    return certify(found.of(slice(len(query))), of_new, candidate.num_events, candidate.length)


def _slice_gate(recall: SliceRecall, least: float) -> GateResult:
    name = Gate(f"recall_of_{recall.slice.value}")
    if recall.too_few:
        return not_measured(name, ">=", least)
    return gate(name, recall.high, ">=", least)


def check_lists(lists: RankedLists, item_id: Sequence[str], settings: GateSettings) -> tuple[GateResult, ...]:
    """The results of a release of lists, all passed; GateError where one failed.

    unique_ids: ids that stand more than once. list_counts: the difference between titles and event counts.
    sound_lists: lists with an item twice, padding before an item, or scores that rise or are not finite.
    """
    return require(
        [
            gate(Gate.UNIQUE_IDS, len(item_id) - len(set(item_id)), "==", 0),
            gate(Gate.LIST_COUNTS, _spread(len(item_id), len(lists.num_events)), "==", 0),
            gate(Gate.SOUND_LISTS, int((~sound(lists)).sum()), "==", 0),
        ],
        settings,
    )


def rung_overlap(served: Rankings, own: Rankings, *, least: float) -> GateResult:
    """The share of a rung's own answers that its release, read back, gives to the same queries."""
    pairs = zip(own.item_row, served.item_row, strict=True)
    num_found = sum(int(np.isin(row[row >= 0], other).sum()) for row, other in pairs)
    num_own = int((own.item_row >= 0).sum())
    return gate(Gate.RUNG_OVERLAP, num_found / num_own if num_own else None, ">=", least)


def require(results: Sequence[GateResult], settings: GateSettings) -> tuple[GateResult, ...]:
    """The results, all passed or overridden; GateError lists every gate with value and bound elsewhere."""
    override = frozenset(settings.override)
    results = [
        replace(one, override=settings.override_reason) if not one.passed and one.name in override else one
        for one in results
    ]
    if not all_passed(results):
        lines = "\n  ".join(map(str, results))
        raise GateError(
            "the candidate release did not pass its gates and was not published:\n  "
            + lines
            + _way_on(results)
        )
    log.info("gates passed %s", " ".join(f"{one.name}={_decimals(one.value)}" for one in results))
    for one in results:
        if one.override is not None:
            log.warning("gate overridden %s", one)
    return tuple(results)


def all_passed(results: Sequence[GateResult]) -> bool:
    """Whether none of them stops a release."""
    return all(result.passed or result.override is not None for result in results)


def gate(name: Gate, value: float | int | None, sense: str, bound: float | int) -> GateResult:
    """The result of one check; a value that is missing or NaN does not pass."""
    # What is measured by NumPy is of its types, which no manifest holds.
    passed = value is not None and bool(_HOLDS[sense](value, bound))
    return GateResult(name.value, None if value is None else float(value), sense, float(bound), passed)


def not_measured(name: Gate, sense: str, bound: float) -> GateResult:
    """The result of a check that has nothing to look at, and so stops nothing."""
    return GateResult(name.value, None, sense, bound, passed=True)


def _way_on(results: Sequence[GateResult]) -> str:
    """How it can be published all the same, where that is for somebody to decide."""
    failed = [one.name for one in results if not one.passed]
    if any(name in SOUNDNESS for name in failed):
        return ""
    return (
        f"\nto publish it all the same: gates.override=[{','.join(failed)}] gates.override_reason='why', "
        "which the manifest keeps"
    )


def _decimals(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _num_not_finite(vectors: np.ndarray) -> int:
    lines = vectors.reshape(len(vectors), math.prod(vectors.shape[1:]))
    # A sum that is finite is one of finite numbers: the others alone, too large ones too, are looked through.
    with np.errstate(over="ignore", invalid="ignore"):
        doubtful = ~np.isfinite(lines @ np.ones(lines.shape[1], lines.dtype))
    return int((~np.isfinite(lines[doubtful]).all(axis=1)).sum())


def _off_unit(vectors: np.ndarray) -> float:
    # As np.linalg.norm gives it, without two copies of all vectors.
    return float(np.abs(np.sqrt(np.einsum("nd,nd->n", vectors, vectors)) - 1.0).max(initial=0.0))


def _spread(*counts: int) -> int:
    return max(counts) - min(counts)


def _parity(vectors: np.ndarray, embedded: np.ndarray) -> float | None:
    """Largest absolute difference; None where the shapes differ, so that nothing can be compared."""
    if vectors.shape != embedded.shape:
        return None
    return float(np.abs(vectors - embedded).max(initial=0.0))
