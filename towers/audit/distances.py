"""How far the profiles of a log are from the population that is meant, dimension by dimension."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from towers.audit.reference import Reference
from towers.audit.representation import design_effect
from towers.audit.segments import UNKNOWN, Audience, Dimension

_NUM_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Distance:
    """Of one dimension.

    total_variation: ½ Σ |p - q|, the share of profiles that would have to be others. jensen_shannon: the
    distance, √ of the divergence in bits, 0 to 1 (Lin 1991, doi:10.1109/18.61115). low, high: the 95 %
    interval of the total variation, by the basic bootstrap, since a sample is always farther away than what
    it is drawn from. by_chance: what a sample of this size of the population itself stays below, 95 times
    in 100.
    """

    dimension: Dimension
    num_profiles: int
    total_variation: float
    low: float
    high: float
    by_chance: float
    jensen_shannon: float


def distances(audience: Audience, reference: Reference, seed: int = 0) -> tuple[Distance, ...]:
    """One for each dimension that both know; what is in neither's segments counts too."""
    return tuple(
        _distance(dimension, audience.segment[dimension], audience.cluster, shares, seed)
        for dimension, shares in reference.shares.items()
        if dimension in audience.segment
    )


def _distance(
    dimension: Dimension, label: np.ndarray, cluster: np.ndarray, shares: Mapping[str, float], seed: int
) -> Distance:
    known = label != UNKNOWN
    names = sorted({*shares, *np.unique(label[known]).tolist()})
    code = np.searchsorted(names, label[known])
    q = np.array([shares.get(name, 0.0) for name in names])
    p = np.bincount(code, minlength=len(names)) / len(code)
    # As many profiles as the sample is worth, households allowed for; of the log and of the population.
    num = max(1, round(len(code) / design_effect(code, cluster[known])))
    rng = np.random.default_rng(seed)
    of_log, of_population = (rng.multinomial(num, each / each.sum(), _NUM_DRAWS) / num for each in (p, q))
    value = float(total_variation(p, q))
    low, high = np.quantile(total_variation(of_log, q), [0.025, 0.975])
    return Distance(
        dimension,
        len(code),
        value,
        max(0.0, 2.0 * value - float(high)),
        max(0.0, 2.0 * value - float(low)),
        float(np.quantile(total_variation(of_population, q), 0.95)),
        jensen_shannon(p, q),
    )


def total_variation(p: Float64[np.ndarray, "*n s"], q: Float64[np.ndarray, " s"]) -> np.ndarray:
    """½ Σ |p - q|."""
    half: np.ndarray = 0.5 * np.abs(p - q).sum(axis=-1)
    return half


def jensen_shannon(p: Float64[np.ndarray, " s"], q: Float64[np.ndarray, " s"]) -> float:
    """√(½ KL(p‖m) + ½ KL(q‖m)) in bits, m = ½ (p + q)."""
    middle = 0.5 * (p + q)
    bits = sum(float((a[a > 0] * np.log2(a[a > 0] / middle[a > 0])).sum()) for a in (p, q))
    return float(np.sqrt(max(0.0, 0.5 * bits)))
