"""The plots of a climb: quality over cost, and quality over the share of the profiles learned from."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from towers.ladder.climb import Climbed
from towers.ladder.measured import VALUE_K
from towers.ladder.rungs import RungName

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PHASES = {1: "before machine learning", 2: "simplest models", 3: "optimised simple models", 4: "deep towers"}
# Okabe and Ito's palette: told apart by everyone, and on paper.
_INKS = {1: "#999999", 2: "#E69F00", 3: "#009E73", 4: "#0072B2"}
_LEAST_COST = 0.01  # a logarithm knows no nothing
_CURVE_INKS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
_DASHES = ("-", "--", "-.", ":")
# Where the name of a point may stand: to the right, or left if negative; above, or below; in points.
_BESIDE = tuple((right, up) for up in (1, -1, 4, -4, 7, -7, 10, -10) for right in (1, -1))


def plot(climbed: Climbed, draw: Callable[["Axes", Climbed], None], words: str, path: Path) -> str:
    """Writes a plot as PNG, and gives it as an <img> that holds its own bytes."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}]):
        figure = Figure(figsize=(8.0, 4.5), dpi=120, layout="constrained")
        draw(figure.add_subplot(), climbed)
        figure.savefig(path, format="png", metadata={"Software": None})
    return f'<img alt="{words}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'


def draw_pareto(axes: "Axes", climbed: Climbed) -> None:
    """N@10 over the cost of a month, and the line of those that no cheaper rung equals."""
    points = [
        (max(judged.cost_per_month, _LEAST_COST), row.evaluation[f"ndcg@{VALUE_K}"], row.name)
        for row, judged in zip(climbed.rows, climbed.judged, strict=True)
        if judged.cost_per_month is not None and row.evaluation is not None
    ]
    for phase, words in PHASES.items():
        of_phase = [(cost, quality) for cost, quality, name in points if name.phase == phase]
        if of_phase:
            axes.scatter(
                *zip(*of_phase, strict=True), color=_INKS[phase], label=f"{phase} · {words}", zorder=3
            )
    front, best = [], 0.0
    for cost, quality, _ in sorted(points, key=lambda point: (point[0], -point[1])):
        if quality > best:
            best = quality
            front.append((cost, quality))
    if front:
        axes.step(
            *zip(*front, strict=True), where="post", color="#BBBBBB", zorder=1, label="no cheaper is as good"
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda cost, _: f"{cost:g}")
    axes.margins(0.1, 0.1)
    axes.set_title(f"N@{VALUE_K} of the test questions over the cost of a month", loc="left")
    axes.set_xlabel("cost of a month, at the declared prices")
    axes.set_ylabel(f"N@{VALUE_K}")
    axes.set_ylim(bottom=0.0)
    axes.grid(True, color="#EEEEEE", zorder=0)
    if points:
        axes.legend(frameon=False, fontsize=8, loc="lower right")
        _name_points(axes, points)


def _name_points(axes: "Axes", points: Sequence[tuple[float, float, RungName]]) -> None:
    """The name of each point beside it, where it covers no name and no point, if there is such a place."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure = axes.figure.figure
    figure.draw_without_rendering()  # only now does everything have its place
    centres = axes.transData.transform([(cost, quality) for cost, quality, _ in points])
    taken = [Bbox.from_bounds(x - 5.0, y - 5.0, 10.0, 10.0) for x, y in centres]
    for cost, quality, name in sorted(points):
        for place, (right, up) in enumerate(_BESIDE):
            text = axes.annotate(
                name.value, (cost, quality), (6 * right, 4 * up), textcoords="offset points", fontsize=7,
                ha="left" if right > 0 else "right", va="bottom" if up > 0 else "top",
                # From further away a line leads to the point that is meant.
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "#888888"} if abs(up) > 1 else None,
            )  # fmt: skip
            text.get_window_extent()  # puts it in its place
            box = Text.get_window_extent(text)  # without the line to the point
            if place == len(_BESIDE) - 1 or not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def draw_curves(axes: "Axes", climbed: Climbed) -> None:
    """N@10 over the share of the profiles learned from: a rung whose line still rises wants more data."""
    for place, name in enumerate(dict.fromkeys(point.name for point in climbed.curves)):
        points = [(point.share, point.ndcg) for point in climbed.curves if point.name == name]
        shares, quality = zip(*points, strict=True)
        ink = _CURVE_INKS[place % len(_CURVE_INKS)]
        axes.plot(shares, quality, marker="o", color=ink, linestyle=_DASHES[place % len(_DASHES)], label=name)
    axes.set_title(f"N@{VALUE_K} by the share of the profiles that was learned from", loc="left")
    axes.set_xlabel("share of the profiles")
    axes.set_ylabel(f"N@{VALUE_K}")
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(True, color="#EEEEEE", zorder=0)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
