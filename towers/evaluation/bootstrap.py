"""How sure a mean, or a difference between two recommenders, is: the bootstrap over queries."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from towers.errors import QueryError

# Draws held at once, so that memory does not grow with the number of queries.
_MAX_DRAWS = 1 << 21


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference of means and the interval that holds it at `level`, both in the metric's own unit."""

    difference: float
    low: float
    high: float
    level: float


def paired_bootstrap(
    value: Float64[np.ndarray, " Q"],
    reference: Float64[np.ndarray, " Q"],
    *,
    num_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """mean(value) - mean(reference) with its percentile interval, over the same Q queries.

    Queries are drawn with replacement, each with both of its values, so that what makes a query hard for
    both cancels. Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13. Raises
    QueryError on unequal lengths, no queries, values that are not finite, or settings out of range.
    """
    if len(value) != len(reference):
        raise QueryError(f"{len(value)} values against {len(reference)}; expected the same queries")
    if len(value) == 0:
        raise QueryError("a difference over no queries; expected at least one")
    _check_settings(num_resamples, level)
    difference = value - reference
    if not np.all(np.isfinite(difference)):
        raise QueryError("values that are not finite; expected one finite value per query")
    means = _resampled_means(difference, num_resamples, np.random.default_rng(seed))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(difference.mean()), float(low), float(high), level)


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean and the interval that holds it at `level`, both in the metric's own unit."""

    mean: float
    low: float
    high: float
    level: float


def mean_intervals(
    values: Mapping[str, Float64[np.ndarray, " Q"]],
    *,
    num_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, MeanInterval | None]:
    """The mean of each metric with its percentile interval, over the same Q queries.

    None of fewer than two queries, which have no spread; too narrow where they are few, and without width
    where all have the same value. Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap,
    chapter 13. Raises QueryError on unequal lengths, values not finite, or settings out of range.
    """
    _check_settings(num_resamples, level)
    table = np.array(list(values.values())) if len({len(value) for value in values.values()}) == 1 else None
    if table is None or not np.all(np.isfinite(table)):
        raise QueryError(
            "values that are not finite or of unequal lengths; expected one per query and metric"
        )
    num_queries = table.shape[1]
    if num_queries < 2:
        return dict.fromkeys(values)
    means = np.array([_means_of_resamples(value, num_resamples, seed) for value in table])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=1)
    return {
        name: MeanInterval(float(value.mean()), float(low[place]), float(high[place]), level)
        for place, (name, value) in enumerate(zip(values, table, strict=True))
    }


def _means_of_resamples(value: np.ndarray, num_resamples: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    distinct, count = np.unique(value, return_counts=True)
    if 16 * len(distinct) > len(value):
        return _resampled_means(value, num_resamples, rng)
    # How often each distinct value is drawn is multinomial: far fewer draws where there are few of them.
    drawn = rng.multinomial(len(value), count / len(value), size=num_resamples)
    means: np.ndarray = drawn @ distinct / len(value)
    return means


def _check_settings(num_resamples: int, level: float) -> None:
    if num_resamples < 1 or not 0.0 < level < 1.0:
        raise QueryError(
            f"num_resamples = {num_resamples}, level = {level}; expected >= 1 and between 0 and 1"
        )


def _resampled_means(difference: np.ndarray, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
    num_queries = len(difference)
    # Queries on which both agree add nothing but their count: most are zero in a hit-or-miss metric, so a
    # resample draws how many others it holds (binomial) and then only those.
    others = difference[difference != 0.0]
    counts = rng.binomial(num_queries, len(others) / num_queries, size=num_resamples)
    sums = np.zeros(num_resamples)
    step = max(1, _MAX_DRAWS // max(1, len(others)))
    for start in range(0, num_resamples, step):
        part = counts[start : start + step]
        owner = np.repeat(np.arange(len(part)), part)
        drawn = rng.integers(0, max(1, len(others)), size=len(owner))
        if len(drawn):
            sums[start : start + len(part)] = np.bincount(owner, others[drawn], minlength=len(part))
    return sums / num_queries
