"""The figures of a data card in words and cells, for a page and for a terminal."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import PurePath

from towers.data.card.figures import Card, Histogram, Named, Popularity, TableFigures, Timeline
from towers.data.ingest.report import IngestReport

NOTHING = "–"

Cells = tuple[list[str], list[list[str]]]
"""The names of the columns, and the rows."""


def summary(card: Card) -> list[str]:
    """What the log is, in a few sentences."""
    b = card.behaviour
    num_titles = card.table("items").num_rows
    if b.first_day is None or b.last_day is None:
        return [f"No events: {_counted(num_titles, 'title')} and nobody who watched."]
    num_days = (date.fromisoformat(b.last_day) - date.fromisoformat(b.first_day)).days + 1
    return [
        f"{_counted(card.table('events').num_rows, 'event')} of {_counted(b.num_profiles, 'profile')} on "
        f"{_counted(b.num_items, 'title')}, from {day(b.first_day)} to {day(b.last_day)} "
        f"({_counted(num_days, 'day')}).",
        f"{b.num_cold:,} of {_counted(num_titles, 'title')} in the catalogue ({b.num_cold / num_titles:.1%}) "
        "without an event.",
    ]


def table_cells(card: Card) -> Cells:
    """One row per table: what it holds and, where ingest reported, what came in."""
    report = card.report
    if report is None:
        return ["table", "rows"], [[table.name, f"{table.num_rows:,}"] for table in card.tables]
    return (
        ["table", "rows", "read", "rejected", "added"],
        [
            [
                table.name,
                f"{table.num_rows:,}",
                f"{report.num_read.get(table.name, 0):,}",
                f"{report.num_rejected(table.name):,}",
                f"{report.added.get(table.name, 0):,}",
            ]
            for table in card.tables
        ],
    )


def loss_cells(report: IngestReport) -> Cells:
    """One row per rule that rows broke, with the place of the first one in its file."""
    return (
        ["table", "rule", "column", "outcome", "rows", "share", "first"],
        [
            [
                count.table,
                count.rule.replace("_", " "),
                count.column or NOTHING,
                count.outcome.value,
                f"{count.num_rows:,}",
                _share(count.num_rows, report.num_read.get(count.table, 0)),
                # The name of the file is enough; where it lay is nobody else's business.
                PurePath(count.example).name if count.example else NOTHING,
            ]
            for count in report.counts
        ],
    )


def column_cells(table: TableFigures) -> Cells:
    """One row per column that has a value: nulls, range, and the most frequent values that may be shown."""
    return (
        ["column", "null", "distinct", "lowest", "median", "highest", "most frequent (rows)"],
        [
            [
                column.name,
                _share(column.num_null, table.num_rows) if column.num_null else "0",
                NOTHING if column.num_distinct is None else f"{column.num_distinct:,}",
                column.low or NOTHING,
                column.median or NOTHING,
                column.high or NOTHING,
                _named(column.top) or NOTHING,
            ]
            for column in table.columns
            if column.num_null < table.num_rows
        ],
    )


def column_notes(table: TableFigures, min_profiles: int) -> list[str]:
    """What the cells leave out: columns without a value, values that too few profiles share."""
    empty = [column.name for column in table.columns if column.num_null == table.num_rows]
    notes = [f"Without a value in any row: {', '.join(empty)}."] if empty else []
    hidden = [f"{each.num_hidden:,} of {each.name}" for each in table.columns if each.num_hidden]
    if hidden:
        notes.append(f"Values of fewer than {min_profiles} profiles are not shown: {', '.join(hidden)}.")
    return notes


def findings(card: Card) -> Iterator[tuple[str, str]]:
    """What each figure says in a sentence or two, by the name of its plot, in the order of the page."""
    b = card.behaviour
    if b.events_over_time is not None:
        yield "events_over_time", _over_time(b.events_over_time)
    if b.hours is not None:
        yield "hours", _hours(b.hours)
    if b.minutes is not None:
        yield "minutes", _minutes(b.minutes, card)
    if b.completion is not None:
        yield "completion", _completion(b.completion, card)
    if b.history_length is not None:
        yield "history_length", _lengths(b.history_length)
    if b.popularity is not None:
        yield "popularity", _popularity(b.popularity, b.top_titles, card.table("items").num_rows)
    if b.new_titles is not None:
        yield "new_titles", _new_titles(b.new_titles)
    if b.countries:
        yield "countries", f"By {b.countries_of}: {_named(b.countries)}."


def day(iso: str) -> str:
    """A day as it is read: 2 January 2023."""
    of = date.fromisoformat(iso)
    return f"{of.day} {of:%B %Y}"


def _over_time(line: Timeline) -> str:
    most = max(range(len(line.counts)), key=line.counts.__getitem__)
    quiet = sum(count == 0 for count in line.counts)
    words = (
        f"{sum(line.counts) / len(line.counts):,.1f} events per {line.period} on average, most "
        f"{_when(line.period, line.starts[most])} ({line.counts[most]:,})."
    )
    return words + (f" {_counted(quiet, line.period)} without any." if quiet else "")


def _when(period: str, start: str) -> str:
    match period:
        case "day":
            return f"on {day(start)}"
        case "week":
            return f"in the week of {day(start)}"
        case _:
            return f"in {day(start).partition(' ')[2]}"  # May 2017


def _hours(counts: Sequence[int]) -> str:
    most = max(range(24), key=counts.__getitem__)
    return f"Most begin between {most}:00 and {most + 1}:00 UTC: {_share(counts[most], sum(counts))}."


def _minutes(minutes: Histogram, card: Card) -> str:
    noun = "minute" if minutes.median == 1.0 else "minutes"
    return (
        f"{_of_known(minutes, card)}a median of {minutes.median:g} {noun}, {minutes.mean:.1f} on average; "
        f"{_share(minutes.counts[0], minutes.num_values)} under {minutes.edges[1]:g} minutes."
    )


def _completion(completion: Histogram, card: Card) -> str:
    little = sum(n for edge, n in zip(completion.edges, completion.counts, strict=True) if edge < 0.1)
    return (
        f"{_of_known(completion, card)}a median of {completion.median:.0%} of the title; "
        f"{_share(completion.counts[-1], completion.num_values)} to the end, "
        f"{_share(little, completion.num_values)} less than a tenth."
    )


def _of_known(histogram: Histogram, card: Card) -> str:
    """Which events a figure is about, where it is not all of them."""
    num_events = card.table("events").num_rows
    if histogram.num_values == num_events:
        return "Per event "
    return f"Of the {_share(histogram.num_values, num_events)} of events that say it, "


def _lengths(lengths: Histogram) -> str:
    ones = lengths.counts[0]  # the first bin is that of one event alone
    words = (
        f"A median of {_counted(int(lengths.median), 'event')} per profile, {lengths.mean:,.1f} on average"
    )
    return words + (f"; {_share(ones, lengths.num_values)} of profiles have a single one." if ones else ".")


def _popularity(popularity: Popularity, top: Sequence[Named], num_titles: int) -> str:
    num_top = max(1, num_titles // 100)
    who = "The most watched title has" if num_top == 1 else f"The {num_top:,} most watched titles have"
    return (
        f"{who} {popularity.top_share:.1%} of the events; Gini index {popularity.gini:.2f} "
        "(0: all titles alike, towards 1: one title has all)."
        + (f" Most watched (events): {_named(top)}." if top else "")
    )


def _new_titles(line: Timeline) -> str:
    first, later = line.counts[0], line.counts[1:]
    words = f"{_counted(first, 'title')} in the first {line.period}"
    if not later:
        return words + "."
    return words + f", then {sum(later) / len(later):,.1f} per {line.period} on average."


def _named(values: Sequence[Named]) -> str:
    return ", ".join(f"{value.name} ({value.num_rows:,})" for value in values)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _share(part: int, whole: int) -> str:
    if not whole:
        return NOTHING
    # A few rows are not none.
    return "< 0.1%" if 0 < part < 0.0005 * whole else f"{part / whole:.1%}"
