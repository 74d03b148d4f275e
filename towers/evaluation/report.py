"""Evaluations side by side: a terminal table, the same in Markdown for the docs, and JSON."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group
from rich.table import Table
from rich.text import Text

from towers.errors import QueryError
from towers.evaluation.bootstrap import Interval, paired_bootstrap
from towers.evaluation.evaluate import Evaluation, Metric, Slice

_FORMULAE = (
    "R@k = hits / targets; N@k = Σ 1/log2(rank+1) over its ideal; MRR@k = mean of 1/rank of the first hit; "
    "ranks from 1, 0 outside the top k"
)
_NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Protocol:
    """What a reader must know before comparing a number: stated above every table."""

    data: str
    split: str
    seen_filter: str = "the profile's own history is left out"
    candidates: str = "all items of the catalogue"


@dataclass(frozen=True, slots=True)
class Report:
    """Evaluations of the same questions, one row each, against one of them.

    reference: name of the evaluation that the others are compared with.
    k: places of the MRR, coverage and difference columns; one of the evaluations' own.
    num_resamples, seed: of the paired bootstrap; its interval is at 95 %.
    """

    protocol: Protocol
    evaluations: tuple[Evaluation, ...]
    reference: str
    k: int = 10
    num_resamples: int = 2000
    seed: int = 0

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
        metric = Metric.NDCG.at(self.k)
        by_name = {evaluation.recommender: evaluation for evaluation in self.evaluations}
        reference = by_name.pop(self.reference)
        return {
            name: difference(evaluation, reference, metric, num_resamples=self.num_resamples, seed=self.seed)
            for name, evaluation in by_name.items()
        }


def difference(
    evaluation: Evaluation,
    reference: Evaluation,
    metric: str,
    part: Slice = Slice.ALL,
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
    parts: list[Text | _Tables] = [Text(line, style="dim") for line in _header(report)]
    parts.append(_Tables(*_main_cells(report), num_names=1))
    slices = _slice_cells(report)
    if slices[1]:
        parts.append(_Tables(*slices, num_names=2))
    footer = _footer(report)
    parts.extend(Text(line, style="dim") for line in (["", *footer] if footer else []))
    return Group(*parts)


def markdown(report: Report) -> str:
    """The same report for a document."""
    header = [f"- {line}" for line in _header(report)]
    blocks = ["\n".join(header), _markdown_table(*_main_cells(report))]
    slices = _slice_cells(report)
    if slices[1]:
        blocks.append(_markdown_table(*slices))
    footer = _footer(report)
    if footer:
        blocks.append("\n".join(f"- {line}" for line in footer))
    return "\n\n".join(blocks) + "\n"


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
                }
                for name, interval in report.differences().items()
            },
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
    empty = [f"{_words(part)}: none in this split" for part in slices if not slices[part].num_targets]
    degraded = [
        f"{evaluation.recommender}: {count:,} of {evaluation.num_queries:,} answers degraded ({reason})"
        for evaluation in report.evaluations
        for reason, count in evaluation.degraded.items()
    ]
    return empty + degraded


def _main_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    ks, k = report.evaluations[0].ks, report.k
    columns = ["recommender", *(f"R@{n}" for n in ks), *(f"N@{n}" for n in ks)]
    columns += [f"MRR@{k}", f"cov@{k}", f"ΔN@{k} [95 %]"]
    differences = report.differences()
    rows = []
    for evaluation in report.evaluations:
        means = evaluation.means
        cells = [evaluation.recommender]
        cells += [_number(means[Metric.RECALL.at(n)]) for n in ks]
        cells += [_number(means[Metric.NDCG.at(n)]) for n in ks]
        cells += [_number(means[Metric.RECIPROCAL_RANK.at(k)]), f"{evaluation.coverage[k]:.1%}"]
        rows.append([*cells, _interval(differences.get(evaluation.recommender))])
    return columns, rows


def _slice_cells(report: Report) -> tuple[list[str], list[list[str]]]:
    """One row per slice and recommender, for slices that hold some of the targets but not all."""
    k = report.k
    columns = ["slice", "recommender", "queries", "targets", f"R@{k}", f"N@{k}"]
    first = report.evaluations[0].slices
    rows = []
    for part in first:
        if 0 < first[part].num_targets < first[Slice.ALL].num_targets:
            for evaluation in report.evaluations:
                values = evaluation.slices[part]
                counts = [f"{len(values.query):,}", f"{values.num_targets:,}"]
                quality = [_number(values.means[metric.at(k)]) for metric in (Metric.RECALL, Metric.NDCG)]
                rows.append([_words(part), evaluation.recommender, *counts, *quality])
    return columns, rows


def _words(part: Slice) -> str:
    return part.value.replace("_", " ")


@dataclass(frozen=True, slots=True)
class _Tables:
    """Rows of cells as one table, or as several below each other where the terminal is too narrow for one.

    So no number is ever cut; each table begins with the first `num_names` columns, which name the row.
    """

    columns: list[str]
    rows: list[list[str]]
    num_names: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        widths = [max(map(cell_len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        for places in _side_by_side(widths, self.num_names, options.max_width):
            yield Text()
            yield self._table(places)

    def _table(self, places: list[int]) -> Table:
        table = Table(box=SIMPLE_HEAD, padding=0, show_edge=False)
        for place in places:
            is_name = place < self.num_names
            table.add_column(
                Text(self.columns[place]), justify="left" if is_name else "right", no_wrap=not is_name
            )
            # Where even a name and one number are too wide, it is the name that runs over several lines.
            table.columns[-1].overflow = "fold"
        for row in self.rows:
            table.add_row(*(Text(row[place]) for place in places))  # a name is text, never markup
        return table


def _side_by_side(widths: list[int], num_names: int, max_width: int) -> list[list[int]]:
    """Places of the columns of each table: the names, and as many others as fit, one space between two."""
    names = list(range(num_names))
    tables: list[list[int]] = []
    used = max_width
    for place in range(num_names, len(widths)):
        if used + 1 + widths[place] > max_width:
            tables.append(list(names))
            used = sum(widths[:num_names]) + num_names - 1
        tables[-1].append(place)
        used += 1 + widths[place]
    return tables


def _markdown_table(columns: list[str], rows: list[list[str]]) -> str:
    rule = ["---:" if place and column != "recommender" else "---" for place, column in enumerate(columns)]
    lines = [columns, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return _NOTHING if value is None else _short(f"{value:.4f}")


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return _NOTHING
    values = (interval.difference, interval.low, interval.high)
    difference, low, high = (_short(f"{value:+.4f}") for value in values)
    return f"{difference} [{low}, {high}]"


def _short(number: str) -> str:
    """The number as tables of the field print it: .0571 for 0.0571."""
    return re.sub(r"^([+-]?)0\.", r"\1.", number)


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
