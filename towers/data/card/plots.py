"""The plots of a data card: one idea each, in one colour that everyone can tell from the paper."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from towers.data.card.figures import Behaviour, Histogram, Named, Popularity, Timeline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_INK = "#0072B2"  # the blue of Okabe and Ito's palette
_SIZE_INCHES = (6.4, 3.2)
_DPI = 120
_DAYS_OF = {"day": 1, "week": 7, "month": 30}
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
}

Drawing = Callable[["Axes"], None]


def draw_plots(behaviour: Behaviour, folder: Path) -> tuple[str, ...] | None:
    """Draws all that there are figures for as <name>.png, and gives the names.

    None where matplotlib is not installed. The same figures give the same bytes under
    one version of matplotlib, whatever style its user has set.
    """
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        return None
    names = []
    with style.context(["default", _STYLE]):
        for name, draw in _drawings(behaviour):
            figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
            draw(figure.add_subplot())
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            names.append(name)
    return tuple(names)


def _drawings(b: Behaviour) -> Iterator[tuple[str, Drawing]]:
    """A name and what draws it, in the order of the page."""
    if b.events_over_time is not None:
        title = f"Events per {b.events_over_time.period}"
        yield "events_over_time", partial(_timeline, line=b.events_over_time, title=title, of="events")
    if b.hours is not None:
        yield "hours", partial(_hours, counts=b.hours)
    if b.minutes is not None:
        yield "minutes", partial(_minutes, minutes=b.minutes)
    if b.completion is not None:
        yield "completion", partial(_completion, completion=b.completion)
    if b.history_length is not None:
        yield "history_length", partial(_history_length, lengths=b.history_length)
    if b.popularity is not None:
        yield "popularity", partial(_popularity, popularity=b.popularity)
    if b.new_titles is not None:
        title = f"Titles watched for the first time, per {b.new_titles.period}"
        yield "new_titles", partial(_timeline, line=b.new_titles, title=title, of="titles")
    if b.countries:
        yield "countries", partial(_countries, countries=b.countries, of=b.countries_of)


def _timeline(axes: "Axes", line: Timeline, title: str, of: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    days = [date.fromisoformat(start).toordinal() - date(1970, 1, 1).toordinal() for start in line.starts]
    edges = [*days, days[-1] + _DAYS_OF[line.period]]
    axes.stairs(line.counts, edges, fill=True, color=_INK, alpha=0.25, linewidth=0)
    axes.stairs(line.counts, edges, color=_INK, linewidth=1.2)
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    _finish(axes, title, f"{line.period} beginning (UTC)", of)


def _hours(axes: "Axes", counts: Sequence[int]) -> None:
    axes.bar(range(24), counts, color=_INK, width=0.9)
    axes.set_xticks(range(0, 24, 3))
    _finish(axes, "Events by hour of the day", "hour of the day (UTC)", "events")


def _minutes(axes: "Axes", minutes: Histogram) -> None:
    edges = minutes.edges
    axes.bar(edges, minutes.counts, width=4.5, align="edge", color=_INK)
    axes.set_xticks([edge for edge in edges if edge % 30 == 0])
    more = "; the last bar is 180 and more" if edges[-1] == 180 else ""
    _finish(axes, "Minutes watched per event", f"minutes{more}", "events")


def _completion(axes: "Axes", completion: Histogram) -> None:
    percent = [100.0 * edge for edge in completion.edges]
    axes.bar(percent, completion.counts, width=4.5, align="edge", color=_INK)
    axes.set_xticks(range(0, 101, 10))
    _finish(axes, "Share of the title that was watched", "% of its length; the last bar is 100%", "events")


def _history_length(axes: "Axes", lengths: Histogram) -> None:
    places = range(len(lengths.edges))
    axes.bar(places, lengths.counts, align="edge", width=0.95, color=_INK)
    axes.set_xticks(places, [f"{edge:,.0f}" for edge in lengths.edges])
    _finish(
        axes, "Events per profile", "events of a profile; each bar goes up to the next number", "profiles"
    )


def _popularity(axes: "Axes", popularity: Popularity) -> None:
    axes.plot(popularity.ranks, popularity.events, color=_INK, linewidth=1.6)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _whole_numbers(axes.xaxis)
    _finish(axes, "Events per title, the most watched first", "rank of the title", "events", from_zero=False)


def _countries(axes: "Axes", countries: Sequence[Named], of: str) -> None:
    names = [country.name for country in countries]
    axes.barh(range(len(names)), [country.num_rows for country in countries], color=_INK, height=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    _finish(axes, f"{of.capitalize()} by country", of, "", along="x")


def _finish(
    axes: "Axes", title: str, x_label: str, y_label: str, *, along: str = "y", from_zero: bool = True
) -> None:
    """Title, labels, and whole numbers on the axis of the counts, which begins at 0 but for logarithms."""
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    counts = axes.yaxis if along == "y" else axes.xaxis
    counts.grid(True)
    _whole_numbers(counts)
    if from_zero:
        (axes.set_ylim if along == "y" else axes.set_xlim)(0, None)


def _whole_numbers(axis: "Axis") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    logarithmic = axis.get_scale() == "log"
    axis.set_major_locator(LogLocator() if logarithmic else MaxNLocator(6, integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    if logarithmic:
        axis.set_minor_formatter(NullFormatter())


def _short(count: float) -> str:
    """A count as an axis names it: 800, 1,500, 20M."""
    return f"{count / 1e6:g}M" if abs(count) >= 1e6 else f"{count:,.0f}"
