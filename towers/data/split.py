"""Splits by time: what is learned from, and what is held out to select and to judge."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int64

from towers.data.dataset import Dataset
from towers.data.histories import Histories, profile_blocks, runs
from towers.data.signals.rewatches import with_rewatches
from towers.errors import ConfigError, ReleaseError, SchemaError
from towers.settings import bounded, check_ranges, settings_from_plain

_UNLEARNED = b"unlearned"
"""What the hash that draws profiles is of, so that no other draw by their ids is the same."""


class SplitKind(StrEnum):
    """How held-out events are chosen."""

    LEAVE_ONE_OUT = "leave_one_out"
    GLOBAL_TIME = "global_time"


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """kind: which split; test_share, validation_share: shares of all events held out (global time).

    unlearned_share: of the profiles, drawn by their ids, none is learned from, nor anything selected by it:
    what a model tells of members is measured against them (`scripts/audit.py part=membership`).
    """

    kind: SplitKind = SplitKind.LEAVE_ONE_OUT
    test_share: float = bounded(0.1, gt=0.0, lt=1.0)
    validation_share: float = bounded(0.1, gt=0.0, lt=1.0)
    unlearned_share: float = bounded(0.0, ge=0.0, lt=1.0)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Q questions whose answer is known.

    profile_row: int64 (Q,).
    history: Histories of Q profiles, all that may be known when the question is asked.
    time_seconds: int64 (Q,), the moment asked: that of the earliest target.
    country: str (Q,), "" where unknown.
    profiles: what the profiles table says of who asks, a row per question; None where nothing is known.
    target_offset, target_row: int64 (Q+1,) and (T,), the items watched next; never an item of the history.
    """

    profile_row: Int64[np.ndarray, " Q"]
    history: Histories
    time_seconds: Int64[np.ndarray, " Q"]
    country: np.ndarray
    target_offset: Int64[np.ndarray, " Q1"]
    target_row: Int64[np.ndarray, " T"]
    profiles: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.profile_row)


@dataclass(frozen=True, slots=True)
class Split:
    """What is learned from, of P profiles; validation selects; test judges, once.

    learned: Histories of the P, whole, their columns shared with the Dataset's: a mapped log is not copied.
    Its weights count repeated watches up to the cut-off, and none after it.
    num_train: int64 (P,), so many events of each are train, the first ones; the others are held out.
    num_watches: int64 (N,), train events of each item.
    """

    learned: Histories
    num_train: Int64[np.ndarray, " P"]
    validation: HeldOut
    test: HeldOut
    num_watches: Int64[np.ndarray, " N"]

    @property
    def train(self) -> Histories:
        """The train events alone: a copy, for what counts all of them at once."""
        return self.learned.first(self.num_train)

    @property
    def learned_seconds(self) -> tuple[int, int]:
        """The moments of the first and of the last train event; ValueError without any."""
        some = self.num_train > 0
        first = self.learned.offset[:-1][some]
        last = first + self.num_train[some] - 1
        seconds = self.learned.time_seconds
        return int(seconds[first].min()), int(seconds[last].max())

    @property
    def seen(self) -> Bool[np.ndarray, " N"]:
        """Items with at least one train event; the others are cold."""
        return self.num_watches > 0


def with_fewer_profiles(split: Split, share: float, num_items: int, seed: int = 0) -> Split:
    """The split with the train events of a random share of the profiles alone; its questions are the same.

    What more data would buy is read from a few such shares. Raises ConfigError on a share outside (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ConfigError(f"share = {share:g} of the profiles; expected above 0, 1 at the most")
    kept = np.random.default_rng(seed).random(len(split.num_train)) < share
    num_train = np.where(kept, split.num_train, 0)
    return replace(split, num_train=num_train, num_watches=count_watches(split.learned, num_train, num_items))


def check_split(settings: SplitSettings, key: str = "split") -> None:
    """Raises ConfigError naming the key of a share out of range, or of both where they take all events."""
    check_ranges(settings, key)
    held_out = settings.test_share + settings.validation_share
    if settings.kind is SplitKind.GLOBAL_TIME and held_out >= 1.0:
        raise ConfigError(f"{key}.test_share + {key}.validation_share: {held_out:g}; expected < 1")


def split_of(context: Mapping[str, Any]) -> SplitSettings:
    """The split that the towers were trained under, so that no other is ever judged by mistake.

    context: the settings of the training, as plain values. Raises ReleaseError where it does not say them.
    """
    said = context.get("split")
    if isinstance(said, Mapping):
        said = {"unlearned_share": 0.0, **said}  # older ones do not say it, and learned from all
    try:
        settings = settings_from_plain(SplitSettings, said, "split")
        check_split(settings)
    except ConfigError as error:
        raise ReleaseError(f"training settings: {error}; expected the split of the training") from error
    return settings


def split(dataset: Dataset, settings: SplitSettings) -> Split:
    """Train, validation and test of one Dataset.

    Raises ConfigError on settings out of range, SchemaError where nothing is left to learn from.

    leave_one_out: per profile of three or more events the last item tests, the second last validates and
    the rest trains; shorter ones train only. The test history includes the validation item.
    global_time: the events after the (1 - test_share) quantile of time test; those in the validation_share
    before it validate. A profile's events after a cut-off are the targets of one question, asked when the
    first of them began, with the history before the cut-off; a profile without any is new, its history empty.
    A profile that is not to be learned from trains and validates nothing, and is tested as any other.
    """
    check_split(settings)
    history = dataset.history
    if history.num_events == 0:
        raise SchemaError("split: the log has no events; expected at least one profile with three")
    num_train, num_known = _num_train(history, settings), _num_known(history, settings)
    cut_seconds = _cut_seconds(history, num_train, settings)
    num_learned, first_held = _learned_and_held(dataset, num_train, num_known, settings)
    if num_learned.sum() == 0:
        # Leave-one-out of all profiles never ends here: it keeps at least one event of every profile.
        raise SchemaError(
            "split: no event is left to train on before the cut-off; expected events of several moments, or "
            "smaller split.test_share and split.validation_share, or split.unlearned_share"
        )
    return Split(
        learned=with_rewatches(history, dataset.repeats, cut_seconds),
        num_train=num_learned,
        validation=held_out(dataset, first_held, num_known),
        test=held_out(dataset, num_known, history.lengths),
        num_watches=count_watches(history, num_learned, len(dataset.catalogue)),
    )


def unlearned(profile_ids: Sequence[str], share: float) -> Bool[np.ndarray, " P"]:
    """Which profiles are not learned from: by the hash of the id, the same ones in every retrain."""
    digests = (
        hashlib.blake2b(id_.encode(), digest_size=8, person=_UNLEARNED).digest() for id_ in profile_ids
    )
    drawn = np.frombuffer(b"".join(digests), ">u8")
    chosen: np.ndarray = drawn < np.uint64(share * 2**64)
    return chosen


def sampled_test(dataset: Dataset, settings: SplitSettings, num_questions: int) -> HeldOut:
    """At most so many of the questions of `split(…).test`, spread evenly over all, without the rest of it."""
    return _sampled(dataset, _num_known(dataset.history, settings), dataset.history.lengths, num_questions)


def sampled_validation(dataset: Dataset, settings: SplitSettings, num_questions: int) -> HeldOut:
    """As `sampled_test`, of `split(…).validation`."""
    num_train, num_known = _num_train(dataset.history, settings), _num_known(dataset.history, settings)
    _, first_held = _learned_and_held(dataset, num_train, num_known, settings)
    return _sampled(dataset, first_held, num_known, num_questions)


def _sampled(
    dataset: Dataset, start: Int64[np.ndarray, " P"], stop: Int64[np.ndarray, " P"], num_questions: int
) -> HeldOut:
    asked = np.flatnonzero(start < stop)
    chosen = asked[np.linspace(0, len(asked) - 1, min(num_questions, len(asked))).astype(np.int64)]
    until = start.copy()
    until[chosen] = stop[chosen]
    return held_out(dataset, start, until)


def _num_train(history: Histories, settings: SplitSettings) -> Int64[np.ndarray, " P"]:
    """Events of each profile before any that is held out, the first ones."""
    match settings.kind:
        case SplitKind.LEAVE_ONE_OUT:
            train: np.ndarray = history.lengths - 2 * (history.lengths >= 3)
            return train
        case SplitKind.GLOBAL_TIME:
            return num_before(history, _first_validation(history, settings))


def _num_known(history: Histories, settings: SplitSettings) -> Int64[np.ndarray, " P"]:
    """Events of each profile that are known when it is tested, the first ones."""
    match settings.kind:
        case SplitKind.LEAVE_ONE_OUT:
            known: np.ndarray = history.lengths - (history.lengths >= 3)
            return known
        case SplitKind.GLOBAL_TIME:
            return num_before(history, _cutoff(history, 1.0 - settings.test_share))


def _cut_seconds(
    history: Histories, num_train: Int64[np.ndarray, " P"], settings: SplitSettings
) -> Int64[np.ndarray, " P"]:
    """The moment up to which each profile's repeated watches count."""
    match settings.kind:
        case SplitKind.LEAVE_ONE_OUT:
            return _moments(history, num_train)
        case SplitKind.GLOBAL_TIME:
            return np.full(len(history), _first_validation(history, settings))


def _first_validation(history: Histories, settings: SplitSettings) -> int:
    return _cutoff(history, 1.0 - settings.test_share - settings.validation_share)


def _learned_and_held(
    dataset: Dataset,
    num_train: Int64[np.ndarray, " P"],
    num_known: Int64[np.ndarray, " P"],
    settings: SplitSettings,
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]]:
    """Events of each profile that are learned from, and its first that validates."""
    if settings.unlearned_share == 0.0:
        return num_train, num_train
    out = unlearned(dataset.profiles.ids, settings.unlearned_share)
    return np.where(out, 0, num_train), np.where(out, num_known, num_train)


def count_watches(
    history: Histories, num_train: Int64[np.ndarray, " P"], num_items: int
) -> Int64[np.ndarray, " N"]:
    """Train events of each item, counted a run of profiles at a time."""
    counts = np.zeros(num_items, np.int64)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_train)])
    for start, stop in profile_blocks(before):
        event = runs(history.offset[start:stop], num_train[start:stop])
        counts += np.bincount(history.item_row[event], minlength=num_items)
    return counts


def _cutoff(history: Histories, share: float) -> int:
    """The time at or after which events lie beyond the `share` quantile; no event is on both sides."""
    return int(np.quantile(history.time_seconds, share, method="higher"))


def num_before(history: Histories, time_seconds: int) -> Int64[np.ndarray, " P"]:
    """Events of each profile before a moment."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(history.time_seconds < time_seconds)])
    count: np.ndarray = before[history.offset[1:]] - before[history.offset[:-1]]
    return count


def _moments(history: Histories, num_train: np.ndarray) -> np.ndarray:
    """When each profile's first held-out event began; without one, never."""
    moments = np.full(len(history), np.iinfo(np.int64).max)
    held = num_train < history.lengths
    moments[held] = history.time_seconds[(history.offset[:-1] + num_train)[held]]
    return moments


def held_out(dataset: Dataset, start: Int64[np.ndarray, " P"], stop: Int64[np.ndarray, " P"]) -> HeldOut:
    """A question for every profile with events start:stop of its history: those are its targets.

    Asked when the first of them began, with the history before them.
    """
    history = dataset.history
    profile_row = np.flatnonzero(stop > start)
    begin = history.offset[profile_row]
    known = history.slices(profile_row, begin, begin + start[profile_row])
    targets = history.slices(profile_row, begin + start[profile_row], begin + stop[profile_row])
    return HeldOut(
        profile_row=profile_row,
        history=known,
        time_seconds=targets.time_seconds[targets.offset[:-1]],
        country=dataset.country[profile_row],
        target_offset=targets.offset,
        target_row=targets.item_row.astype(np.int64),
        profiles=dataset.profile_table.take(pa.array(profile_row)),
    )
