"""Vectors, real queries and a target → the cheapest index that meets it."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from retrieval.index.build import build_index
from retrieval.index.faiss.ivf import FaissIvf, build_ivf
from retrieval.index.operating import OperatingCurve, OperatingPoint, exact_rows, operating_curve
from retrieval.index.partitioned.build import frame_of, partitioned_in
from retrieval.index.partitioned.kernels import CODE_STEP
from retrieval.index.partitioned.partition import partition
from retrieval.index.spec import Codes, DepthIndex, Geometry, Index, IndexKind, IndexSpec, check_vectors
from towers.errors import IndexBuildError
from towers.settings import check_ranges

log = logging.getLogger(__name__)

TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99)
"""Recalls that an operating curve has a point for, besides the one that was asked for."""

# Items of the trial builds, and queries that trials and the curve are measured on.
_MAX_TRIAL_ITEMS, _NUM_TRIAL_QUERIES, _NUM_TUNING = 50_000, 300, 1000
_CODE_DIMS, _FIRST_CODE_DIM, _REFINE_FACTORS = (32, 64, 96, 128), 64, (1.2, 1.8)
# How many candidates are refined is decided over all items: the more there are, the more lie close together.
_WHOLE_FACTORS = (1.2, 1.8, 3.0, 5.0)
# Codes and depths of plain FAISS; one bit a coordinate was slower than its 2, and 32 slower than 8.
_PLAIN = ((Codes.PQ4, 1.5), (Codes.PQ4, 3.0), (Codes.SQ8, 1.2))

# A partition misses some of the answer: it must be this much cheaper than a scan.
_WORTHWHILE = 0.7


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate on a sample: what its search was reckoned to cost, in nanoseconds; None: out of reach."""

    spec: IndexSpec
    cost: float | None


@dataclass(frozen=True, slots=True)
class Compiled:
    """The spec to build it again and the index, its operating curve (None of a scan), and what was tried."""

    spec: IndexSpec
    index: Index
    curve: OperatingCurve | None
    trials: tuple[Trial, ...]


def compile_index(
    vectors: Float32[np.ndarray, "N D"], queries: Float32[np.ndarray, "Q D"], target: IndexSpec
) -> Compiled:
    """The cheapest index of the vectors that reaches the target, as far as trials can tell.

    queries: real ones; a thousand of them, or a third, are held back to measure on. On a sample of the items
    is tried: the geometry, the coordinates of a code, how many candidates are refined; and lists of plain
    FAISS. The cheapest that reaches the target over all items is taken; how many candidates it refines is
    tried again there. Costs are reckoned from what is read, not timed, so the outcome is a function of its
    input. Where nothing reaches the target well cheaper than a scan of everything, the outcome is a scan.
    Raises IndexBuildError on what cannot be indexed, and without queries.
    """
    check_ranges(target, "index")
    check_vectors(vectors)
    if len(queries) == 0:
        raise IndexBuildError("index: no query vectors; expected real ones to compile for")
    rng = np.random.default_rng(target.seed)
    shuffled = rng.permutation(len(queries))
    num_tuning = min(_NUM_TUNING, -(-len(queries) // 3))
    tuning, laid_out_for = queries[shuffled[:num_tuning]], queries[shuffled[num_tuning:]]
    if len(laid_out_for) == 0:
        laid_out_for = tuning
    rows = np.arange(len(vectors))
    if len(vectors) > _MAX_TRIAL_ITEMS:
        rows = np.sort(rng.choice(len(vectors), _MAX_TRIAL_ITEMS, replace=False))
    trials = _trials(vectors[rows], laid_out_for, tuning, target)
    scan = replace(target, kind=IndexKind.FLAT)
    scan_cost = _scan_cost(*vectors.shape)
    exact = exact_rows(vectors, tuning, min(target.target_k, len(vectors)))
    reaching = sorted((t for t in trials if t.cost is not None), key=lambda t: t.cost or 0.0)
    # Specs that differ in what is decided over all items are built once.
    for spec in dict.fromkeys(replace(trial.spec, refine_factor=_WHOLE_FACTORS[0]) for trial in reaching):
        built = build_index(spec, vectors, laid_out_for)
        assert isinstance(built, DepthIndex)
        index = _well_refined(built, tuning, exact, target)
        if index is None:
            continue
        curve = operating_curve(index, tuning, exact, {*TARGETS, target.target_recall})
        point = curve.at(target.target_recall)
        if point is None or curve.bytes_per_item > target.max_bytes_per_item:
            continue
        log.info(
            "index compiled kind=%s recall=%.4f codes=%.0f lists=%.0f bytes_per_item=%.0f",
            index.spec.kind,
            point.recall,
            point.codes,
            point.lists,
            curve.bytes_per_item,
        )
        if _cost(index, target.target_k, point) < _WORTHWHILE * scan_cost:
            index = index.to(point.stop)
            return Compiled(index.spec, index, curve, tuple(trials))
        break
    log.info("index compiled kind=%s: a scan is cheapest", scan.kind)
    return Compiled(scan, build_index(scan, vectors), None, tuple(trials))


def _well_refined(
    index: DepthIndex, tuning: np.ndarray, exact: np.ndarray, target: IndexSpec
) -> DepthIndex | None:
    """The same, refining as many candidates as make it cheapest at the target; None where it is beyond it."""
    asked, known = tuning[:_NUM_TRIAL_QUERIES], exact[:_NUM_TRIAL_QUERIES]
    found: list[tuple[float, DepthIndex]] = []
    for factor in _WHOLE_FACTORS:
        each = index.at(replace(index.spec, refine_factor=factor))
        point = operating_curve(each, asked, known, [target.target_recall]).at(target.target_recall)
        if point is not None:
            found.append((_cost(each, target.target_k, point), each))
    return min(found, key=lambda one: one[0])[1] if found else None


def _trials(
    items: np.ndarray, laid_out_for: np.ndarray, tuning: np.ndarray, target: IndexSpec
) -> list[Trial]:
    """Candidates on the sample: both geometries, then other codes for the better of them; and plain FAISS.

    What takes time is made once: lists by the geometry, whatever the code, and FAISS has those of its own.
    """
    k = min(target.target_k, len(items))
    tuning = tuning[:_NUM_TRIAL_QUERIES]
    exact = exact_rows(items, tuning, k)
    widest = -(-items.shape[1] // CODE_STEP) * CODE_STEP
    first = min(_FIRST_CODE_DIM, widest)
    base = replace(target, kind=IndexKind.PARTITIONED, code_dim=first)

    def tried(index: DepthIndex) -> Trial:
        point = operating_curve(index, tuning, exact, [target.target_recall]).at(target.target_recall)
        return Trial(index.spec, None if point is None else _cost(index, k, point))

    def partitions(geometry: Geometry, code_dim: int) -> list[Trial]:
        spec = replace(base, geometry=geometry, code_dim=code_dim)
        index = partitioned_in(frames[geometry], items, spec, laid_out_for)
        return [tried(index.at(replace(spec, refine_factor=factor))) for factor in _REFINE_FACTORS]

    def cheapest(trials: list[Trial]) -> float:
        return min((trial.cost for trial in trials if trial.cost is not None), default=np.inf)

    frames = {each: frame_of(items, replace(base, geometry=each), laid_out_for) for each in Geometry}
    by_geometry = {each: partitions(each, first) for each in Geometry}
    better = min(Geometry, key=lambda each: cheapest(by_geometry[each]))
    others = sorted({min(dim, widest) for dim in _CODE_DIMS} - {first})
    centres = partition(items, None, frames[Geometry.ITEMS].list_of).centre
    plain: dict[Codes, FaissIvf] = {}
    trials = [trial for each in by_geometry.values() for trial in each]
    trials += [trial for code_dim in others for trial in partitions(better, code_dim)]
    for codes, factor in _PLAIN:
        spec = replace(target, kind=IndexKind.IVF, codes=codes, refine_factor=factor)
        if codes not in plain:
            plain[codes] = build_ivf(items, spec, centres)
        trials.append(tried(plain[codes].at(spec)))
    return trials


def _cost(index: DepthIndex, k: int, point: OperatingPoint) -> float:
    """Nanoseconds of one query, reckoned from what it reads.

    Measured on one core of an EPYC of 2023: a code or a centre takes 2 and a thirty-second of one for each
    coordinate, a list 60, a candidate 60 to be kept, fetched and scored, and 10,000 whatever is read.
    Of FAISS beside it, in calls of 256 queries, over 4 to 256 of 512 and 2,048 lists of 100,000 items of 128
    coordinates, by least squares: for each coordinate a code of 2 bits takes 0.008, one of 8 bits 0.13 and a
    centre 0.02; a list 700, a candidate 90, and 15,000 whatever is read.
    """
    spec = index.spec
    num_refined = max(k * spec.refine_factor, k + spec.extra_candidates)
    if spec.kind is IndexKind.IVF:
        each = {Codes.PQ4: 0.008, Codes.SQ8: 0.13}[spec.codes] * point.codes + 0.02 * index.num_lists
        return 15_000.0 + each * index.dimension + 700.0 * point.lists + 90.0 * num_refined
    each = (2.0 + spec.code_dim / 32.0) * (point.codes + index.num_lists)
    return 10_000.0 + each + 60.0 * point.lists + 60.0 * num_refined


def _scan_cost(num_items: int, dimension: int) -> float:
    """Nanoseconds to score every item in float32, 16 bytes a nanosecond."""
    return num_items * dimension / 4.0
