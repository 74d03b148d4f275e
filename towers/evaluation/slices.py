"""Named subsets of the held-out targets: for whom, for which titles and when a recommender does well."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, Int, Int64

from towers.data.days import DAYS_PER_MONTH, SECONDS_PER_DAY
from towers.data.signals.geo import region_of
from towers.data.split import HeldOut
from towers.errors import ConfigError, QueryError
from towers.settings import bounded, check_ranges

_MONTH_SECONDS = DAYS_PER_MONTH * SECONDS_PER_DAY
_SESSION_TIMES = ("night 0-6 h", "morning 6-12 h", "afternoon 12-18 h", "evening 18-24 h")
_ACTIVITIES = ("low", "middle", "high")
_UNKNOWN = "unknown"
_OTHER = "other"


class SliceKind(StrEnum):
    """What targets are told apart by: of who asks, of the title, or of the moment."""

    COUNTRY = "country"
    """Of the request."""
    REGION = "region"
    """Of the United Nations' standard M49, that of the country."""
    SUBDIVISION = "subdivision"
    """ISO 3166-2, where the profile says it."""
    AGE_BAND = "age_band"
    HISTORY_LENGTH = "history_length"
    """Events that are known when the question is asked."""
    ACTIVITY = "activity"
    """Third of the profiles by events a month, from the first event known to the question."""
    POPULARITY = "popularity"
    """Head: the fewest most watched titles that hold `head_share` of the train events; tail: all others."""
    GENRE = "genre"
    """Of the target; a title of several genres counts in each."""
    MATURITY = "maturity"
    """Certificate of the target."""
    SESSION_TIME = "session_time"
    """Quarter of the day of the request, in UTC: logs do not say the local time."""


@dataclass(frozen=True, slots=True)
class SliceSettings:
    """How slices are cut.

    max_values: most frequent values of a kind that are slices of their own; the others together are one.
    head_share: of the train events, those of the head.
    history_lengths: where the classes of history length begin, rising, from 1 event.
    """

    max_values: int = bounded(12, ge=1)
    head_share: float = bounded(0.8, gt=0.0, lt=1.0)
    history_lengths: tuple[int, ...] = (1, 5, 20, 100)


@dataclass(frozen=True, slots=True)
class TargetSlice:
    """The targets of held-out questions that have one value; counts: bool (T,), which they are.

    Of a question that is in it, only these targets count. A subset of questions holds all of their targets.
    """

    kind: SliceKind
    value: str
    counts: Bool[np.ndarray, " T"]

    @property
    def name(self) -> str:
        """What the slice is called in an evaluation: country=DE."""
        return f"{self.kind.value}={self.value}"


def slices_of(
    held_out: HeldOut,
    items: pa.Table,
    num_watches: Int64[np.ndarray, " N"],
    settings: SliceSettings | None = None,
) -> tuple[TargetSlice, ...]:
    """Every slice that the questions, the items table and the profiles (HeldOut.profiles) can tell apart.

    num_watches: train events of each item (Split.num_watches). A kind of which nothing is known, or whose
    targets all have the same value, gives no slices; a value that is missing is "unknown", beyond
    `max_values` "other". Question slices of history length and activity hold known profiles alone. Raises
    QueryError where the tables are not of this catalogue, ConfigError on settings out of range.
    """
    settings = settings or SliceSettings()
    check_ranges(settings, "slices")
    if items.num_rows != len(num_watches) or held_out.target_row.max(initial=-1) >= items.num_rows:
        raise QueryError(
            f"slices: {items.num_rows} items, train events of {len(num_watches)}, targets up to row "
            f"{held_out.target_row.max(initial=-1)}; expected one catalogue"
        )
    cut = _Cut(held_out, settings.max_values)
    target = held_out.target_row
    head = head_of(num_watches, settings.head_share)
    return (
        *cut.by_question(SliceKind.COUNTRY, held_out.country.astype(np.str_)),
        *cut.by_question(SliceKind.REGION, _region(held_out.country)),
        *cut.by_question(SliceKind.SUBDIVISION, _of_profile(held_out, "region")),
        *cut.by_question(SliceKind.AGE_BAND, _of_profile(held_out, "age_band")),
        *cut.by_class(SliceKind.HISTORY_LENGTH, *_history_length(held_out, settings.history_lengths)),
        *cut.by_class(SliceKind.ACTIVITY, _activity(held_out), _ACTIVITIES),
        *cut.by_target(SliceKind.POPULARITY, np.where(head, "head", "tail")[target]),
        *cut.by_genre(items["genres"]),
        *cut.by_target(SliceKind.MATURITY, _texts(items["maturity"])[target]),
        *cut.by_class(
            SliceKind.SESSION_TIME,
            held_out.time_seconds % SECONDS_PER_DAY // (SECONDS_PER_DAY // 4),
            _SESSION_TIMES,
        ),
    )


def head_of(num_watches: Int64[np.ndarray, " N"], head_share: float) -> Bool[np.ndarray, " N"]:
    """The fewest items, most watched first and then by row, with at least that share of all train events."""
    order = np.argsort(-num_watches, kind="stable")
    before = np.cumsum(num_watches[order]) - num_watches[order]
    head = np.zeros(len(num_watches), dtype=bool)
    head[order] = before < head_share * num_watches.sum()
    return head


@dataclass(frozen=True, slots=True)
class _Cut:
    """Cuts the targets of held-out questions by labels; "" is no label."""

    held_out: HeldOut
    max_values: int

    def by_question(self, kind: SliceKind, label: np.ndarray) -> list[TargetSlice]:
        return self.by_target(kind, np.repeat(label, np.diff(self.held_out.target_offset)))

    def by_target(self, kind: SliceKind, label: np.ndarray) -> list[TargetSlice]:
        return self._slices(kind, np.arange(len(label)), label)

    def by_class(self, kind: SliceKind, place: np.ndarray, names: Sequence[str]) -> list[TargetSlice]:
        """By the place of each question's class among all, in which order they stand; -1 is in none."""
        of_target = np.repeat(place, np.diff(self.held_out.target_offset))
        return _apart(kind, ((name, of_target == number) for number, name in enumerate(names)))

    def by_genre(self, genres: pa.ChunkedArray) -> list[TargetSlice]:
        lists = genres.take(pa.array(self.held_out.target_row)).combine_chunks()
        return self._slices(
            SliceKind.GENRE,
            pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64),
            _texts(pc.list_flatten(lists)),
        )

    def _slices(self, kind: SliceKind, target: np.ndarray, label: np.ndarray) -> list[TargetSlice]:
        """By (target, label) pairs: the most frequent labels first, equally frequent ones by name."""
        num_targets = len(self.held_out.target_row)
        target, label = target[label != ""], label[label != ""]
        values, code, num = np.unique(label, return_inverse=True, return_counts=True)
        order = np.argsort(-num, kind="stable")
        masks = [(str(values[place]), _mask(target[code == place], num_targets)) for place in order]
        rest = masks[self.max_values :]
        if len(rest) > 1:
            masks = [*masks[: self.max_values], (_OTHER, np.any([mask for _, mask in rest], axis=0))]
        if masks:
            masks.append((_UNKNOWN, ~_mask(target, num_targets)))
        return _apart(kind, masks)


def _apart(kind: SliceKind, masks: Iterable[tuple[str, np.ndarray]]) -> list[TargetSlice]:
    """The slices with targets, unless one of them holds all."""
    found = [TargetSlice(kind, value, mask) for value, mask in masks if mask.any()]
    return [] if any(each.counts.all() for each in found) and len(found) == 1 else found


def _mask(target: np.ndarray, num_targets: int) -> np.ndarray:
    mask = np.zeros(num_targets, dtype=bool)
    mask[target] = True
    return mask


def _texts(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """The strings of a column, "" where it is null."""
    texts: np.ndarray = np.array(pc.fill_null(column, "").to_pylist(), dtype=np.str_)
    return texts


def _of_profile(held_out: HeldOut, column: str) -> np.ndarray:
    if held_out.profiles is None:
        return np.full(len(held_out), "")
    return _texts(held_out.profiles[column])


def _region(country: np.ndarray) -> np.ndarray:
    codes, place = np.unique(country.astype(np.str_), return_inverse=True)
    frame = pl.DataFrame({"country": pl.Series(codes.tolist(), dtype=pl.String)})
    regions = frame.select(region_of(pl.col("country")).fill_null(""))["country"]
    named: np.ndarray = np.array(regions.to_list(), dtype=np.str_)
    return named[place]


def _history_length(held_out: HeldOut, starts: tuple[int, ...]) -> tuple[Int[np.ndarray, " Q"], list[str]]:
    """Class of each question's history length, -1 of a new profile, and the names of the classes."""
    if not starts or starts[0] != 1 or any(b <= a for a, b in pairwise(starts)):
        raise ConfigError(f"slices.history_lengths: {starts}; expected numbers of events, rising, from 1")
    names = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in pairwise(starts)]
    return np.searchsorted(starts, held_out.history.lengths, side="right") - 1, [*names, f"{starts[-1]}+"]


def events_per_month(held_out: HeldOut) -> Float64[np.ndarray, " Q"]:
    """Known events of each question over the months from the first to the question, at least one month."""
    history = held_out.history
    first = np.zeros(len(history), np.int64)
    known = history.lengths > 0
    first[known] = history.time_seconds[history.offset[:-1][known]]
    months = np.maximum(1.0, (held_out.time_seconds - first) / _MONTH_SECONDS)
    rate: np.ndarray = history.lengths / months
    return rate


def _activity(held_out: HeldOut) -> Int[np.ndarray, " Q"]:
    """Third of the known profiles that each question's is in, equal activities together; -1 of a new one."""
    known = held_out.history.lengths > 0
    third = np.full(len(held_out), -1)
    if known.any():
        rate = events_per_month(held_out)
        bounds = np.quantile(rate[known], [1 / 3, 2 / 3], method="lower")
        third[known] = np.searchsorted(bounds, rate[known], side="left")
    return third
