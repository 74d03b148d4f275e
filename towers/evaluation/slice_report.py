"""Slices side by side: how sure each mean is, what gap could be seen, and who is better where."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towers.evaluation.bootstrap import Interval, MeanInterval, mean_intervals, paired_bootstrap
from towers.evaluation.evaluate import Evaluation, Metric, Slice
from towers.evaluation.significance import holm, sign_flip
from towers.evaluation.tables import NOTHING, estimate, number


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference to the reference on one slice; p_value is corrected over all that were compared."""

    difference: Interval
    p_value: float


@dataclass(frozen=True, slots=True)
class SliceRow:
    """One recommender on one slice, at k places.

    num_queries, num_targets: questions with targets in the slice, and those targets.
    means: every Metric at k, by name. intervals: of these means; None of a single question.
    gaps: these means less those of all other targets; detectable_gaps: as `detectable_gap`, to the same.
    comparison: N@k against the reference; None of the reference itself, and
        of a single question.
    """

    part: str
    recommender: str
    num_queries: int
    num_targets: int
    means: Mapping[str, float | None]
    intervals: Mapping[str, MeanInterval | None]
    gaps: Mapping[str, float]
    detectable_gaps: Mapping[str, float | None]
    comparison: Comparison | None


def slice_rows(
    evaluations: tuple[Evaluation, ...],
    reference: str,
    k: int,
    *,
    num_resamples: int = 2000,
    num_flips: int = 10_000,
    seed: int = 0,
) -> tuple[SliceRow, ...]:
    """One row per slice and recommender, slice by slice, for slices that hold some of the targets, not all.

    The evaluations are of the same questions and slices, `reference` is the name of one of them.
    """
    first = evaluations[0].slices
    parts = [part for part in first if 0 < first[part].num_targets < first[Slice.ALL].num_targets]
    compared = _compared(evaluations, reference, k, parts, num_resamples, num_flips, seed)
    names = [metric.at(k) for metric in Metric]
    rows = []
    for part in parts:
        for evaluation in evaluations:
            found = evaluation.slices[part]
            values = {name: found.values[name] for name in names}
            rows.append(
                SliceRow(
                    part=part,
                    recommender=evaluation.recommender,
                    num_queries=len(found.query),
                    num_targets=found.num_targets,
                    means={name: found.means[name] for name in names},
                    intervals=mean_intervals(values, num_resamples=num_resamples, seed=seed),
                    gaps={name: float(values[name].mean()) - found.rest[name].mean for name in names},
                    detectable_gaps={name: found.detectable_gap(name) for name in names},
                    comparison=compared.get((part, evaluation.recommender)),
                )
            )
    return tuple(rows)


def _compared(
    evaluations: tuple[Evaluation, ...],
    reference: str,
    k: int,
    parts: list[str],
    num_resamples: int,
    num_flips: int,
    seed: int,
) -> dict[tuple[str, str], Comparison]:
    """N@k of all others less that of the reference on every slice, by slice and name."""
    metric = Metric.NDCG.at(k)
    against = next(each for each in evaluations if each.recommender == reference)
    differences, p_values = {}, []
    for part in parts:
        for each in evaluations:
            if each is not against and len(each.slices[part].query) > 1:
                value, other = each.per_query(metric, part), against.per_query(metric, part)
                differences[part, each.recommender] = paired_bootstrap(
                    value, other, num_resamples=num_resamples, seed=seed
                )
                p_values.append(sign_flip(value, other, num_flips=num_flips, seed=seed))
    return {
        key: Comparison(interval, p_value)
        for (key, interval), p_value in zip(differences.items(), holm(p_values).tolist(), strict=True)
    }


def slice_cells(rows: tuple[SliceRow, ...], k: int, min_queries: int) -> tuple[list[str], list[list[str]]]:
    """The rows as a table's columns and cells; a star at fewer than `min_queries` questions."""
    columns = ["slice", "recommender", "queries", "targets", f"R@{k}", f"N@{k}"]
    columns += [f"N@{k} 95 %", "gap", f"ΔN@{k} [95 %]", "p"]
    return columns, [_cells(row, k, min_queries) for row in rows]


def _cells(row: SliceRow, k: int, min_queries: int) -> list[str]:
    recall, ndcg = Metric.RECALL.at(k), Metric.NDCG.at(k)
    interval, compared = row.intervals[ndcg], row.comparison
    star = "*" if row.num_queries < min_queries else ""
    cells = [words(row.part), row.recommender, f"{row.num_queries:,}{star}", f"{row.num_targets:,}"]
    cells += [number(row.means[recall]), number(row.means[ndcg])]
    cells.append(f"{number(interval.low)}-{number(interval.high)}" if interval else NOTHING)
    cells.append(number(row.detectable_gaps[ndcg]))
    if compared is None:
        return [*cells, NOTHING, NOTHING]
    difference = compared.difference
    return [
        *cells,
        estimate(difference.difference, difference.low, difference.high),
        number(compared.p_value, ".3f"),
    ]


def slice_json(row: SliceRow, min_queries: int) -> dict[str, Any]:
    """One row as JSON-ready values; its means stand with the recommender's."""
    compared = row.comparison
    return {
        "slice": row.part,
        "recommender": row.recommender,
        "num_queries": row.num_queries,
        "num_targets": row.num_targets,
        "few_queries": row.num_queries < min_queries,
        "intervals": {
            name: None if found is None else {"mean": found.mean, "low": found.low, "high": found.high}
            for name, found in row.intervals.items()
        },
        "gaps": dict(row.gaps),
        "detectable_gaps": dict(row.detectable_gaps),
        "difference": None
        if compared is None
        else {
            "difference": compared.difference.difference,
            "low": compared.difference.low,
            "high": compared.difference.high,
            "p_value": compared.p_value,
        },
    }


def words(part: str) -> str:
    """A slice's name to be read: "new profiles", "country: DE"."""
    kind, separator, value = part.partition("=")
    return kind.replace("_", " ") + (f": {value}" if separator else "")
