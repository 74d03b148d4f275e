"""Full-catalogue quality of any Recommender on held-out questions, whole and by slice."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from towers.evaluation.answers import check_answer
from towers.evaluation.concentration import Concentration, concentration
from towers.evaluation.detectable import Spread, detectable_gap
from towers.evaluation.metrics import Hits
from towers.evaluation.slices import TargetSlice
from towers.recommender import PAD, Queries, Recommender

log = logging.getLogger(__name__)


class Metric(StrEnum):
    """What is measured per query; the formulae are in `metrics`."""

    RECALL = "recall"
    NDCG = "ndcg"
    RECIPROCAL_RANK = "reciprocal_rank"
    AVERAGE_PRECISION = "average_precision"

    def at(self, k: int) -> str:
        """The name of this metric at k places, as it stands in an evaluation: ndcg@10."""
        return f"{self.value}@{k}"


class Slice(StrEnum):
    """Subsets that need no table; `slices.slices_of` makes the others, named like "country=DE"."""

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
    rest: metric name → Spread of all other targets, over the questions that have such.
    """

    query: Int64[np.ndarray, " n"]
    num_targets: int
    values: Mapping[str, Float64[np.ndarray, " n"]]
    rest: Mapping[str, Spread] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float | None]:
        """Mean of each metric; None where the slice has no question."""
        return {name: float(value.mean()) if len(value) else None for name, value in self.values.items()}

    def detectable_gap(self, name: str) -> float | None:
        """The gap to the rest in one metric that these numbers of questions would show in 4 of 5 cases."""
        return detectable_gap(Spread.of(self.values[name]), self.rest[name]) if name in self.rest else None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one recommender did on Q held-out questions.

    profile_row: int64 (Q,), whose questions they were; target_offset, target_row: int64 (Q+1,) and (T,),
        their targets, as in HeldOut: evaluations pair only over the same questions with the same targets.
    slices: per-query values by slice; item slices only where the items seen in train were given.
    coverage: k → share of the catalogue shown to anyone.
    degraded: reason → number of answers that were not the ones asked for.
    concentration: k → Gini, novelty and popularity lift of what is shown.
    target_rank: int64 (T,), where each target stands in its ranking, from 1; 0 where beyond the largest k.
    """

    recommender: str
    ks: tuple[int, ...]
    num_items: int
    profile_row: Int64[np.ndarray, " Q"]
    target_offset: Int64[np.ndarray, " Q1"]
    target_row: Int64[np.ndarray, " T"]
    slices: Mapping[str, SliceValues]
    coverage: Mapping[int, float]
    degraded: Mapping[str, int] = field(default_factory=dict)
    concentration: Mapping[int, Concentration] = field(default_factory=dict)
    target_rank: Int64[np.ndarray, " T"] | None = None

    @property
    def num_queries(self) -> int:
        """Questions asked."""
        return len(self.profile_row)

    @property
    def means(self) -> dict[str, float | None]:
        """Mean of each metric over all questions."""
        return self.slices[Slice.ALL].means

    def per_query(self, name: str, part: str = Slice.ALL) -> Float64[np.ndarray, " n"]:
        """The values of one metric, such as ndcg@10, for the questions of one slice."""
        if part not in self.slices:
            raise QueryError(
                f"{self.recommender}: slice {part} was not evaluated; have {[*map(str, self.slices)]}"
            )
        values = self.slices[part].values
        if name not in values:
            raise QueryError(f"{self.recommender}: {name} was not evaluated; have {sorted(values)}")
        return values[name]

    def to_json(self) -> dict[str, Any]:
        """Means by metric name, coverage, concentration and counts, JSON-ready; nothing per profile."""
        shown = [each.at(k) for k, each in self.concentration.items()]
        return {
            **self.means,
            **{f"coverage@{k}": share for k, share in self.coverage.items()},
            **{name: figure for figures in shown for name, figure in figures.items()},
            "num_queries": self.num_queries,
            "num_items": self.num_items,
            "degraded": dict(self.degraded),
            "slices": {
                str(part): {
                    "num_queries": len(values.query),
                    "num_targets": values.num_targets,
                    **values.means,
                }
                for part, values in self.slices.items()
                if part != Slice.ALL
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
    num_watches: Int64[np.ndarray, " N"] | None = None,
    slices: Sequence[TargetSlice] = (),
    name: str | None = None,
    show_progress: bool = True,
) -> Evaluation:
    """Every Metric per question, whole and by slice, and what is shown together, over all `num_items` items.

    seen: items with train events (Split.seen); where given, cold and seen targets are told apart.
    num_watches: train events of each item (Split.num_watches), for novelty and popularity lift; it also tells
        what was seen.
    slices: more subsets of the targets, made by `slices.slices_of` from the same questions.
    name: what the table calls the recommender; its class where None.
    show_progress: a bar on a terminal when there is more than one batch; not where another bar is shown.
    Every answer is checked against the Recommender contract first, so that an illegal one is never
    rewarded: QueryError names the recommender and the first fault. A ranking shorter than it could be is
    legal here and simply scores less. Raises QueryError on no questions or ks below 1.
    """
    name = name or type(recommender).__name__
    if seen is None and num_watches is not None:
        seen = num_watches > 0
    _check_questions(held_out, ks, num_items, seen, f"evaluate {name}")
    masks = _masks(held_out, seen, slices, f"evaluate {name}")
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
    hits = metrics.find_hits(item_row, held_out.target_offset, held_out.target_row)
    evaluation = Evaluation(
        recommender=name,
        ks=ks,
        num_items=num_items,
        profile_row=held_out.profile_row,
        target_offset=held_out.target_offset,
        target_row=held_out.target_row,
        slices={part: _measure(hits, counts, ks) for part, counts in masks.items()},
        coverage={k: metrics.coverage(item_row, k, num_items=num_items) for k in ks},
        degraded=dict(degraded),
        concentration={
            k: concentration(
                item_row, k, num_items=num_items, num_watches=num_watches, history=held_out.history
            )
            for k in ks
        },
        target_rank=hits.rank_of_target,
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


def _masks(
    held_out: HeldOut, seen: Bool[np.ndarray, " N"] | None, slices: Sequence[TargetSlice], where: str
) -> dict[str, Bool[np.ndarray, " T"]]:
    """Which targets count, by slice."""
    of_new = np.repeat(held_out.history.lengths == 0, np.diff(held_out.target_offset))
    masks: dict[str, np.ndarray] = {
        Slice.ALL: np.ones(len(held_out.target_row), dtype=bool),
        Slice.KNOWN_PROFILES: ~of_new,
        Slice.NEW_PROFILES: of_new,
    }
    if seen is not None:
        warm = seen[held_out.target_row]
        masks |= {Slice.SEEN_ITEMS: warm, Slice.COLD_ITEMS: ~warm}
    for each in slices:
        if len(each.counts) != len(of_new) or each.name in masks:
            raise QueryError(
                f"{where}: slice {each.name} over {len(each.counts)} targets; expected a name of its own and "
                f"the {len(of_new)} targets of these questions"
            )
        masks[each.name] = each.counts
    return masks


def _measure(hits: Hits, counts: Bool[np.ndarray, " T"], ks: tuple[int, ...]) -> SliceValues:
    """Metrics with only the targets that count, over the questions that are left with any."""
    rest = {} if counts.all() else _values(hits.only(~counts), ks)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(hits.num_targets)])
    return SliceValues(
        query=np.flatnonzero(np.diff(before[offset])),
        num_targets=int(counts.sum()),
        values=_values(hits.only(counts), ks),
        rest={name: Spread.of(value) for name, value in rest.items()},
    )


def _values(hits: Hits, ks: tuple[int, ...]) -> dict[str, Float64[np.ndarray, " n"]]:
    values = {}
    for k in ks:
        values[Metric.RECALL.at(k)] = metrics.recall(hits, k)
        values[Metric.NDCG.at(k)] = metrics.ndcg(hits, k)
        values[Metric.RECIPROCAL_RANK.at(k)] = metrics.reciprocal_rank(hits, k)
        values[Metric.AVERAGE_PRECISION.at(k)] = metrics.average_precision(hits, k)
    return values
