"""events.parquet → how much is watched, when, where, and how unevenly; in a stream, whatever its size."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from towers.data.card.columns import NUM_TOP, scan
from towers.data.card.counting import ValueCounts, count_values, rounded, streamed
from towers.data.card.figures import Behaviour, Histogram, Named, Popularity, TableFigures, Timeline

_HISTORY_EDGES = np.array([1 << power for power in range(17)])
_MINUTE_EDGES = np.arange(0, 185, 5)
_COMPLETION_EDGES = np.arange(21) / 20
_EVERY = {"day": "1d", "week": "1w", "month": "1mo"}
_LONGEST = {"day": timedelta(days=98), "week": timedelta(days=5 * 366)}
"""A longer log is counted by the next period, else its plot is nothing but spikes."""
_NUM_RANKS = 200


def measure_behaviour(
    folder: Path, events: TableFigures, profiles: TableFigures, min_profiles: int
) -> Behaviour:
    """What the events of a folder of canonical tables say; `events`, `profiles` are their figures."""
    items = scan(folder, "items")
    num_titles = int(streamed(items.select(pl.len())).item())
    if events.num_rows == 0:
        return _nothing(num_titles)
    log = scan(folder, "events")
    history = count_values(log.group_by("profile_id").agg(num_events=pl.len()), pl.col("num_events"))
    first_start = pl.col("start").min().dt.date()
    titles = streamed(log.group_by("item_id").agg(num_events=pl.len(), first=first_start))
    hours = streamed(log.group_by(hour=pl.col("start").dt.truncate("1h")).agg(num_events=pl.len()))
    days, num_events = hours["hour"].dt.date(), hours["num_events"]
    span = (min(days), max(days))
    countries, countries_of = _countries(events, profiles)
    return Behaviour(
        first_day=str(span[0]),
        last_day=str(span[1]),
        num_profiles=history.num_rows,
        num_items=titles.height,
        num_cold=num_titles - titles.height,
        history_length=history.histogram(_up_to(_HISTORY_EDGES, history)),
        minutes=_minutes(log, events),
        completion=_completion(log, items, events),
        events_over_time=_timeline(days, num_events, span),
        new_titles=_timeline(titles["first"], pl.repeat(1, titles.height, eager=True), span),
        hours=tuple(np.bincount(hours["hour"].dt.hour(), num_events, 24).astype(int).tolist()),
        countries=countries,
        countries_of=countries_of,
        popularity=_popularity(titles["num_events"].to_numpy(), num_titles),
        top_titles=_top_titles(log, items, titles, min_profiles),
    )


def _nothing(num_titles: int) -> Behaviour:
    return Behaviour(
        first_day=None,
        last_day=None,
        num_profiles=0,
        num_items=0,
        num_cold=num_titles,
        history_length=None,
        minutes=None,
        completion=None,
        events_over_time=None,
        new_titles=None,
        hours=None,
        countries=(),
        countries_of="events",
        popularity=None,
        top_titles=(),
    )


def _minutes(log: pl.LazyFrame, events: TableFigures) -> Histogram | None:
    if not _says(events, "minutes_watched"):
        return None
    counts = count_values(log, rounded(pl.col("minutes_watched"), 1))
    return counts.histogram(_up_to(_MINUTE_EDGES, counts))


def _completion(log: pl.LazyFrame, items: pl.LazyFrame, events: TableFigures) -> Histogram | None:
    """The share of the title that was watched: as the source says it, else by minutes and duration."""
    if not _says(events, "completion") and not _says(events, "minutes_watched"):
        return None
    duration = items.select("item_id", "duration_minutes").filter(pl.col("duration_minutes") > 0.0)
    watched = log.select("item_id", "completion", "minutes_watched").join(duration, on="item_id", how="left")
    by_minutes = (pl.col("minutes_watched") / pl.col("duration_minutes")).clip(0.0, 1.0)
    share = pl.coalesce("completion", by_minutes)
    return count_values(watched, rounded(share, 2)).histogram(_COMPLETION_EDGES)


def _says(table: TableFigures, column: str) -> bool:
    return any(each.name == column and each.num_null < table.num_rows for each in table.columns)


def _up_to(edges: np.ndarray, counts: ValueCounts) -> np.ndarray:
    """The bins that are needed: none but the first two begins above the highest value."""
    kept: np.ndarray = edges[: max(2, np.searchsorted(edges, counts.value[-1], side="right"))]
    return kept


def _timeline(days: pl.Series, counts: pl.Series, span: tuple[date, date]) -> Timeline:
    """Counts per day, week (from Monday) or month, from that of the first day to that of the last."""
    length = span[1] - span[0]
    period = next((name for name, most in _LONGEST.items() if length < most), "month")
    every = _EVERY[period]
    counted = pl.DataFrame({"start": days.dt.truncate(every), "count": counts})
    first, last = pl.Series(span).dt.truncate(every)
    starts = pl.date_range(first, last, every, eager=True).alias("start").to_frame()
    line = starts.join(counted.group_by("start").agg(pl.col("count").sum()), on="start", how="left")
    line = line.sort("start").with_columns(pl.col("count").fill_null(0))
    return Timeline(period, tuple(map(str, line["start"])), tuple(line["count"].to_list()))


def _countries(events: TableFigures, profiles: TableFigures) -> tuple[tuple[Named, ...], str]:
    for table in (events, profiles):
        top = next(column.top for column in table.columns if column.name == "country")
        if top:
            return top[:NUM_TOP], table.name
    return (), events.name


def _top_titles(
    log: pl.LazyFrame, items: pl.LazyFrame, titles: pl.DataFrame, min_profiles: int
) -> tuple[Named, ...]:
    """The most watched titles by name, but those that too few profiles watched."""
    most = titles.sort(["num_events", "item_id"], descending=[True, False]).head(NUM_TOP)
    watchers = log.filter(pl.col("item_id").is_in(most["item_id"].implode()))
    watchers = watchers.group_by("item_id", "profile_id").agg().group_by("item_id").agg(num=pl.len())
    shown = (
        most.join(streamed(watchers), on="item_id")
        .filter(pl.col("num") >= min_profiles)
        .join(streamed(items.select("item_id", "title")), on="item_id")
        .sort(["num_events", "item_id"], descending=[True, False])
    )
    return tuple(Named(row["title"], int(row["num_events"])) for row in shown.iter_rows(named=True))


def _popularity(num_events: np.ndarray, num_titles: int) -> Popularity:
    rising = np.concatenate([np.zeros(num_titles - len(num_events), np.int64), np.sort(num_events)])
    place = 2 * np.arange(1, num_titles + 1) - num_titles - 1
    gini = float(np.dot(place, rising) / (num_titles * rising.sum()))
    falling = rising[::-1]
    num_top = max(1, num_titles // 100)
    watched = len(num_events)
    rank = np.unique(np.rint(np.geomspace(1, watched, _NUM_RANKS)).astype(np.int64))
    return Popularity(
        ranks=tuple(rank.tolist()),
        events=tuple(falling[rank - 1].tolist()),
        gini=round(gini, 4),
        top_share=round(float(falling[:num_top].sum() / falling.sum()), 4),
    )
