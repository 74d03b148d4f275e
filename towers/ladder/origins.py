"""A log cut at many origins: what a model of each learns from, and what it is asked later.

The models of a study stand at cut-offs. An origin is a cut-off whose model is followed as it ages, over
windows of equal length. The model that a retrain gives at the start of a later window is that of another.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64

from towers.data.dataset import Dataset
from towers.data.days import SECONDS_PER_DAY
from towers.data.histories import Histories
from towers.data.signals.rewatches import with_rewatches
from towers.data.split import HeldOut, Split, count_watches, held_out, num_before
from towers.errors import ConfigError
from towers.recommender import PAD, Queries, Rankings, Recommender
from towers.settings import bounded, check_ranges

_SINCE_EVER = np.iinfo(np.int64).min
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """Where a log is cut; the last window of the last origin ends with the log.

    num_origins: models that are followed as they age, one every `step_days`. A curve needs three, and eight
    or more to be trusted. Where step_days is a multiple of window_days, most retrained models are those of
    other origins, and num_origins + min_ages − 1 are trained in all.
    window_days: length of a window of evaluation; whole weeks keep the week's rhythm out of the curve.
    num_ages: windows that follow an origin, as far as the log goes; min_ages: those of the last origin.
    learn_days: days of the log, at the least, that the first origin learns from.
    validation_days: before a cut-off, held out to select the epoch by, where the rung selects. The first
    origin leaves room for them in any case, so that all rungs have the same origins.
    """

    num_origins: int = bounded(8, ge=1)
    step_days: int = bounded(7, ge=1)
    window_days: int = bounded(7, ge=1)
    num_ages: int = bounded(8, ge=2)
    min_ages: int = bounded(2, ge=1)
    learn_days: int = bounded(28, ge=1)
    validation_days: int = bounded(7, ge=1)


@dataclass(frozen=True, slots=True)
class Origins:
    """O cut-offs, and how many windows of `window_seconds` follow each.

    origin_seconds, num_ages: int64 (O,), the first rising.
    """

    origin_seconds: Int64[np.ndarray, " O"]
    num_ages: Int64[np.ndarray, " O"]
    window_seconds: int

    @property
    def age_days(self) -> np.ndarray:
        """float64 (A,), the middle of each window after its origin."""
        middle: np.ndarray = (np.arange(self.num_ages.max()) + 0.5) * self.window_seconds / SECONDS_PER_DAY
        return middle

    def start(self, origin: int, age: int) -> int:
        """Where the window of an age begins: the cut-off of the model retrained for it."""
        return int(self.origin_seconds[origin]) + age * self.window_seconds

    def ages_of(self) -> dict[int, int]:
        """Cut-off → windows that its model is followed over: 1 where it serves as a retrained one only."""
        ages: dict[int, int] = {}
        for origin, num_ages in enumerate(self.num_ages.tolist()):
            for age in range(num_ages):
                cutoff = self.start(origin, age)
                ages[cutoff] = max(ages.get(cutoff, 1), num_ages if age == 0 else 1)
        return dict(sorted(ages.items()))


def lay_out(history: Histories, settings: OriginSettings, key: str) -> Origins:
    """The origins of a log; ConfigError naming the key where it is too short for them."""
    check_ranges(settings, key)
    s = settings
    if s.min_ages > s.num_ages:
        raise ConfigError(f"{key}.min_ages: {s.min_ages}; expected at most {key}.num_ages, {s.num_ages}")
    if history.num_events == 0:
        raise ConfigError(f"{key}.num_origins: the log has no events; expected some to cut")
    first, end = int(history.time_seconds.min()), int(history.time_seconds.max()) + 1
    room = end - first - (s.learn_days + s.validation_days + s.min_ages * s.window_days) * SECONDS_PER_DAY
    most = 1 + room // (s.step_days * SECONDS_PER_DAY) if room >= 0 else 0
    if s.num_origins > most:
        advice = f"expected at most {most}" if most else "expected a longer log, or fewer days of each"
        raise ConfigError(
            f"{key}.num_origins: {s.num_origins} every {s.step_days} days do not fit into a log of "
            f"{(end - first) / SECONDS_PER_DAY:.1f} days, after {s.learn_days} to learn from and "
            f"{s.validation_days} to validate, before {s.min_ages} windows of {s.window_days}; {advice}"
        )
    window, step = s.window_days * SECONDS_PER_DAY, s.step_days * SECONDS_PER_DAY
    origin = end - s.min_ages * window - step * np.arange(s.num_origins - 1, -1, -1)
    return Origins(origin, np.minimum(s.num_ages, (end - origin) // window), window)


def split_at(dataset: Dataset, cutoff: int, *, validation_days: int, window_seconds: int) -> Split:
    """What a model of a cut-off learns from, with the first window after it as test.

    validation_days: the last days before the cut-off validate and are not learned from; 0 for none.
    """
    first_validation = cutoff - validation_days * SECONDS_PER_DAY
    num_train = num_before(dataset.history, first_validation)
    moments = np.full(len(dataset.history), first_validation)
    return Split(
        learned=with_rewatches(dataset.history, dataset.repeats, moments),
        num_train=num_train,
        validation=questions(dataset, first_validation, cutoff),
        test=questions(dataset, cutoff, cutoff + window_seconds),
        num_watches=count_watches(dataset.history, num_train, len(dataset.catalogue)),
    )


def questions(dataset: Dataset, start: int, stop: int) -> HeldOut:
    """A question for every profile with events from `start` up to `stop`: those are its targets.

    Asked when the first of them began, with the history before `start`.
    """
    history = dataset.history
    return held_out(dataset, num_before(history, start), num_before(history, stop))


def known_ids(asked: HeldOut, learned: Split) -> Bool[np.ndarray, " Q"]:
    """Whether the profile and all targets of a question had train events."""
    of_target = learned.seen[asked.target_row]
    known: np.ndarray = learned.num_train[asked.profile_row] > 0
    if len(asked):
        known &= np.logical_and.reduceat(of_target, asked.target_offset[:-1])
    return known


def released_seconds(dataset: Dataset) -> Int64[np.ndarray, " N"]:
    """When each title came into the catalogue: at its earliest licence, or with its first event without one.

    A title with neither never comes: nothing tells that it was there.
    """
    num_items = len(dataset.catalogue)
    first_event = np.full(num_items, _NEVER)
    np.minimum.at(first_event, dataset.history.item_row, dataset.history.time_seconds)
    licences = dataset.items["licences"].combine_chunks()
    title = pc.list_parent_indices(licences).to_numpy(zero_copy_only=False)
    start_ms = pc.list_flatten(licences).field("start").cast(pa.int64())
    start = np.where(
        pc.is_null(start_ms).to_numpy(zero_copy_only=False),
        _SINCE_EVER,
        pc.fill_null(start_ms, 0).to_numpy(zero_copy_only=False) // 1000,
    )
    licensed = np.full(num_items, _NEVER)
    np.minimum.at(licensed, title, start)
    # An event before the licence shows that the title was there all the same.
    released: np.ndarray = np.minimum(first_event, licensed)
    return released


@dataclass(frozen=True, slots=True)
class Stocked:
    """A Recommender over part of a catalogue: what else it would show is left out, and out of histories.

    in_stock: bool (N,), the titles that an index held.
    """

    inner: Recommender
    in_stock: Bool[np.ndarray, " N"]

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The best k titles in stock: more and more are asked for, until k of them are."""
        asked = replace(queries, history=queries.history.only(self.in_stock[queries.history.item_row]))
        num_items = len(self.in_stock)
        width = min(2 * k, num_items)
        while True:
            ranked = self.inner.rank(asked, width)
            kept = (ranked.item_row != PAD) & self.in_stock[ranked.item_row]
            if width >= num_items or np.all(kept.sum(axis=1) >= k):
                break
            width = min(4 * width, num_items)
        place = np.cumsum(kept, axis=1) - 1
        kept &= place < k
        item_row = np.full((len(queries), k), PAD, dtype=np.int64)
        score = np.full((len(queries), k), -np.inf, dtype=np.float32)
        query, column = np.nonzero(kept)
        item_row[query, place[kept]] = ranked.item_row[query, column]
        score[query, place[kept]] = ranked.score[query, column]
        return Rankings(item_row, score, ranked.degraded)
