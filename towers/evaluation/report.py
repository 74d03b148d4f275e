"""Evaluations side by side: a terminal table, and JSON."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from rich.console import Group
from rich.text import Text

from towers.errors import QueryError
from towers.evaluation.bootstrap import Interval, paired_bootstrap
from towers.evaluation.evaluate import Evaluation, Metric, Slice
from towers.evaluation.significance import holm, sign_flip
from towers.evaluation.slice_report import SliceRow, slice_cells, slice_json, slice_rows, words
from towers.evaluation.tables import NOTHING, Tables, estimate, number

_FORMULAE = (
    "R@k = hits / targets; N@k = Σ 1/log2(rank+1) over its ideal; MRR@k = mean of 1/rank of the first hit; "
    "ranks from 1, 0 outside the top k"
)
_SHOWN = (
    "MAP@k = precision at each hit, over min(targets, k); Gini@k of how often each title is shown; "
    "nov@k = mean -log2 of the share of train events; lift@k = popularity of what is shown over that of the "
    "histories"
)


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a reader must know before comparing a number: stated above every table."""

    data: str
    split: str
    seen_filter: str = "the profile's own history is left out"
    candidates: str = "all items of the catalogue"


@dataclass(frozen=True)  # no slots: what is resampled is kept
class Report:
    """Evaluations of the same questions, one row each, against one of them.

    reference: name of the evaluation that the others are compared with.
    k: places of the MRR, coverage, difference and slice columns; one of the evaluations' own.
    num_resamples, seed: of the bootstraps, whose intervals are at 95 %. num_flips: of the sign-flip tests.
    min_queries: slices with fewer questions are listed all the same, and flagged.
    """

    protocol: Protocol
    evaluations: tuple[Evaluation, ...]
    reference: str
    k: int = 10
    num_resamples: int = 2000
    seed: int = 0
    num_flips: int = 10_000
    min_queries: int = 30

    def __post_init__(self) -> None:
        names = [evaluation.recommender for evaluation in self.evaluations]
        if len(set(names)) != len(names) or self.reference not in names:
            raise QueryError(f"report: rows {names}, reference {self.reference!r}; expected unique names")
        first = self.evaluations[0]
        for other in self.evaluations[1:]:
            _check_comparable(first, other)
        if self.k not in first.ks:
            raise QueryError(f"report: k = {self.k} was not evaluated; have {list(first.ks)}")

    def differences(self) -> dict[str, Interval]:
        """N@k of every other row less that of the reference, by name."""
        return dict(self._differences)

    @cached_property
    def _differences(self) -> dict[str, Interval]:
        metric = Metric.NDCG.at(self.k)
        reference = self._by_name[self.reference]
        return {
            name: difference(evaluation, reference, metric, num_resamples=self.num_resamples, seed=self.seed)
            for name, evaluation in self._by_name.items()
            if name != self.reference
        }

    @cached_property
    def p_values(self) -> dict[str, float]:
        """The sign-flip p-value of every difference, corrected over the rows after Holm, by name."""
        metric = Metric.NDCG.at(self.k)
        reference = self._by_name[self.reference].per_query(metric)
        names = list(self._differences)
        found = [
            sign_flip(
                self._by_name[name].per_query(metric), reference, num_flips=self.num_flips, seed=self.seed
            )
            for name in names
        ]
        return dict(zip(names, holm(found).tolist(), strict=True))

    @cached_property
    def slice_rows(self) -> tuple[SliceRow, ...]:
        """One row per slice and recommender, for slices that hold some of the targets but not all."""
        return slice_rows(
            self.evaluations,
            self.reference,
            self.k,
            num_resamples=self.num_resamples,
            num_flips=self.num_flips,
            seed=self.seed,
        )

    @property
    def _by_name(self) -> dict[str, Evaluation]:
        return {evaluation.recommender: evaluation for evaluation in self.evaluations}


def difference(
    evaluation: Evaluation,
    reference: Evaluation,
    metric: str,
    part: str = Slice.ALL,
    *,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of one metric less that of the reference over the same questions, with its 95 % interval."""
    _check_comparable(evaluation, reference)
    return paired_bootstrap(
        evaluation.per_query(metric, part),
        reference.per_query(metric, part),
        num_resamples=num_resamples,
        seed=seed,
    )


def best_of(evaluations: tuple[Evaluation, ...], metric: str) -> str:
    """The name of the evaluation with the highest mean of the metric; the first among equals."""
    if not evaluations:
        raise QueryError("best_of no evaluations; expected at least one")
    return max(evaluations, key=lambda evaluation: evaluation.per_query(metric).mean()).recommender


def render(report: Report) -> Group:
    """The report for a terminal: how it was measured, a row per recommender, and their slices."""
    parts: list[Text | Tables] = [Text(line, style="dim") for line in _header(report)]
    parts.append(Tables(*_main_cells(report), num_names=1))
    parts += [Text(), Text(_SHOWN, style="dim"), Tables(*_shown_cells(report), num_names=1)]
    if report.slice_rows:
        parts += [Text(), Text(_slice_note(report), style="dim")]
        parts.append(Tables(*slice_cells(report.slice_rows, report.k, report.min_queries), num_names=2))
    footer = _footer(report)
    parts.extend(Text(line, style="dim") for line in (["", *footer] if footer else []))
    return Group(*parts)


def to_json(report: Report) -> dict[str, Any]:
    """The same report as JSON-ready values; nothing per profile."""
    protocol = report.protocol
    return {
        "protocol": {
            "data": protocol.data,
            "split": protocol.split,
            "seen_filter": protocol.seen_filter,
            "candidates": protocol.candidates,
            "num_queries": report.evaluations[0].num_queries,
            "num_items": report.evaluations[0].num_items,
        },
        "recommenders": {each.recommender: each.to_json() for each in report.evaluations},
        "differences": {
            "metric": Metric.NDCG.at(report.k),
            "reference": report.reference,
            "num_resamples": report.num_resamples,
            "seed": report.seed,
            "rows": {
                name: {
                    "difference": interval.difference,
                    "low": interval.low,
                    "high": interval.high,
                    "level": interval.level,
                    "p_value": report.p_values[name],
                }
                for name, interval in report.differences().items()
            },
        },
        "slices": {
            "metric": Metric.NDCG.at(report.k),
            "reference": report.reference,
            "min_queries": report.min_queries,
            "num_flips": report.num_flips,
            "rows": [slice_json(row, report.min_queries) for row in report.slice_rows],
        },
    }


def _header(report: Report) -> list[str]:
    protocol, first = report.protocol, report.evaluations[0]
    return [
        f"data: {protocol.data}; split: {protocol.split}",
        f"seen filter: {protocol.seen_filter}; candidates: {protocol.candidates} ({first.num_items:,})",
        f"queries: {first.num_queries:,} with {first.slices[Slice.ALL].num_targets:,} targets; "
        f"k = {', '.join(map(str, first.ks))}; {_FORMULAE}",
        f"ΔN@{report.k}: against {report.reference}, with the 95 % interval of a paired bootstrap over "
        f"queries ({report.num_resamples:,} resamples, seed {report.seed})",
    ]


def _footer(report: Report) -> list[str]:
    slices = report.evaluations[0].slices
    empty = [f"{words(part)}: none in this split" for part in slices if not slices[part].num_targets]
    degraded = [
        f"{evaluation.recommender}: {count:,} of {evaluation.num_queries:,} answers degraded ({reason})"
        for evaluation in report.evaluations
        for reason, count in evaluation.degraded.items()
    ]
    return empty + degraded


def _slice_note(report: Report) -> str:
    return (
        f"slices: N@{report.k} with its 95 % interval; gap: the smallest to all other targets "
        f"that so many questions show at 5 % with 80 % power; ΔN: against {report.reference}; p: sign-flip "
        f"test, {report.num_flips:,} flips, Holm over this table; *: under {report.min_queries} questions"
    )


def _main_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    ks, k = report.evaluations[0].ks, report.k
    columns = ["recommender", *(f"R@{n}" for n in ks), *(f"N@{n}" for n in ks)]
    columns += [f"MRR@{k}", f"cov@{k}", f"ΔN@{k} [95 %]"]
    differences = report.differences()
    rows = []
    for evaluation in report.evaluations:
        means = evaluation.means
        cells = [evaluation.recommender]
        cells += [number(means[Metric.RECALL.at(n)]) for n in ks]
        cells += [number(means[Metric.NDCG.at(n)]) for n in ks]
        cells += [number(means[Metric.RECIPROCAL_RANK.at(k)]), f"{evaluation.coverage[k]:.1%}"]
        rows.append([*cells, _interval(differences.get(evaluation.recommender))])
    return columns, rows


def _shown_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    """What goes beyond the main table: precision, and how much the answers keep to few and known titles."""
    ks = report.evaluations[0].ks
    names = ("MAP", "Gini", "nov", "lift")
    rows = []
    for evaluation in report.evaluations:
        shown = [evaluation.concentration[n] for n in ks]
        cells = [number(evaluation.means[Metric.AVERAGE_PRECISION.at(n)]) for n in ks]
        cells += [number(each.gini) for each in shown]
        cells += [number(each.novelty, ".2f") for each in shown]
        cells += [number(each.popularity_lift, ".2f") for each in shown]
        rows.append([evaluation.recommender, *cells])
    return ["recommender", *(f"{name}@{n}" for name in names for n in ks)], rows


def _interval(interval: Interval | None) -> str:
    return NOTHING if interval is None else estimate(interval.difference, interval.low, interval.high)


def _check_comparable(one: Evaluation, other: Evaluation) -> None:
    same_questions = all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("profile_row", "target_offset", "target_row")
    )
    if not same_questions or (one.ks, one.num_items) != (other.ks, other.num_items):
        raise QueryError(
            f"{one.recommender} and {other.recommender} were not evaluated on the same questions, "
            "targets, catalogue and ks; evaluate both on the same split"
        )
