"""The input audit as it is read: tables for a terminal, a plot, and JSON that a card reads."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Group, RenderableType
from rich.text import Text

from towers.audit.distances import Distance, distances
from towers.audit.reference import Reference, read_reference
from towers.audit.representation import Finding, InputSettings, Ratio, SegmentAudit, audit_segments
from towers.audit.segments import read_audience
from towers.audit.titles import TitleAudit, audit_titles
from towers.data.schema import read_table
from towers.evaluation.tables import NOTHING, Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FILE = "segments.png"

# Okabe and Ito's palette: told apart by everyone, and on paper.
_INK = {Finding.UNDER_SERVED: "#D55E00", Finding.NONE_FOUND: "#0072B2", Finding.UNKNOWN: "#999999"}
_MOST_DRAWN = 40
_MOST_ROWS = 12
"""Segments and groups shown of one dimension, the largest; every one that is under-served is shown too."""


@dataclass(frozen=True, slots=True)
class InputAudit:
    """What part=input found in the canonical tables of one folder."""

    title: str
    num_profiles: int
    num_events: int
    settings: InputSettings
    distances: tuple[Distance, ...]
    segments: tuple[SegmentAudit, ...]
    titles: TitleAudit

    @property
    def under_served(self) -> tuple[SegmentAudit, ...]:
        """The segments that have a gap."""
        return tuple(each for each in self.segments if each.finding is Finding.UNDER_SERVED)

    def to_json(self) -> dict[str, Any]:
        """Plain values; nothing per profile."""
        return asdict(self)


def audit_input(tables: Path, population: Path | None, settings: InputSettings, title: str) -> InputAudit:
    """The audit of a folder of canonical tables; `population` is a CSV file, see `read_reference`.

    Without one no presence is judged. Raises MissingDataError where a table is not there.
    """
    meant = Reference({}) if population is None else read_reference(population)
    profiles, items = read_table(tables, "profiles"), read_table(tables, "items")
    events = pl.scan_parquet(tables / "events.parquet")
    audience = read_audience(profiles, events)
    return InputAudit(
        title,
        len(audience),
        int(audience.num_events.sum()),
        settings,
        distances(audience, meant),
        audit_segments(audience, meant, settings),
        audit_titles(items, profiles, events),
    )


def render(audit: InputAudit) -> Group:
    """For a terminal."""
    settings = audit.settings
    found = audit.under_served
    parts: list[RenderableType] = [
        Text(
            f"{audit.title}: {audit.num_profiles:,} profiles with {audit.num_events:,} events", style="bold"
        ),
        Text(
            "presence: share of profiles over the reference's; service: geometric mean of events + 1 over "
            "that of all others; [95 %], households allowed for; shows: the ratio that so many profiles "
            f"would show in {settings.power:.0%} of cases; quality gap: the smallest, of the mean, that a "
            f"test at 5 % would show as often. Under-served: below {settings.tolerance:g} and "
            f"p ≤ {settings.level:g}, Holm over all.",
            style="dim",
        ),
    ]
    if audit.distances:
        parts.append(Tables(*distance_cells(audit.distances), num_names=1))
    parts.append(Tables(*segment_cells(audit.segments), num_names=1))
    parts.append(Tables(*group_cells(audit.titles), num_names=2))
    if audit.titles.offers:
        parts.append(Tables(*offer_cells(audit.titles), num_names=1))
    says = ", ".join(each.name for each in found) if found else "none found"
    num_hidden = sum(not each.quality_known for each in audit.segments)
    parts += [
        Text(),
        Text(f"under-served segments: {says}", style="bold red" if found else "bold"),
        Text(
            f"{num_hidden} of {len(audit.segments)} segments are too small to show a quality gap of "
            f"{settings.max_quality_gap:.0%}: their quality is unknown, not fair"
        ),
    ]
    return Group(*parts)


def distance_cells(found: tuple[Distance, ...]) -> tuple[list[str], list[list[str]]]:
    """One row per dimension."""
    columns = ["dimension", "profiles", "total variation", "[95 %]", "by chance", "Jensen-Shannon"]
    return columns, [
        [
            each.dimension.value,
            f"{each.num_profiles:,}",
            f"{each.total_variation:.3f}",
            f"[{each.low:.3f}, {each.high:.3f}]",
            f"≤ {each.by_chance:.3f}",
            f"{each.jensen_shannon:.3f}",
        ]
        for each in found
    ]


def segment_cells(segments: tuple[SegmentAudit, ...]) -> tuple[list[str], list[list[str]]]:
    """One row per segment that is shown."""
    columns = ["segment", "profiles", "share", "meant", "presence [95 %]", "shows"]
    columns += ["service [95 %]", "shows", "input", "quality gap"]
    return columns, [
        [
            each.name,
            f"{each.num_profiles:,}",
            f"{each.share:.1%}",
            NOTHING if each.reference is None else f"{each.reference:.1%}",
            *_ratio_cells(each.presence),
            *_ratio_cells(each.service),
            each.finding.value,
            _quality(each),
        ]
        for each in shown_segments(segments)
    ]


def shown_segments(segments: tuple[SegmentAudit, ...]) -> list[SegmentAudit]:
    """The largest of each dimension, and all that are under-served."""
    place: dict[str, int] = {}
    shown = []
    for each in segments:
        place[each.dimension] = place.get(each.dimension, 0) + 1
        if place[each.dimension] <= _MOST_ROWS or each.finding is Finding.UNDER_SERVED:
            shown.append(each)
    return shown


def _ratio_cells(ratio: Ratio | None) -> list[str]:
    if ratio is None:
        return [NOTHING, NOTHING]
    shows = NOTHING if ratio.detectable is None else f"≤ {ratio.detectable:.2f}"
    return [f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]", shows]


def _quality(each: SegmentAudit) -> str:
    gap = NOTHING if each.quality_gap is None else f"{each.quality_gap:.0%}"
    return gap if each.quality_known else f"{gap} unknown"


def group_cells(titles: TitleAudit) -> tuple[list[str], list[list[str]]]:
    """One row per group of titles that is shown."""
    place: dict[str, int] = {}
    rows = []
    for each in titles.groups:
        place[each.kind] = place.get(each.kind, 0) + 1
        if place[each.kind] > _MOST_ROWS:
            continue
        rows.append(
            [
                each.kind.value.replace("_", " "),
                each.value,
                f"{each.num_titles:,}",
                f"{each.share:.1%}",
                f"{each.event_share:.1%}",
                f"{each.event_share / each.share:.2f}",
                f"{each.num_unwatched / each.num_titles:.1%}",
            ]
        )
    return ["titles by", "value", "titles", "of titles", "of events", "ratio", "unwatched"], rows


def offer_cells(titles: TitleAudit) -> tuple[list[str], list[list[str]]]:
    """One row per country of the audience that is shown."""
    return ["country", "profiles", "on offer", "of it local", "own language"], [
        [
            each.country,
            f"{each.num_profiles:,}",
            f"{each.on_offer:.1%}",
            f"{each.local:.1%}",
            NOTHING if each.spoken is None else f"{each.spoken:.1%}",
        ]
        for each in titles.offers[:_MOST_ROWS]
    ]


def write_plot(audit: InputAudit, folder: Path) -> Path | None:
    """Draws presence and service of the segments with their intervals, a panel of those that there are.

    None where there is no ratio.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    drawn = [each for each in shown_segments(audit.segments) if each.presence or each.service]
    drawn = sorted(drawn, key=lambda each: each.finding is not Finding.UNDER_SERVED)[:_MOST_DRAWN]
    if not drawn:
        return None
    with style.context(["default", {"font.size": 8.0, "axes.spines.top": False, "axes.spines.right": False}]):
        figure = Figure(figsize=(9.0, 0.22 * len(drawn) + 1.2), dpi=120, layout="constrained")
        given = {
            "Presence: share over that meant": [each.presence for each in drawn],
            "Service: events over those of others": [each.service for each in drawn],
        }
        panels = {title: ratios for title, ratios in given.items() if any(ratios)}
        several = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (title, ratios) in zip(several, panels.items(), strict=True):
            _draw(axes, drawn, ratios, title)
            axes.axvline(audit.settings.tolerance, color="#999999", linewidth=0.8, linestyle=":")
        for finding, ink in _INK.items():
            several[0].plot([], [], "o", color=ink, label=finding.value)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(folder / PLOT_FILE, metadata={"Software": None})
    return folder / PLOT_FILE


def _draw(axes: "Axes", drawn: list[SegmentAudit], ratios: list[Ratio | None], title: str) -> None:
    for place, (each, ratio) in enumerate(zip(drawn, ratios, strict=True)):
        if ratio is not None:
            ink = _INK[each.finding]
            axes.plot([max(ratio.low, 0.1), min(ratio.high, 4.0)], [place, place], color=ink, linewidth=1.2)
            axes.plot([min(max(ratio.value, 0.1), 4.0)], [place], "o", color=ink, markersize=3.5)
    axes.axvline(1.0, color="#000000", linewidth=0.8)
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 0.8, 1.0, 1.5, 2.0]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(drawn)), [each.name for each in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.set_title(title, loc="left", fontsize=9.0)
