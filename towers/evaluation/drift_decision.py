"""Whether a retrain is due now, by the schedule and by drift, and why: what a scheduled job reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from towers.data.days import SECONDS_PER_DAY
from towers.errors import ConfigError
from towers.evaluation.drift import DriftReport, Monitor, Reading
from towers.evaluation.schedule import Schedule
from towers.folders import replace_file

_FORMAT = "drift-check"
_VERSION = 1
_DERIVED = ("due", "says", "triggered", "cut_off", "now")


class Reason(StrEnum):
    """Why a retrain is due, or not."""

    AGE = "age"
    """The schedule's days have passed."""
    DRIFT = "drift"
    """Inputs are not those of train any more."""
    TOO_YOUNG = "too_young"
    """Inputs have drifted within the shortest days that the schedule leaves between retrains."""
    NEITHER = "neither"
    """Not by age, as far as a schedule is there, and not by drift."""

    @property
    def is_due(self) -> bool:
        """Whether it calls for a retrain."""
        return self in (Reason.AGE, Reason.DRIFT)


@dataclass(frozen=True, slots=True)
class Moved:
    """The bin of a feature that says most for drift, and the shares of train and of newer events in it."""

    bin: str
    train: float
    live: float


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """The answer, and all that it rests on; written by `write_check`, read by the rebuild job.

    every_days, shortest_days: of the schedule; None where it says never, and both where there is none.
    scheduled: whether there is a schedule. num_events: newer events; num_train, num_live: profiles compared.
    days: length of the stretches compared.
    readings: what counts. noted: what does not. moved: subject → the bin that moved most.
    unread: subject → why there is no reading.
    """

    title: str
    reason: Reason
    cut_off_seconds: int
    now_seconds: int
    scheduled: bool
    every_days: int | None
    shortest_days: int | None
    num_events: int
    num_train: int
    num_live: int
    days: float
    readings: tuple[Reading, ...]
    noted: tuple[Reading, ...]
    moved: Mapping[str, Moved]
    unread: Mapping[str, str]

    @property
    def due(self) -> bool:
        """Whether to retrain now."""
        return self.reason.is_due

    @property
    def age_days(self) -> float:
        """Of the model, by the newest event that it learned from."""
        return (self.now_seconds - self.cut_off_seconds) / SECONDS_PER_DAY

    @property
    def triggered(self) -> tuple[Reading, ...]:
        """The readings that call for a retrain."""
        return DriftReport(self.readings).triggered

    @property
    def says(self) -> str:
        """The answer in one sentence."""
        age = f"the model learned from events up to {self.age_days:.1f} days ago"
        plan = "no schedule is there, so age does not count"
        if self.scheduled:
            plan = "the schedule says never" if self.every_days is None else f"due at {self.every_days} days"
        subjects = ", ".join(reading.subject for reading in self.triggered)
        seen = f"drifted: {subjects}" if subjects else "inputs look as in train"
        if not self.num_events:
            seen = "there is no newer event to read"
        match self.reason:
            case Reason.AGE:
                return f"retrain: {age}, {plan}; {seen}"
            case Reason.DRIFT:
                return f"retrain: {seen}; {age}, {plan}"
            case Reason.TOO_YOUNG:
                return f"no retrain: {seen}, but {age}, and retrains are {self.shortest_days} days apart"
            case Reason.NEITHER:
                return f"no retrain: {seen}; {age}, {plan}"


def decide(schedule: Schedule | None, *, trained_seconds: int, now_seconds: int, drifted: bool) -> Reason:
    """Why a retrain is due or not; without a schedule, drift alone decides."""
    if schedule is None:
        return Reason.DRIFT if drifted else Reason.NEITHER
    if schedule.is_due(trained_seconds=trained_seconds, now_seconds=now_seconds):
        return Reason.AGE
    if not drifted:
        return Reason.NEITHER
    may = schedule.is_due(trained_seconds=trained_seconds, now_seconds=now_seconds, drifted=True)
    return Reason.DRIFT if may else Reason.TOO_YOUNG


def write_check(check: DriftCheck, path: Path) -> None:
    """Writes the answer as JSON in place of what was there: a reader finds the old one or the new one.

    Beside the fields stand what follows from them, for jobs that read no Python: due, says, the subjects
    triggered, and both times in ISO 8601.
    """
    cut_off, now = (
        datetime.fromtimestamp(seconds, UTC).isoformat()
        for seconds in (check.cut_off_seconds, check.now_seconds)
    )
    derived = (check.due, check.says, [reading.subject for reading in check.triggered], cut_off, now)
    plain = {
        "format": _FORMAT,
        "version": _VERSION,
        **dict(zip(_DERIVED, derived, strict=True)),
        **asdict(check),
    }
    replace_file(path, json.dumps(plain, indent=1, allow_nan=False) + "\n")


def read_check(path: Path) -> DriftCheck:
    """The answer that `write_check` wrote; ConfigError where the file is none, or of another version."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        found = (plain["format"], plain["version"])
        if found == (_FORMAT, _VERSION):
            given = {item.name: plain[item.name] for item in fields(DriftCheck)}
            given["reason"] = Reason(given["reason"])
            given["moved"] = {name: Moved(**each) for name, each in given["moved"].items()}
            for name in ("readings", "noted"):
                given[name] = tuple(_reading(**each) for each in given[name])
            return DriftCheck(**given)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: {error!r}; expected a drift check in JSON") from error
    raise ConfigError(f"{path}: {found[0]!r} version {found[1]!r}; expected {_FORMAT!r} version {_VERSION}")


def _reading(monitor: str, subject: str, value: float, limit: float) -> Reading:
    return Reading(Monitor(monitor), subject, value, limit)
