"""A drift check as a reader sees it: readings for a terminal, and a plot of each feature on both sides."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from towers.evaluation.drift import Reading
from towers.evaluation.drift_decision import DriftCheck
from towers.ladder.drift_features import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FILE = "drift.png"

# Okabe and Ito's palette: told apart by everyone, and on paper.
_TRAIN_INK, _LIVE_INK = "#999999", "#0072B2"
_DRIFTED_INK = "#D55E00"
_MOST_BINS = 12
_COLUMNS = 2


def render(check: DriftCheck) -> Group:
    """The answer for a terminal: every reading beside its limit, then the decision."""
    parts: list[RenderableType] = [Text(_compared(check))]
    if check.readings:
        parts.append(_table(check))
    moved = ((one.subject, check.moved[one.subject]) for one in check.triggered if one.subject in check.moved)
    parts += [
        Text(f"{_spelled(subject)}: {most.bin} went from {most.train:.1%} to {most.live:.1%}")
        for subject, most in moved
    ]
    parts += [Text(f"{_spelled(subject)}: not read, {why}") for subject, why in check.unread.items()]
    style = "bold red" if check.due else "bold green"
    return Group(*parts, Text(check.says, style=style))


def write_plot(check: DriftCheck, compared: Sequence[Comparison], folder: Path) -> Path | None:
    """Draws the shares of train and of newer events in each feature; gives the file's path.

    None where there is nothing to draw: an older drawing then goes.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    path = folder / PLOT_FILE
    if not compared:
        path.unlink(missing_ok=True)
        return None
    with style.context(["default", {"font.size": 8.0, "axes.spines.top": False, "axes.spines.right": False}]):
        rows = ceil(len(compared) / _COLUMNS)
        figure = Figure(figsize=(5.0 * _COLUMNS, 2.4 * rows + 0.4), dpi=120, layout="constrained")
        figure.suptitle(_compared(check), x=0.01, ha="left", fontsize=9.0)
        panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, each in zip(panels, compared, strict=False):
            _draw(axes, each)
        for axes in panels[len(compared) :]:
            axes.set_axis_off()
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


def _compared(check: DriftCheck) -> str:
    """What was compared, in a line or two."""
    until = f"learned up to {_minute(check.cut_off_seconds)}, asked at {_minute(check.now_seconds)}"
    if not check.num_events:
        return f"{check.title}: {until}; no newer event"
    return (
        f"{check.title}: {until}\n{check.num_events:,} newer events, the last {check.days:.1f} days of them: "
        f"{check.num_live:,} profiles against {check.num_train:,} of train"
    )


def _table(check: DriftCheck) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("reading")
    for name in ("value", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for reading in check.readings:
        verdict = Text("drifted", style="bold red") if reading.triggered else Text("as in train", "green")
        table.add_row(*_cells(reading), verdict)
    for reading in check.noted:
        table.add_row(*_cells(reading), Text("does not count", style="dim"))
    return table


def _cells(reading: Reading) -> tuple[Text, Text, Text]:
    return Text(_spelled(reading.subject)), Text(f"{reading.value:.3f}"), Text(f"{reading.limit:.3f}")


def _spelled(subject: str) -> str:
    return subject.replace("_", " ")


def _draw(axes: "Axes", compared: Comparison) -> None:
    """Bars side by side; of many categories, those most common on either side."""
    train, live = compared.shares
    shown = np.flatnonzero(train + live > 0)
    left_out = ""
    if len(shown) > _MOST_BINS and compared.feature.value != "hour":
        common = shown[np.argsort(-(train + live)[shown], kind="stable")[:_MOST_BINS]]
        left_out = f", {_MOST_BINS} of {len(shown)}"
        shown = np.sort(common)
    place = np.arange(len(shown))
    axes.bar(place - 0.2, train[shown], width=0.4, color=_TRAIN_INK, label="train")
    axes.bar(place + 0.2, live[shown], width=0.4, color=_LIVE_INK, label="newer")
    names = [compared.bins[row] for row in shown]
    axes.set_xticks(place, names, rotation=45 if max(map(len, names)) > 3 else 0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right" if max(map(len, names)) > 3 else "center")
    reading = compared.reading
    axes.set_title(
        f"{_spelled(compared.feature.value)}{left_out}: index {reading.value:.3f}, limit {reading.limit:.3f}",
        loc="left",
        fontsize=9.0,
        color=_DRIFTED_INK if reading.triggered else "black",
    )
    axes.set_ylabel("share of profiles")
    axes.set_ylim(bottom=0.0)
    axes.grid(True, axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.legend(frameon=False)


def _minute(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
