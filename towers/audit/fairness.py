"""Whether quality is alike for all: by group of profiles, with intervals, and for groups within groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from towers.errors import QueryError
from towers.ladder.extra import of_extra


@dataclass(frozen=True, slots=True)
class GroupQuality:
    """The mean quality of the questions of one group; known is whether there are enough of them to tell."""

    group: str
    num_questions: int
    mean: float
    known: bool


@dataclass(frozen=True, slots=True)
class Fairness:
    """One dimension, or several crossed.

    groups: the best first. ratio: the worst mean over the best, of the groups with enough questions; low,
    high: its 95 % interval, by resampling questions within their groups. None where fewer than two have
    enough, or the best is 0.
    """

    dimension: str
    groups: tuple[GroupQuality, ...]
    ratio: float | None
    low: float | None
    high: float | None


def fairness(
    quality: Float64[np.ndarray, " Q"],
    labels: Sequence[tuple[str, np.ndarray]],
    *,
    min_questions: int = 30,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Fairness:
    """How evenly quality falls on the groups of these labels, crossed; "" is a group of its own, unknown.

    labels: by name, str (Q,). The worst of many small groups is below the best by chance alone: the interval
    of the ratio is around what was measured, and does not take that away. Groups and means are those of
    fairlearn's MetricFrame. Raises QueryError on unequal lengths or no questions, MissingExtraError without
    the extra `audit`.
    """
    if not labels or len(quality) == 0 or any(len(label) != len(quality) for _, label in labels):
        raise QueryError(
            f"fairness: {len(quality)} questions, labels of {[len(label) for _, label in labels]}; "
            "expected a label for each of at least one question"
        )
    metrics = of_extra("fairlearn.metrics", "fairness", "audit")
    frame = metrics.MetricFrame(
        metrics={"mean": _mean, "num": metrics.count},
        y_true=quality,
        y_pred=quality,
        sensitive_features={name: np.where(label == "", "unknown", label) for name, label in labels},
    )
    groups = sorted(
        (
            GroupQuality(
                " & ".join(key) if isinstance(key, tuple) else str(key),
                int(row["num"]),
                float(row["mean"]),
                bool(row["num"] >= min_questions),
            )
            for key, row in frame.by_group.dropna().iterrows()
        ),
        key=lambda group: (-group.mean, group.group),
    )
    dimension = " & ".join(name for name, _ in labels)
    enough = [group for group in groups if group.known]
    if len(enough) < 2 or enough[0].mean <= 0.0:
        return Fairness(dimension, tuple(groups), None, None, None)
    columns = [np.where(label == "", "unknown", label).tolist() for _, label in labels]
    crossed = np.array([" & ".join(row) for row in zip(*columns, strict=True)])
    rng = np.random.default_rng(seed)
    means = np.array([_resampled(quality[crossed == group.group], num_resamples, rng) for group in enough])
    best = means.max(axis=0)
    ratios = np.where(best > 0.0, means.min(axis=0) / np.where(best > 0.0, best, 1.0), 0.0)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Fairness(dimension, tuple(groups), enough[-1].mean / enough[0].mean, float(low), float(high))


def _mean(_: np.ndarray, quality: np.ndarray) -> float:
    return float(np.mean(quality))


def _resampled(quality: np.ndarray, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
    drawn: np.ndarray = quality[rng.integers(0, len(quality), (num_resamples, len(quality)))].mean(axis=1)
    return drawn
