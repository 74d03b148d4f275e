"""Full-catalogue quality of any Recommender on held-out questions, whole and by slice."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from rich.console import Console
from rich.progress import Progress

from towers.data.split import HeldOut
from towers.errors import QueryError
from towers.evaluation import metrics
from towers.recommender import PAD, Queries, Rankings, Recommender

log = logging.getLogger(__name__)


class Metric(StrEnum):
    """What is measured per query; the formulae are in `metrics`."""

    RECALL = "recall"
    NDCG = "ndcg"
    RECIPROCAL_RANK = "reciprocal_rank"

    def at(self, k: int) -> str:
        """The name of this metric at k places, as it stands in an evaluation: ndcg@10."""
        return f"{self.value}@{k}"


class Slice(StrEnum):
    """Subsets of the questions, or of their targets."""

    ALL = "all"
    KNOWN_PROFILES = "known_profiles"
    """Questions with a history."""
    NEW_PROFILES = "new_profiles"
    """Questions with an empty history."""
    SEEN_ITEMS = "seen_items"
    """Only the targets with train events, of the questions that have such."""
    COLD_ITEMS = "cold_items"
    """Only the targets without train events, of the questions that have such."""


@dataclass(frozen=True, slots=True)
class SliceValues:
    """Per-query metrics of n questions.

    query: int64 (n,), their places among all questions.
    num_targets: targets of these questions that count here.
    values: metric name → float64 (n,).
    """

    query: Int64[np.ndarray, " n"]
    num_targets: int
    values: Mapping[str, Float64[np.ndarray, " n"]]

    @property
    def means(self) -> dict[str, float | None]:
        """Mean of each metric; None where the slice has no question."""
        return {name: float(value.mean()) if len(value) else None for name, value in self.values.items()}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one recommender did on Q held-out questions.

    profile_row: int64 (Q,), whose questions they were; target_offset, target_row: int64 (Q+1,) and (T,),
        their targets, as in HeldOut: evaluations pair only over the same questions with the same targets.
    slices: per-query values by slice; item slices only where the items seen in train were given.
    coverage: k → share of the catalogue shown to anyone.
    degraded: reason → number of answers that were not the ones asked for.
    """

    recommender: str
    ks: tuple[int, ...]
    num_items: int
    profile_row: Int64[np.ndarray, " Q"]
    target_offset: Int64[np.ndarray, " Q1"]
    target_row: Int64[np.ndarray, " T"]
    slices: Mapping[Slice, SliceValues]
    coverage: Mapping[int, float]
    degraded: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_queries(self) -> int:
        """Questions asked."""
        return len(self.profile_row)

    @property
    def means(self) -> dict[str, float | None]:
        """Mean of each metric over all questions."""
        return self.slices[Slice.ALL].means

    def per_query(self, name: str, part: Slice = Slice.ALL) -> Float64[np.ndarray, " n"]:
        """The values of one metric, such as ndcg@10, for the questions of one slice."""
        if part not in self.slices:
            raise QueryError(f"{self.recommender}: slice {part} was not evaluated; have {list(self.slices)}")
        values = self.slices[part].values
        if name not in values:
            raise QueryError(f"{self.recommender}: {name} was not evaluated; have {sorted(values)}")
        return values[name]

    def to_json(self) -> dict[str, Any]:
        """Means by metric name, coverage and counts as JSON-ready values; nothing per profile."""
        return {
            **self.means,
            **{f"coverage@{k}": share for k, share in self.coverage.items()},
            "num_queries": self.num_queries,
            "num_items": self.num_items,
            "degraded": dict(self.degraded),
            "slices": {
                part.value: {
                    "num_queries": len(values.query),
                    "num_targets": values.num_targets,
                    **values.means,
                }
                for part, values in self.slices.items()
                if part is not Slice.ALL
            },
        }


def evaluate(
    recommender: Recommender,
    held_out: HeldOut,
    *,
    num_items: int,
    ks: tuple[int, ...] = (10, 100),
    batch_size: int = 1024,
    seen: Bool[np.ndarray, " N"] | None = None,
    name: str | None = None,
    show_progress: bool = True,
) -> Evaluation:
    """R@k, N@k and RR@k per question and coverage@k, over the full catalogue of `num_items`.

    seen: items with train events (Split.seen); where given, cold and seen targets are told apart.
    name: what the table calls the recommender; its class where None.
    show_progress: a bar on a terminal when there is more than one batch; not where another bar is shown.
    Every answer is checked against the Recommender contract first, so that an illegal one is never
    rewarded: QueryError names the recommender and the first fault. A ranking shorter than it could be is
    legal here and simply scores less. Raises QueryError on no questions or ks below 1.
    """
    name = name or type(recommender).__name__
    _check_questions(held_out, ks, num_items, seen, f"evaluate {name}")
    if batch_size < 1:
        raise QueryError(f"evaluate {name}: batch_size = {batch_size}; expected at least 1")
    queries = Queries(held_out.history, held_out.time_seconds, held_out.country, held_out.profiles)
    ks = tuple(sorted(set(ks)))
    item_row, degraded = np.full((len(queries), ks[-1]), PAD, dtype=np.int64), Counter[str]()
    for start, stop in _batches(len(queries), batch_size, f"evaluating {name}", show_progress):
        batch = queries.select(np.arange(start, stop))
        rankings = recommender.rank(batch, ks[-1])
        check_answer(rankings, batch, ks[-1], num_items=num_items, name=name)
        item_row[start:stop] = rankings.item_row
        degraded.update(reason.value for reason in rankings.degraded if reason is not None)
    evaluation = Evaluation(
        recommender=name,
        ks=ks,
        num_items=num_items,
        profile_row=held_out.profile_row,
        target_offset=held_out.target_offset,
        target_row=held_out.target_row,
        slices=_slices(item_row, held_out, ks, seen),
        coverage={k: metrics.coverage(item_row, k, num_items=num_items) for k in ks},
        degraded=dict(degraded),
    )
    log.info("evaluated recommender=%s num_queries=%d num_items=%d", name, len(held_out), num_items)
    return evaluation


def _check_questions(
    held_out: HeldOut,
    ks: tuple[int, ...],
    num_items: int,
    seen: Bool[np.ndarray, " N"] | None,
    where: str,
) -> None:
    if len(held_out) == 0 or not ks or min(ks) < 1:
        raise QueryError(
            f"{where}: {len(held_out)} questions, ks = {ks}; expected at least one question and ks >= 1"
        )
    if seen is not None and len(seen) != num_items:
        raise QueryError(f"{where}: seen has {len(seen)} items; expected {num_items}")
    num_open = int(np.sum(np.diff(held_out.target_offset) < 1))
    if num_open:
        raise QueryError(f"{where}: {num_open} questions have no target; expected at least one each")
    if held_out.target_row.max() >= num_items:
        raise QueryError(
            f"{where}: target row {int(held_out.target_row.max())} is not in the catalogue of "
            f"{num_items} items"
        )


def _batches(num_queries: int, batch_size: int, label: str, show_progress: bool) -> Iterator[tuple[int, int]]:
    starts = range(0, num_queries, batch_size)
    console = Console(stderr=True)
    quiet = not show_progress or len(starts) < 2 or not console.is_terminal
    with Progress(console=console, transient=True, disable=quiet) as progress:
        for start in progress.track(starts, description=label):
            yield start, min(start + batch_size, num_queries)


def check_answer(rankings: Rankings, queries: Queries, k: int, *, num_items: int, name: str) -> None:
    """Raises QueryError naming the recommender where an answer breaks the Recommender contract."""
    row, score = rankings.item_row, rankings.score
    if row.shape != (len(queries), k):
        raise QueryError(f"{name}: answered with shape {row.shape}; expected ({len(queries)}, {k})")
    filled = row != PAD
    ordered = np.sort(row, axis=1)
    history = queries.history
    faults = {
        f"an item row outside 0 to {num_items - 1}": filled & ((row < 0) | (row >= num_items)),
        "an item after an empty place": filled[:, 1:] & ~filled[:, :-1],
        "an item twice": (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != PAD),
        "an item of the query's own history": metrics.in_ragged(row, history.offset, history.item_row),
        "an item scored NaN or -inf": filled & ~(score > -np.inf),
        "an empty place not scored -inf": ~filled & (score != -np.inf),
        "a score above the one before it": score[:, 1:] > score[:, :-1],
    }
    for fault, where in faults.items():
        num_queries = int(where.any(axis=1).sum())
        if num_queries:
            raise QueryError(f"{name}: {fault}, in {num_queries} of {len(queries)} answers; see Recommender")


def _slices(
    item_row: Int64[np.ndarray, "Q K"],
    held_out: HeldOut,
    ks: tuple[int, ...],
    seen: Bool[np.ndarray, " N"] | None,
) -> dict[Slice, SliceValues]:
    is_new = held_out.history.lengths == 0
    every = np.ones(len(held_out.target_row), dtype=bool)
    of_new = np.repeat(is_new, np.diff(held_out.target_offset))
    targets = {Slice.ALL: every, Slice.KNOWN_PROFILES: ~of_new, Slice.NEW_PROFILES: of_new}
    if seen is not None:
        warm = seen[held_out.target_row]
        targets |= {Slice.SEEN_ITEMS: warm, Slice.COLD_ITEMS: ~warm}
    return {part: _measure(item_row, held_out, counts, ks) for part, counts in targets.items()}


def _measure(
    item_row: Int64[np.ndarray, "Q K"],
    held_out: HeldOut,
    counts: Bool[np.ndarray, " T"],
    ks: tuple[int, ...],
) -> SliceValues:
    """Metrics with only the targets that count, over the questions that are left with any."""
    owner = np.repeat(np.arange(len(held_out)), np.diff(held_out.target_offset))[counts]
    num_targets = np.bincount(owner, minlength=len(held_out))
    query = np.flatnonzero(num_targets)
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_targets[query])])
    hits = metrics.find_hits(item_row[query], offset, held_out.target_row[counts])
    values = {}
    for k in ks:
        values[Metric.RECALL.at(k)] = metrics.recall(hits, k)
        values[Metric.NDCG.at(k)] = metrics.ndcg(hits, k)
        values[Metric.RECIPROCAL_RANK.at(k)] = metrics.reciprocal_rank(hits, k)
    return SliceValues(query, int(num_targets.sum()), values)
