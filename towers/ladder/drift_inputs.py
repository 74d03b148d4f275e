"""What a model learned from and what came after it, as two samples that differ in nothing by construction.

Hours, weekdays, length and sample are alike on both sides: newer events are set against those of a stretch
of equal length, whole weeks earlier, before the cut-off; and each active profile speaks once, so that many
events of few profiles are not taken for drift. What grows with any log, such as time, the length of
histories or the age of titles, is not compared.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl

from towers.data.days import SECONDS_PER_DAY
from towers.data.schema import read_table
from towers.errors import MissingDataError

_WEEK_SECONDS = 7 * SECONDS_PER_DAY
_NUM_KNOWN = 5


class Feature(StrEnum):
    """What is compared, of one event per active profile."""

    COUNTRY = "country"
    """Where it was watched; the profile's own where the event does not say."""
    HOUR = "hour"
    """Hour of the day, UTC, of events in countries that train has: another market brings other hours."""
    GENRE = "genre"
    """The title's first genre."""
    RELEASE_YEAR = "release_year"
    """Of the title. Its age would jump on 1 January."""
    MINUTES = "minutes"
    """Minutes watched."""
    ACTIVITY = "activity"
    """Events of the profile in the stretch."""
    TASTE = "taste"
    """How many of the profile's last five titles before the cut-off are of the title's first genre; of
    profiles with five. On train's side, the cut-off lies as many weeks earlier as the stretch does."""


@dataclass(frozen=True, slots=True)
class Stretches:
    """Where in time the two samples lie; both begin after their first second and hold the last one.

    cut_off_seconds: of the newest event that the model learned from.
    live_start_seconds, live_end_seconds: of the newer events. weeks: how far back train's stretch lies.
    """

    cut_off_seconds: int
    live_start_seconds: int
    live_end_seconds: int
    weeks: int

    @property
    def live(self) -> tuple[int, int]:
        """Beginning, exclusive, and end of the newer events."""
        return self.live_start_seconds, self.live_end_seconds

    @property
    def train(self) -> tuple[int, int]:
        """The same of the events of train."""
        return self.live_start_seconds - self._back, self.live_end_seconds - self._back

    @property
    def train_cut_off_seconds(self) -> int:
        """As long before train's stretch as the cut-off is before the newer events."""
        return self.cut_off_seconds - self._back

    @property
    def days(self) -> float:
        """Their length."""
        return (self.live_end_seconds - self.live_start_seconds) / SECONDS_PER_DAY

    @property
    def _back(self) -> int:
        return self.weeks * _WEEK_SECONDS


def stretches(cut_off_seconds: int, *, newest_seconds: int, first_seconds: int, days: float) -> Stretches:
    """The newest `days` after the cut-off, fewer where the log ends or train begins within them.

    newest_seconds: of the newer log's last event; first_seconds: of the first event of train.
    """
    weeks = ceil((newest_seconds - cut_off_seconds) / _WEEK_SECONDS)
    length = min(round(days * SECONDS_PER_DAY), newest_seconds - cut_off_seconds)
    in_train = newest_seconds - weeks * _WEEK_SECONDS - first_seconds + 1
    if in_train > 0:
        length = min(length, in_train)
    return Stretches(cut_off_seconds, newest_seconds - length, newest_seconds, weeks)


def span(tables: Path, *, after: int | None = None, until: int | None = None) -> tuple[int, int, int]:
    """First and last second of the events in a range of time, and their number; 0, 0 and 0 without any."""
    first, last, count = (
        _events(tables)
        .filter(pl.lit(True) if after is None else pl.col("seconds") > after)
        .filter(pl.lit(True) if until is None else pl.col("seconds") <= until)
        .select(pl.col("seconds").min().alias("first"), pl.col("seconds").max().alias("last"), pl.len())
        .collect(engine="streaming")
        .row(0)
    )
    return first or 0, last or 0, count


def sample(tables: Path, stretch: tuple[int, int], *, seed: int = 0) -> pl.DataFrame:
    """A row per profile active in the stretch: one of its events at random, with a column per Feature.

    Beside them profile_id and item_id; `taste` is null until `with_taste`. Raises as `read_table` does.
    """
    found = (
        _events(tables)
        .filter(pl.col("seconds") > stretch[0], pl.col("seconds") <= stretch[1])
        .select("profile_id", "item_id", "seconds", "minutes_watched", "country")
        .collect(engine="streaming")
    )
    activity = found.group_by("profile_id").agg(pl.len().cast(pl.Float64).alias(Feature.ACTIVITY))
    chance = np.random.default_rng(seed).random(found.height)
    return (
        found.with_columns(pl.Series("chance", chance))
        .sort("chance")
        .unique("profile_id", keep="first", maintain_order=True)
        .join(activity, on="profile_id")
        .join(_titles(tables), on="item_id", how="left")
        .join(_homes(tables), on="profile_id", how="left")
        .select(
            "profile_id",
            "item_id",
            pl.coalesce("country", "home").alias(Feature.COUNTRY),
            (pl.col("seconds") // 3600 % 24).cast(pl.String).str.zfill(2).alias(Feature.HOUR),
            Feature.GENRE,
            Feature.RELEASE_YEAR,
            pl.col("minutes_watched").cast(pl.Float64).alias(Feature.MINUTES),
            Feature.ACTIVITY,
            pl.lit(None, pl.String).alias(Feature.TASTE),
        )
        .sort("profile_id")
    )


def with_taste(drawn: pl.DataFrame, tables: Path, cut_off_seconds: int) -> pl.DataFrame:
    """The sample with its tastes, by the events that `tables` have of its profiles up to a cut-off."""
    known = (
        _events(tables)
        .filter(pl.col("seconds") <= cut_off_seconds)
        .join(drawn.lazy().select("profile_id"), on="profile_id", how="semi")
        .select("profile_id", "item_id", "seconds")
        .collect(engine="streaming")
        .sort("profile_id", "seconds", maintain_order=True)
        .group_by("profile_id", maintain_order=True)
        .tail(_NUM_KNOWN)
        .join(_titles(tables).select("item_id", pl.col(Feature.GENRE).alias("known")), on="item_id")
        .join(drawn.select("profile_id", Feature.GENRE), on="profile_id")
        .group_by("profile_id")
        .agg(pl.len().alias("num_known"), (pl.col("known") == pl.col(Feature.GENRE)).sum().alias("alike"))
    )
    told = (pl.col("num_known") == _NUM_KNOWN) & pl.col(Feature.GENRE).is_not_null()
    return (
        drawn.join(known, on="profile_id", how="left", maintain_order="left")
        .with_columns(pl.when(told).then(pl.format("{} of 5", "alike")).alias(Feature.TASTE))
        .drop("num_known", "alike")
    )


def _events(tables: Path) -> pl.LazyFrame:
    path = tables / "events.parquet"
    if not path.is_file():
        raise MissingDataError(
            f"{path}: no such table; expected ingested tables: run without reuse_tables=true"
        )
    return pl.scan_parquet(path).with_columns((pl.col("start").dt.epoch("ms") // 1000).alias("seconds"))


def _titles(tables: Path) -> pl.DataFrame:
    """item_id, first genre and release year of every title."""
    items = pl.from_arrow(read_table(tables, "items").select(["item_id", "genres", "release_year"]))
    assert isinstance(items, pl.DataFrame)  # a table's rows, never one column
    return items.select(
        "item_id",
        pl.col("genres").list.first().alias(Feature.GENRE),
        pl.col("release_year").cast(pl.Float64).alias(Feature.RELEASE_YEAR),
    )


def _homes(tables: Path) -> pl.DataFrame:
    profiles = pl.from_arrow(read_table(tables, "profiles").select(["profile_id", "country"]))
    assert isinstance(profiles, pl.DataFrame)
    return profiles.rename({"country": "home"})
