"""Whether towers are to be trained again: by what scripts/decay.py and scripts/drift.py wrote, or by age."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from towers.data.dataset import Dataset
from towers.data.days import SECONDS_PER_DAY
from towers.data.split import SplitKind, SplitSettings, split
from towers.evaluation.drift_decision import DriftCheck, read_check
from towers.evaluation.schedule import Schedule, read_schedule

SCHEDULE_PATH, CHECK_PATH = Path("decay/schedule.json"), Path("drift/drift.json")
"""In an artifacts folder: what scripts/decay.py and scripts/drift.py write."""


class Retrain(StrEnum):
    """When a rebuild trains towers."""

    DUE = "due"
    """When schedule, drift or age call for it."""
    NEVER = "never"
    """Not even then: somebody else does."""
    NOW = "now"
    """In any case."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What tells that towers are old.

    schedule, drift: None where nobody wrote one. max_age_days: from which on they are too old; None for none.
    """

    schedule: Schedule | None = None
    drift: DriftCheck | None = None
    max_age_days: float | None = None


def read_signs(artifacts: Path, max_age_days: float | None) -> Signs:
    """What lies in an artifacts folder; ConfigError where a file is damaged."""
    schedule, check = artifacts / SCHEDULE_PATH, artifacts / CHECK_PATH
    return Signs(
        read_schedule(schedule) if schedule.is_file() else None,
        read_check(check) if check.is_file() else None,
        max_age_days,
    )


def cut_off(dataset: Dataset, settings: SplitSettings) -> int:
    """The newest event that towers learn from, of a log under a split, Unix seconds; 0 without events.

    Under leave-one-out, which cuts every profile's log at a time of its own, the newest event of all: what
    `scripts/drift.py` takes for it.
    """
    if settings.kind is SplitKind.LEAVE_ONE_OUT:
        newest = (each.time_seconds.max(initial=0) for each in (dataset.history, dataset.repeats))
        return int(max(newest))
    parts = split(dataset, settings)
    some = np.flatnonzero(parts.num_train)
    last = dataset.history.offset[some] + parts.num_train[some] - 1
    return int(dataset.history.time_seconds[last].max(initial=0))


def reasons_to_retrain(
    when: Retrain, signs: Signs, *, trained_seconds: int | None, newest_seconds: int, now_seconds: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why to train now, none where there is no reason; and what kept a sign from counting.

    trained_seconds: the newest event that the live towers learned from, None where that is not known.
    newest_seconds: the newest one that towers trained now would learn from: without a newer one they would
    learn the same again.
    """
    if when is Retrain.NOW:
        return ("asked for",), ()
    if when is Retrain.NEVER:
        return (), ()
    if (signs.schedule, signs.drift, signs.max_age_days) == (None,) * 3:
        return (), (
            "nothing says when to train: no schedule of scripts/decay.py, no check of scripts/drift.py, no "
            "max_age_days=…",
        )
    if trained_seconds is None:
        return (), ("what the live towers learned from is not known, so their age does not count",)
    age_days = (now_seconds - trained_seconds) / SECONDS_PER_DAY
    found, kept = [], []
    schedule = signs.schedule
    if schedule is not None and schedule.is_due(trained_seconds=trained_seconds, now_seconds=now_seconds):
        found.append(f"the schedule says every {schedule.every_days} days, and towers are {age_days:.1f} old")
    if signs.max_age_days is not None and age_days >= signs.max_age_days:
        found.append(f"towers are {age_days:.1f} days old, and may be {signs.max_age_days:g}")
    if signs.drift is not None and signs.drift.due:
        if signs.drift.cut_off_seconds >= trained_seconds:
            found.append(signs.drift.says)
        else:
            kept.append("the drift check is of older towers than the live ones: run scripts/drift.py again")
    if found and newest_seconds <= trained_seconds:
        return (), (*kept, *found, "no event is newer than what the live towers learned from")
    return tuple(found), tuple(kept)
