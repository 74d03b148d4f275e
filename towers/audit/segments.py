"""Who is in a log: the segments of its profiles, and how much each profile is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from towers.data.days import DAYS_PER_MONTH, SECONDS_PER_DAY
from towers.data.signals.geo import region_of

_MONTH_MS = DAYS_PER_MONTH * 1000 * SECONDS_PER_DAY
_ACTIVITY_FROM = (1.0, 4.0, 16.0)
_ACTIVITIES = ("under 1", "1 to 4", "4 to 16", "16 and more")
UNKNOWN = ""
"""The segment of a profile that does not say."""


class Dimension(StrEnum):
    """What profiles are told apart by."""

    COUNTRY = "country"
    REGION = "region"
    """Of the United Nations' standard M49, that of the country."""
    SUBDIVISION = "subdivision"
    """ISO 3166-2."""
    LANGUAGE = "language"
    AGE_BAND = "age_band"
    DEVICE = "device"
    """The attribute of that name of the profiles table."""
    ACTIVITY = "activity"
    """Events a month, from the profile's first event to the end of the log, one month at the least."""


@dataclass(frozen=True, slots=True)
class Audience:
    """P profiles with at least one event.

    segment: by dimension str (P,), UNKNOWN where the profile does not say. num_events: int64 (P,).
    cluster: int64 (P,), from 0: profiles of one household, which are alike; each its own without households.
    """

    segment: Mapping[Dimension, np.ndarray]
    num_events: Int64[np.ndarray, " P"]
    cluster: Int64[np.ndarray, " P"]

    def __len__(self) -> int:
        return len(self.num_events)


def read_audience(profiles: pa.Table, events: pl.LazyFrame) -> Audience:
    """The audience of the canonical tables; `events` are read in a stream. A dimension that no profile has
    is left out.
    """
    start = pl.col("start")
    counted = (
        events.group_by("profile_id")
        .agg(num_events=pl.len(), first=start.min(), last=start.max())
        .collect(engine="streaming")
    )
    place = pc.index_in(
        profiles["profile_id"], value_set=pa.array(counted["profile_id"].to_list(), pa.string())
    )
    watching = profiles.filter(place.is_valid())
    counted = counted[place.drop_null().to_numpy()]
    num_events = counted["num_events"].to_numpy().astype(np.int64)
    segment = profile_labels(watching)
    if len(num_events):
        first, last = (counted[name].dt.epoch("ms").to_numpy() for name in ("first", "last"))
        segment[Dimension.ACTIVITY] = _activity(num_events, int(last.max()) - first)
    return Audience(
        segment,
        num_events,
        _clusters(watching["household_id"]),
    )


def profile_labels(profiles: pa.Table) -> dict[Dimension, np.ndarray]:
    """The str (P,) segments by dimension, UNKNOWN where a profile does not say; only of what any says."""
    labels = {
        Dimension.COUNTRY: _texts(profiles["country"]),
        Dimension.REGION: _region(profiles["country"]),
        Dimension.SUBDIVISION: _texts(profiles["region"]),
        Dimension.LANGUAGE: _texts(profiles["language"]),
        Dimension.AGE_BAND: _texts(profiles["age_band"]),
        Dimension.DEVICE: _attribute(profiles["attributes"], Dimension.DEVICE),
    }
    return {dimension: label for dimension, label in labels.items() if (label != UNKNOWN).any()}


def _activity(num_events: Int64[np.ndarray, " P"], since_ms: Int64[np.ndarray, " P"]) -> np.ndarray:
    per_month = num_events / np.maximum(1.0, since_ms / _MONTH_MS)
    named: np.ndarray = np.array(_ACTIVITIES)[np.searchsorted(_ACTIVITY_FROM, per_month, side="right")]
    return named


def _clusters(household: pa.ChunkedArray) -> Int64[np.ndarray, " P"]:
    """A number per household, and one per profile that has none."""
    named = _texts(household)
    _, cluster = np.unique(named, return_inverse=True)
    alone = np.flatnonzero(named == "")
    cluster = cluster.astype(np.int64)
    cluster[alone] = len(named) + np.arange(len(alone))
    _, dense = np.unique(cluster, return_inverse=True)
    numbers: np.ndarray = dense.astype(np.int64)
    return numbers


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    texts: np.ndarray = np.array(pc.fill_null(column, UNKNOWN).to_pylist(), dtype=np.str_)
    return texts


def _region(country: pa.ChunkedArray) -> np.ndarray:
    frame = pl.DataFrame({"country": pl.Series(country.to_pylist(), dtype=pl.String)})
    regions = frame.select(region_of(pl.col("country")).fill_null(UNKNOWN))["country"]
    named: np.ndarray = np.array(regions.to_list(), dtype=np.str_)
    return named


def _attribute(attributes: pa.ChunkedArray, name: str) -> np.ndarray:
    values = (
        next((each["value"] for each in row or () if each["name"] == name), None)
        for row in attributes.to_pylist()
    )
    texts: np.ndarray = np.array([value or UNKNOWN for value in values], dtype=np.str_)
    return texts
