"""The filter-bubble audit: whether a feedback loop narrows what is watched, as it is found and as it is read.

That a loop does not narrow one simulated service is never called "no bubble": on another it may.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.progress import track
from rich.text import Text

from towers.audit.feedback import (
    CycleFigures,
    FeedbackRun,
    FeedbackSettings,
    Learner,
    check_feedback,
    live_through,
)
from towers.data.simulator.world import World
from towers.data.sources.simulated import simulate
from towers.errors import ConfigError
from towers.evaluation.tables import NOTHING, Tables, number
from towers.ladder.extra import of_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

PLOT_FILE = "feedback.png"

_MODEL_INK, _CONTROL_INK = "#0072B2", "#999999"
_JUDGED = {"watched_gini": -1.0, "watched_coverage": 1.0, "watched_genres": 1.0}
"""What is judged, and its sign: whether more of it is wider, +1, or narrower, -1."""
_SINCE_FIRST = ("watched_genres",)
"""What is judged by how it goes on from the first cycle, too."""
_WORDS = {
    "watched_gini": "Gini of watches",
    "watched_coverage": "titles watched",
    "watched_genres": "genres watched",
    "shown_gini": "Gini of what is shown",
    "shown_coverage": "titles shown",
    "shown_genres": "genres shown",
    "new": "new",
    "local": "local",
    "quality": "quality",
    "worst_over_best": "worst / best",
}
_SHARES = ("watched_coverage", "shown_coverage", "new", "local")


class FeedbackFinding(StrEnum):
    """What a loop does to what is watched, beside a service without a model."""

    NARROWS = "narrows"
    DOES_NOT = "does not narrow"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Effect:
    """One figure over the second half of the cycles, means over the seeds.

    narrowing: by which share of the control's the model's is narrower, below 0 where it is wider; of the
    genres no more than since the first cycle. low, high: its interval, None of one seed. trend: the
    narrowing in the second half less that in the first, above 0 where it still grows.
    """

    figure: str
    model: float
    control: float
    narrowing: float
    low: float | None
    high: float | None
    trend: float
    finding: FeedbackFinding


@dataclass(frozen=True, slots=True)
class FeedbackAudit:
    """What part=feedback found of one learner on simulated services."""

    title: str
    settings: FeedbackSettings
    runs: tuple[FeedbackRun, ...]
    effects: tuple[Effect, ...]
    finding: FeedbackFinding
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; nothing per profile."""
        return asdict(self)


def audit_feedback(settings: FeedbackSettings, learner_of: Callable[[World], Learner]) -> FeedbackAudit:
    """Lives through `num_seeds` worlds, of the seeds that follow the one given, and judges.

    learner_of: what learns in a world. Raises ConfigError on settings that the log cannot follow, or a
    service too small to tell anything; MissingExtraError without the extra `audit`.
    """
    check_feedback(settings)
    console = Console(stderr=True)
    seeds = range(settings.world.seed, settings.world.seed + settings.num_seeds)
    runs = []
    for seed in track(
        seeds, "living through", console=console, transient=True, disable=not console.is_terminal
    ):
        with _one_line():
            world = simulate(replace(settings.world, seed=seed))
            runs.append(live_through(world, learner_of(world), settings))
        log.info("lived through a feedback loop seed=%d num_cycles=%d", seed, settings.num_cycles)
    return judged(settings, tuple(runs))


@contextmanager
def _one_line() -> Iterator[None]:
    """Keeps what every cycle says of its log and its model out of the log: hundreds of lines of one kind."""
    package = logging.getLogger("towers")
    level = package.level
    package.setLevel(max(logging.WARNING, package.getEffectiveLevel()))
    try:
        yield
    finally:
        package.setLevel(level)


def judged(settings: FeedbackSettings, runs: tuple[FeedbackRun, ...]) -> FeedbackAudit:
    """What the runs say together.

    Each figure's narrowing is compared over the second half of the cycles, world by world: (model - control)
    over control for the Gini index, the reverse for the others. Of the genres of a profile the least of two
    counts, that and what came of it since the first cycle: who knows a taste shows fewer genres from the
    start, as an oracle does, and a bubble is where they become fewer as the model learns from itself; who
    shows more than the control, as chance does, has none. Intervals are Student's over the worlds,
    Bonferroni's over the figures. A figure narrows where its interval lies above 0 and the mean above the
    tolerance; it does not where the interval ends at or below the tolerance; else it is unknown.
    """
    effects = tuple(_effect(figure, sign, settings, runs) for figure, sign in _JUDGED.items())
    narrowed = [_WORDS[each.figure] for each in effects if each.finding is FeedbackFinding.NARROWS]
    unknown = [_WORDS[each.figure] for each in effects if each.finding is FeedbackFinding.UNKNOWN]
    if narrowed:
        finding = FeedbackFinding.NARROWS
        reason = f"{', '.join(narrowed)}: beyond doubt, and by more than {settings.tolerance:.0%}"
    elif unknown:
        finding = FeedbackFinding.UNKNOWN
        reason = f"{', '.join(unknown)}: expected more worlds to tell, by feedback.num_seeds"
    else:
        finding = FeedbackFinding.DOES_NOT
        reason = f"no figure by more than {settings.tolerance:.0%} on these services; on others it may"
    title = f"{settings.rung.value}, {settings.world.profiles:,} profiles, {settings.world.items:,} titles"
    return FeedbackAudit(title, settings, runs, effects, finding, reason)


def _effect(figure: str, sign: float, settings: FeedbackSettings, runs: tuple[FeedbackRun, ...]) -> Effect:
    half = 1 + settings.num_cycles // 2
    model, control = (
        np.array([values_of(getattr(run, arm), figure) for run in runs]) for arm in ("model", "control")
    )
    first, early, late = (
        [_known_means(arm[:, part].T) for arm in (model, control)]
        for part in (slice(1, 2), slice(1, half), slice(half, None))
    )
    at_first, before, narrowing = (
        sign * (its - own) / np.maximum(its, 1e-12) for own, its in (first, early, late)
    )
    trend = float((narrowing - before).mean())
    if figure in _SINCE_FIRST:
        narrowing = np.minimum(narrowing, narrowing - at_first)
    if np.isnan(narrowing).any():
        raise ConfigError(
            f"feedback.world: {_WORDS[figure]}: not known in half of the cycles of a service of "
            f"{settings.world.num_events} events; expected more of them, or more feedback.cycle_days"
        )
    mean, reach = float(narrowing.mean()), None
    if len(runs) > 1:
        t = of_extra("scipy.stats", "feedback", "audit").t
        tail = (1.0 - settings.level) / 2.0 / len(_JUDGED)
        error = float(narrowing.std(ddof=1)) / len(runs) ** 0.5
        reach = float(t.ppf(1.0 - tail, len(runs) - 1)) * error
    if reach is None:
        finding = FeedbackFinding.UNKNOWN
    elif mean - reach > 0.0 and mean > settings.tolerance:
        finding = FeedbackFinding.NARROWS
    else:
        within = mean + reach <= settings.tolerance
        finding = FeedbackFinding.DOES_NOT if within else FeedbackFinding.UNKNOWN
    return Effect(
        figure=figure,
        model=float(late[0].mean()),
        control=float(late[1].mean()),
        narrowing=mean,
        low=None if reach is None else mean - reach,
        high=None if reach is None else mean + reach,
        trend=trend,
        finding=finding,
    )


def values_of(cycles: tuple[CycleFigures, ...], figure: str) -> np.ndarray:
    """float64 (cycles + 1,): a figure from the cycle before the loop on; NaN where it is not known."""
    values = (getattr(cycle, figure) for cycle in cycles)
    return np.array([np.nan if value is None else value for value in values])


def render(audit: FeedbackAudit) -> Group:
    """For a terminal."""
    s = audit.settings
    parts: list[RenderableType] = [
        Text(
            f"{audit.title}: {s.num_cycles} cycles of {s.cycle_days} days, {s.num_seeds} worlds",
            style="bold",
        ),
        Text(
            f"Each cycle the model learns from the log so far and shows {s.k} titles to every profile that "
            f"comes; {1 - s.organic_share:.0%} of the watches are taken from them. control: what is shown is "
            "drawn by what each profile would watch by itself, without a model.",
            style="dim",
        ),
        Tables(*_cycle_cells(audit), num_names=1),
        Tables(*effect_cells(audit), num_names=1),
        Text(),
    ]
    style = "bold red" if audit.finding is FeedbackFinding.NARROWS else "bold"
    return Group(*parts, Text(f"feedback: {audit.finding.value}: {audit.reason}", style=style))


def effect_cells(audit: FeedbackAudit) -> tuple[list[str], list[list[str]]]:
    """One row per figure that is judged."""
    rows = []
    for each in audit.effects:
        between = NOTHING
        if each.low is not None and each.high is not None:
            between = f"[{each.low:+.1%}, {each.high:+.1%}]"
        rows.append(
            [
                _WORDS[each.figure],
                _cell(each.figure, each.model),
                _cell(each.figure, each.control),
                f"{each.narrowing:+.1%}",
                between,
                f"{each.trend:+.1%}",
                each.finding.value,
            ]
        )
    columns = ["second half of the cycles", "model", "control", "narrower by", "interval", "trend", "finding"]
    return columns, rows


def _cycle_cells(audit: FeedbackAudit) -> tuple[list[str], list[list[str]]]:
    """One row per cycle, the model's mean over the worlds; under it, in brackets, the control's."""
    names = [item.name for item in fields(CycleFigures)]
    rows = []
    means = {
        arm: {name: _known_means(_of_arm(audit, arm, name)) for name in names} for arm in ("model", "control")
    }
    for cycle in range(audit.settings.num_cycles + 1):
        for arm in ("model", "control") if cycle else ("before",):
            found = means["model" if arm == "before" else arm]
            rows.append(
                [f"{cycle} {arm}" if arm != "control" else "  control"]
                + [_cell(name, float(found[name][cycle])) for name in names]
            )
    return ["cycle", *(_WORDS[name] for name in names)], rows


def _of_arm(audit: FeedbackAudit, arm: str, figure: str) -> np.ndarray:
    """float64 (worlds, cycles + 1)."""
    return np.array([values_of(getattr(run, arm), figure) for run in audit.runs])


def _known_means(values: np.ndarray) -> np.ndarray:
    """float64 (n,), the means of (m, n) values over the lines that are not NaN; NaN where all are."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    found: np.ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return found


def _cell(figure: str, value: float) -> str:
    if np.isnan(value):
        return NOTHING
    if figure in _SHARES:
        return f"{value:.1%}"
    return f"{value:.2f}" if figure.endswith("genres") else number(value, ".3f")


def write_plot(audit: FeedbackAudit, folder: Path) -> Path:
    """Draws figures over the cycles: the mean of each arm, and a thin line for every world."""
    from matplotlib import style
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    names = ("watched_gini", "watched_coverage", "watched_genres", "shown_coverage", "quality", "local")
    with style.context(["default", {"font.size": 8.0, "axes.spines.top": False, "axes.spines.right": False}]):
        figure = Figure(figsize=(9.5, 5.0), dpi=120, layout="constrained")
        figure.suptitle(f"{audit.title}: {audit.finding.value}", x=0.01, ha="left", fontsize=10.0)
        for axes, name in zip(figure.subplots(2, 3).ravel(), names, strict=True):
            _draw(axes, audit, name)
        figure.savefig(folder / PLOT_FILE, format="png", metadata={"Software": None})
    return folder / PLOT_FILE


def _draw(axes: "Axes", audit: FeedbackAudit, name: str) -> None:
    for arm, ink in (("control", _CONTROL_INK), ("model", _MODEL_INK)):
        values = _of_arm(audit, arm, name)
        cycle = np.arange(values.shape[1])
        for line in values:
            axes.plot(cycle, line, color=ink, linewidth=0.6, alpha=0.35)
        axes.plot(cycle, _known_means(values), color=ink, linewidth=1.8, label=arm)
    axes.axvline(0.5, color="#000000", linewidth=0.6, linestyle=":")
    axes.set_title(_WORDS[name], loc="left", fontsize=9.0)
    axes.set_xlim(0, audit.settings.num_cycles)
    axes.set_xticks(range(0, audit.settings.num_cycles + 1, max(1, audit.settings.num_cycles // 5)))
    if name in _SHARES:
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    if name == "watched_gini":
        axes.legend(frameon=False)
    if name in ("shown_coverage", "quality", "local"):
        axes.set_xlabel("cycle; 0 is before the loop")
