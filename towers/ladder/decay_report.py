"""A decay study as a reader sees it: tables for a terminal, and the curve with its points."""

from datetime import UTC, datetime
from math import isfinite, isnan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from towers.evaluation.decay import Estimate, QualityMatrix
from towers.evaluation.decay_causes import Loss, Variant
from towers.evaluation.tables import NOTHING, Tables
from towers.evaluation.upkeep import Standing, Upkeep
from towers.ladder.decay_findings import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FILE = "decay.png"

# Okabe and Ito's palette: told apart by everyone, and on paper.
_INKS = {
    Variant.FROZEN: "#0072B2",
    Variant.REBUILT: "#E69F00",
    Variant.WARM: "#CC79A7",
    Variant.RETRAINED: "#009E73",
}


def render(findings: Findings, title: str) -> Group:
    """The study for a terminal: origins × ages, causes, what each way costs, and what the schedule says."""
    study, metric = findings.study, findings.metric
    ages = [f"{age:g} d" for age in study.overall(Variant.FROZEN).age_days.tolist()]
    parts: list[RenderableType] = [Text(f"{title}; {metric}")]
    for variant in study.known:
        parts += [
            Text(f"\n{variant.value}: origins × days of age", style="bold"),
            _matrix(study.overall(variant), ages),
        ]
    if findings.causes:
        rows = [[f"lost to {cause.value}", *_loss(loss)] for cause, loss in findings.causes.items()]
        rows += [
            [f"{variant.value} below retrained", *_loss(loss)] for variant, loss in findings.gaps.items()
        ]
        parts += [
            Text(f"\nloss of {metric} per question, with its 95 % interval by origin", style="bold"),
            Tables(["", "all ages", "interval", *ages], rows, num_names=1),
        ]
    parts += _ways(findings)
    parts += [Text(), *map(Text, _curve_lines(findings)), Text(f"schedule: {findings.says}", style="bold")]
    return Group(*parts)


def write_plot(findings: Findings, title: str, folder: Path) -> Path:
    """Draws quality by age, and the loss below a retrained model with its curve; gives the file's path."""
    from matplotlib import style
    from matplotlib.figure import Figure

    path = folder / PLOT_FILE
    with style.context(["default", {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}]):
        figure = Figure(figsize=(10.0, 4.2), dpi=120, layout="constrained")
        figure.suptitle(title, x=0.01, ha="left")
        left, right = figure.subplots(1, 2)
        _draw_quality(left, findings)
        _draw_curve(right, findings)
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


def _matrix(matrix: QualityMatrix, ages: list[str]) -> Tables:
    rows = []
    for origin, values, counts in zip(matrix.origin_seconds, matrix.quality, matrix.num_queries, strict=True):
        cells = [f"{value:.4f}" if asked else NOTHING for value, asked in zip(values, counts, strict=True)]
        rows.append([_day(int(origin)), *cells])
    return Tables(["origin", *ages], rows, num_names=1)


def _loss(loss: Loss) -> list[str]:
    by_age = [NOTHING if isnan(value) else f"{value:+.4f}" for value in loss.by_age.tolist()]
    return [f"{loss.overall.value:+.4f}", _interval(loss.overall, "+.4f"), *by_age]


def _ways(findings: Findings) -> list[RenderableType]:
    """What each way of keeping up costs, the prices it is reckoned at, and what to know of it."""
    if findings.schedule is None:
        return []
    prices = findings.schedule.settings
    columns = ["", "every", "index", "a day", "interval", "cheapest", "actions", "lost"]
    notes: dict[str, list[str]] = {}
    for way in findings.ways:
        if way.note is not None:
            notes.setdefault(way.note, []).append(_name(way))
    return [
        Text("\nwhat each way of keeping up costs a day, with its 95 % interval by origin", style="bold"),
        Tables(columns, [[_name(way), *_pace(way), *_cost(way)] for way in findings.ways], num_names=1),
        *(Text(f"{', '.join(names)}: {note}") for note, names in notes.items()),
        Text(
            f"at {prices.cost:,.2f} a retrain, {prices.warm_cost:,.2f} a warm start and "
            f"{prices.rebuild_cost:,.2f} a rebuild of the index; a point of {findings.metric} is worth "
            f"{prices.value_per_point_day:,.2f} a day"
        ),
    ]


def _name(way: Upkeep) -> str:
    return way.way.value.replace("_", " + ")


def _pace(way: Upkeep) -> list[str]:
    match way.standing:
        case Standing.UNKNOWN:
            return ["unknown", NOTHING]
        case Standing.NEVER_PAYS:
            return ["never", NOTHING]
        case Standing.PRICED:
            every = "never" if way.every_days is None else f"{way.every_days} d"
            return [every, "never" if way.rebuild_days is None else f"{way.rebuild_days:g} d"]


def _cost(way: Upkeep) -> list[str]:
    """Cost and interval, in how many resamples it is the least, and the parts of the cost."""
    if way.cost is None:
        return [NOTHING] * 5
    share = NOTHING if way.cheapest is None else f"{100.0 * way.cheapest:.0f} %"
    parts = [NOTHING if part is None else f"{part:,.2f}" for part in (way.actions, way.lost)]
    return [f"{way.cost.value:,.2f}", _interval(way.cost, ",.2f"), share, *parts]


def _curve_lines(findings: Findings) -> list[str]:
    curve, plan = findings.curve, findings.schedule
    if curve is None or plan is None:
        return ["curve: unknown"]
    # A rate of no decay would be a number without a meaning.
    told = (
        f"λ = {curve.rate.value:.4f} a day {_interval(curve.rate, '.4f')}, A = {curve.amplitude.value:.4f} "
    )
    told += f"{_interval(curve.amplitude, '.4f')}, half-life {curve.half_life_days:.1f} days"
    if findings.extrapolates:
        told = (
            "half-life beyond the ages measured: λ and A are guesses, their product "
            f"{curve.rate.value * curve.amplitude.value:.5f} a day is what was seen"
        )
    drop = f"{curve.drop.value:+.4f} {_interval(curve.drop, '+.4f')}"
    best = "never" if plan.at_loss is None else f"{plan.every_days} days"
    low, high = ("never" if end is None else f"{end:.1f}" for end in (plan.low_days, plan.high_days))
    return [
        f"lost by {findings.serving.value} over the ages measured: {drop}",
        f"curve: {told}" if curve.decays else "curve: no decay is shown, so λ says nothing",
        f"T*: {best}, interval [{low}, {high}]",
    ]


def _interval(estimate: Estimate, form: str) -> str:
    low, high = (f"{end:{form}}" if isfinite(end) else "none" for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _draw_quality(axes: "Axes", findings: Findings) -> None:
    """Mean quality by age of every variant, over the questions of all origins."""
    for variant in findings.study.known:
        matrix = findings.study.overall(variant)
        asked = matrix.num_queries.sum(axis=0)
        total = np.where(matrix.num_queries > 0, matrix.quality * matrix.num_queries, 0.0).sum(axis=0)
        mean = np.divide(total, asked, out=np.full(len(asked), np.nan), where=asked > 0)
        axes.plot(matrix.age_days, mean, marker="o", color=_INKS[variant], label=variant.value)
    axes.set_title("quality by age", loc="left")
    axes.set_xlabel("age of the model in days")
    axes.set_ylabel(findings.metric)
    axes.set_ylim(bottom=0.0)
    axes.grid(True, color="#EEEEEE")
    axes.legend(frameon=False)


def _draw_curve(axes: "Axes", findings: Findings) -> None:
    """Quality less a retrained model's, a point per origin and age, later origins darker, and the curve."""
    relative = findings.study.relative(findings.serving)
    num_origins = len(relative.origin_seconds)
    for origin in range(num_origins):
        measured = relative.num_queries[origin] > 0
        shade = str(0.8 - 0.7 * origin / max(1, num_origins - 1))
        axes.plot(
            relative.age_days[measured],
            relative.quality[origin, measured],
            marker="o",
            markersize=4,
            linewidth=0.5,
            color=shade,
            label={0: "first origin", num_origins - 1: "last origin"}.get(origin),
        )
    if findings.curve is not None and findings.curve.decays:
        age = np.linspace(0.0, float(relative.age_days[-1]), 100)
        axes.plot(age, findings.curve.quality(age), color=_INKS[findings.serving], linewidth=2, label="curve")
    axes.axhline(0.0, color="#BBBBBB", zorder=0)
    axes.set_title(f"{findings.serving.value} less retrained, by origin", loc="left")
    axes.set_xlabel("age of the model in days")
    axes.set_ylabel(f"difference in {findings.metric}")
    axes.grid(True, color="#EEEEEE")
    axes.legend(frameon=False)
