"""When profiles watch: days and sessions, in the evening, and children in the afternoon."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from towers.data.simulator.calendar import DAY_MS, MINUTE_MS, NUM_DAYS
from towers.data.simulator.numeric import allocate, place_in_group
from towers.errors import SchemaError

SESSION_LENGTH = 3
"""Watches of a session, at most: with the latest hour to begin, the last one begins before the day turns."""

_EVENING_SHARE = 0.75
_FIRST_HOUR, _NOON, _EVENING, _MOST_HOUR, _LAST_HOUR = 6.0, 12.0, 16.0, 20.0, 21.5
_KIDS_HOURS_EARLIER = 3.0
_OPENS_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Lives:
    """How much each of P profiles watches, and from when to when.

    count: int64 (P,), its events; join: int64 (P,), its first day; days: int64 (P,), how many days it stays.
    """

    count: Int64[np.ndarray, " P"]
    join: Int64[np.ndarray, " P"]
    days: Int64[np.ndarray, " P"]

    def part(self, start: int, stop: int) -> "Lives":
        """The lives of the profiles start:stop alone."""
        return Lives(self.count[start:stop], self.join[start:stop], self.days[start:stop])


@dataclass(frozen=True, slots=True)
class Visits:
    """E visits packed by profile, in time order within each.

    owner: int64 (E,), the profile; day: int64 (E,), the local day of the log on which the session began;
    opens: bool (E,), first of its session.
    """

    owner: Int64[np.ndarray, " E"]
    day: Int64[np.ndarray, " E"]
    opens: Bool[np.ndarray, " E"]


def draw_lives(rng: np.random.Generator, num_events: int, activity: Float64[np.ndarray, " P"]) -> Lives:
    """Exactly `num_events` events over profiles, log-normal times their activity, float64 (P,).

    A profile opens one session a day at most, so the days it stays bound what it can watch: SchemaError
    where they are too few.
    """
    num_profiles = len(activity)
    join = np.where(rng.random(num_profiles) < 0.3, rng.integers(0, 500, num_profiles), 0)
    stays = np.where(rng.random(num_profiles) < 0.2, rng.uniform(0.4, 1.0, num_profiles), 1.0)
    days = ((NUM_DAYS - join) * stays).astype(np.int64)
    if num_events > days.sum():
        raise SchemaError(
            f"simulated: num_events = {num_events} is more than {num_profiles} profiles can watch; "
            f"expected at most {days.sum()}"
        )
    low = min(1, num_events // num_profiles)
    weight = activity * np.exp(rng.normal(0.0, 0.8, num_profiles))
    return Lives(allocate(weight, num_events, low, days), join, days)


def draw_visits(rng: np.random.Generator, lives: Lives) -> Visits:
    """Sessions of one to three watches, each on a day of its own."""
    count = lives.count
    num_events = int(count.sum())
    owner = np.repeat(np.arange(len(count)), count)
    opens = (place_in_group(count) % SESSION_LENGTH == 0) | (rng.random(num_events) < _OPENS_SHARE)
    session_owner = owner[opens]
    num_sessions = np.bincount(session_owner, minlength=len(count))
    # Sorted draws from what is left beside one day per session, one day apart: distinct days, any of them.
    moment = np.sort(session_owner + rng.random(len(session_owner))) - session_owner
    slack = (lives.days - num_sessions + 1)[session_owner]
    day = lives.join[session_owner] + (moment * slack).astype(np.int64) + place_in_group(num_sessions)
    return Visits(owner, day[np.cumsum(opens) - 1], opens)


def draw_starts(
    rng: np.random.Generator,
    visits: Visits,
    kids: Bool[np.ndarray, " E"],
    tenths: Int64[np.ndarray, " E"],
) -> Int64[np.ndarray, " E"]:
    """Start of each event in ms of local time since the log began; within a session one after the other.

    kids: who watches is a child; tenths: tenths of a minute watched.
    """
    session = np.cumsum(visits.opens) - 1
    opened = np.flatnonzero(visits.opens)
    hour = np.where(
        rng.random(len(opened)) < _EVENING_SHARE,
        rng.triangular(_EVENING, _MOST_HOUR, _LAST_HOUR, len(opened)),
        rng.triangular(_FIRST_HOUR, _NOON, _LAST_HOUR, len(opened)),
    )
    early = np.where(kids[opened], _KIDS_HOURS_EARLIER, 0.0)
    # What is before noon stays: children are not up at three.
    hour -= early * np.clip((hour - _FIRST_HOUR) / (_NOON - _FIRST_HOUR), 0.0, 1.0)
    begin = visits.day[opened] * DAY_MS + (hour * 60).astype(np.int64) * MINUTE_MS
    begin += rng.integers(0, MINUTE_MS, len(opened))
    pause = rng.integers(4 * MINUTE_MS, 10 * MINUTE_MS, len(tenths))
    spent = tenths * (MINUTE_MS // 10) + pause
    before = np.cumsum(spent) - spent
    start: np.ndarray = before + (begin - before[opened])[session]
    return start
