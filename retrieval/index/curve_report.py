"""An operating curve for people: a table for the terminal, and a plot of recall over what is read."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from retrieval.index.operating import OperatingCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FILE = "index_curve.png"
"""The plot of the operating curve, in a release."""

_INK = "#0072B2"


def render(curve: OperatingCurve) -> Table:
    """A line for each operating point."""
    title = f"recall@{curve.k} of {curve.num_queries} queries; {curve.bytes_per_item:.0f} bytes an item"
    table = Table(title=title, title_justify="left", box=None, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("asked for", "reached", "codes read", "lists read", "depth"):
        table.add_column(name, justify="right")
    for point in curve.points:
        table.add_row(
            f"{point.target:g}",
            f"{point.recall:.4f}",
            f"{point.codes:,.0f}",
            f"{point.lists:,.1f}",
            f"{point.stop:.3g}",
        )
    return table


def plot(curve: OperatingCurve, path: Path) -> None:
    """Writes the plot as PNG; the same curve gives the same bytes."""
    # Only who builds draws; who serves does without.
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}]):
        figure = Figure(figsize=(6.0, 3.5), dpi=120, layout="constrained")
        _draw(figure.add_subplot(), curve)
        figure.savefig(path, format="png", metadata={"Software": None})


def _draw(axes: "Axes", curve: OperatingCurve) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.plot(
        [point.codes for point in curve.points],
        [point.recall for point in curve.points],
        "o-",
        color=_INK,
        markersize=4,
    )
    for point in curve.points:
        axes.annotate(
            f"{point.target:g}",
            (point.codes, point.recall),
            xytext=(6, -9),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_title(f"recall@{curve.k} over what a query reads, by the recall asked for", loc="left")
    axes.set_xlabel("codes read by a query")
    axes.set_ylabel(f"recall@{curve.k}")
    axes.set_xlim(left=0.0)
    axes.margins(x=0.08, y=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(lambda codes, _: f"{codes:,.0f}")
    axes.grid(True, color="#EEEEEE")
