"""Vectors, real queries and a target → the cheapest index that meets it."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from retrieval.index.build import build_index
from retrieval.index.operating import OperatingCurve, exact_rows, operating_curve
from retrieval.index.partitioned.index import PartitionedIndex
from retrieval.index.partitioned.kernels import CODE_STEP
from retrieval.index.spec import Geometry, Index, IndexKind, IndexSpec, check_vectors
from towers.errors import IndexBuildError
from towers.settings import check_ranges

log = logging.getLogger(__name__)

TARGETS = (0.8, 0.9, 0.95, 0.98, 0.99)
"""Recalls that an operating curve has a point for, besides the one that was asked for."""

# Items of the trial builds, and queries that trials and the curve are measured on.
_MAX_TRIAL_ITEMS, _NUM_TRIAL_QUERIES, _NUM_TUNING = 50_000, 300, 1000
_CODE_DIMS, _FIRST_CODE_DIM, _REFINE_FACTORS = (32, 64, 96, 128), 64, (1.2, 1.8)

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
    is tried: the geometry, the coordinates of a code, how many candidates are refined. Costs are reckoned
    from what is read, not timed, so the outcome is a function of its input. Where no partition reaches the
    target well cheaper than a scan of everything, the outcome is a scan.
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
    for trial in sorted((t for t in trials if t.cost is not None), key=lambda t: t.cost or 0.0):
        index = build_index(trial.spec, vectors, laid_out_for)
        assert isinstance(index, PartitionedIndex)
        exact = exact_rows(vectors, tuning, min(target.target_k, len(vectors)))
        curve = operating_curve(index, tuning, exact, {*TARGETS, target.target_recall})
        point = curve.at(target.target_recall)
        if point is None or curve.bytes_per_item > target.max_bytes_per_item:
            continue
        cost = _cost(index, trial.spec, target.target_k, point.codes, point.lists)
        log.info(
            "index compiled geometry=%s code_dim=%d refine_factor=%g stop=%.2f recall=%.4f codes=%.0f",
            trial.spec.geometry,
            trial.spec.code_dim,
            trial.spec.refine_factor,
            point.stop,
            point.recall,
            point.codes,
        )
        if cost < _WORTHWHILE * scan_cost:
            return Compiled(replace(trial.spec, stop=point.stop), index, curve, tuple(trials))
        break
    log.info("index compiled kind=%s: a scan is cheapest", scan.kind)
    return Compiled(scan, build_index(scan, vectors), None, tuple(trials))


def _trials(
    items: np.ndarray, laid_out_for: np.ndarray, tuning: np.ndarray, target: IndexSpec
) -> list[Trial]:
    """Candidates on the sample: both geometries, then other codes and depths for the better of them."""
    k = min(target.target_k, len(items))
    tuning = tuning[:_NUM_TRIAL_QUERIES]
    exact = exact_rows(items, tuning, k)
    widest = -(-items.shape[1] // CODE_STEP) * CODE_STEP

    def tried(geometry: Geometry, code_dim: int) -> list[Trial]:
        spec = replace(target, kind=IndexKind.PARTITIONED, geometry=geometry, code_dim=code_dim)
        index = build_index(spec, items, laid_out_for)
        assert isinstance(index, PartitionedIndex)
        trials = []
        for factor in _REFINE_FACTORS:
            deep = replace(spec, refine_factor=factor)
            point = operating_curve(index.at(deep), tuning, exact, [target.target_recall]).at(
                target.target_recall
            )
            cost = None if point is None else _cost(index, deep, k, point.codes, point.lists)
            trials.append(Trial(deep, cost))
        return trials

    def cheapest(trials: list[Trial]) -> float:
        return min((trial.cost for trial in trials if trial.cost is not None), default=np.inf)

    by_geometry = [tried(geometry, min(_FIRST_CODE_DIM, widest)) for geometry in Geometry]
    better = min(by_geometry, key=cheapest)[0].spec.geometry
    others = sorted({min(dim, widest) for dim in _CODE_DIMS} - {min(_FIRST_CODE_DIM, widest)})
    return [trial for each in by_geometry for trial in each] + [
        trial for code_dim in others for trial in tried(better, code_dim)
    ]


def _cost(index: PartitionedIndex, spec: IndexSpec, k: int, codes: float, lists: float) -> float:
    """Nanoseconds of one query, reckoned from what it reads.

    Measured on one core of an EPYC of 2023: a code or a centre takes 2 and a thirty-second of one for each
    coordinate, a list 60, a candidate 60 to be kept, fetched and scored, and 10,000 whatever is read.
    """
    num_refined = max(k * spec.refine_factor, k + spec.extra_candidates)
    return (
        10_000.0
        + (2.0 + spec.code_dim / 32.0) * (codes + index.num_lists)
        + 60.0 * lists
        + 60.0 * num_refined
    )


def _scan_cost(num_items: int, dimension: int) -> float:
    """Nanoseconds to score every item in float32, 16 bytes a nanosecond."""
    return num_items * dimension / 4.0
