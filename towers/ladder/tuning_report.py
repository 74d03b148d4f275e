"""A hyper-parameter search as a reader sees it: a table for a terminal, and the best so far by trial."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from towers.evaluation.tables import NOTHING, Tables, estimate, number
from towers.ladder.search import Search
from towers.ladder.trials import Outcome, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FILE = "tuning.png"

_BEST, _FINISHED, _PRUNED, _FAILED = "#0072B2", "#56B4E9", "#999999", "#D55E00"
_PANELS_PER_ROW = 3


def render(searches: Sequence[Search], title: str) -> Group:
    """What was found for a terminal: a row per rung, the settings chosen, and why trials failed."""
    columns = ["rung", "default", "best", "gain [95 %]", "whole", "pruned", "failed", "s"]
    chosen = [
        [search.name.value, name, _plain(search.default, name), _plain(search.best, name)]
        for search in searches
        if search.best is not None
        for name in search.best.chosen
    ]
    parts: list[RenderableType] = [
        Text(f"{title}; validation N@10"),
        Tables(columns, [_row(search) for search in searches], num_names=1),
        Text("\nsettings", style="bold"),
        Tables(["rung", "setting", "default", "best"], chosen, num_names=2),
    ]
    for search in searches:
        reasons = sorted({trial.reason for trial in search.trials if trial.reason is not None})
        parts += [Text(f"{search.name}: failed: {reason}") for reason in reasons]
    parts.append(
        Text("\nA gain is of the best of many on the questions that chose it: optimistic. The ladder judges.")
    )
    return Group(*parts)


def write_plot(searches: Sequence[Search], title: str, folder: Path) -> Path:
    """Draws the best so far by trial, a panel per rung; gives the file's path."""
    from matplotlib import style
    from matplotlib.figure import Figure

    path = folder / PLOT_FILE
    num_columns = min(_PANELS_PER_ROW, len(searches))
    num_rows = ceil(len(searches) / num_columns)
    with style.context(["default", {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}]):
        figure = Figure(
            figsize=(3.6 * num_columns + 0.4, 2.6 * num_rows + 0.8), dpi=120, layout="constrained"
        )
        figure.suptitle(f"{title}: best validation N@10 by trial", x=0.01, ha="left")
        panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
        for panel, search in zip(panels, searches, strict=False):
            _draw(panel, search)
        for panel in panels[len(searches) :]:
            panel.set_axis_off()
        drawn = {line.get_label(): line for panel in panels for line in panel.get_lines()}
        figure.legend(drawn.values(), drawn.keys(), loc="outside lower left", ncols=4, frameon=False)
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


def _row(search: Search) -> list[str]:
    default, best, gain = search.default, search.best, search.gain
    return [
        search.name.value,
        number(None if default is None else default.value),
        number(None if best is None else best.value),
        NOTHING if gain is None else estimate(gain.difference, gain.low, gain.high),
        *(str(search.num(outcome)) for outcome in Outcome),
        f"{sum(trial.seconds for trial in search.trials):,.0f}",
    ]


def _plain(trial: Trial | None, field: str) -> str:
    value = None if trial is None else trial.chosen[field]
    if value is None:
        return NOTHING
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _draw(axes: "Axes", search: Search) -> None:
    """Finished trials as points, the best of them as a line; the others as ticks at the bottom."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(search.name.value, loc="left")
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True, color="#EEEEEE")
    finished = search.finished
    if finished:
        values = [trial.value or 0.0 for trial in finished]
        places = [trial.place + 1 for trial in finished]
        best = [max(values[: end + 1]) for end in range(len(values))]
        last = search.trials[-1].place + 1
        axes.step([*places, last], [*best, best[-1]], where="post", color=_BEST, label="best so far")
        axes.plot(places, values, "o", color=_FINISHED, markersize=3.5, label="measured whole")
    for outcome, ink in ((Outcome.PRUNED, _PRUNED), (Outcome.FAILED, _FAILED)):
        places = [trial.place + 1 for trial in search.trials if trial.outcome is outcome]
        if places:
            axes.plot(
                places,
                [0.02] * len(places),
                "|",
                color=ink,
                transform=axes.get_xaxis_transform(),
                label=outcome.value,
            )
