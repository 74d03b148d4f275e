"""The calendar of the log: 104 weeks; days and weeks turn at four in the morning, local time."""

import numpy as np
from jaxtyping import Int64

from towers.data.simulator.words import COUNTRIES

LOG_START_MS = 1_672_617_600_000
"""Monday 2 January 2023, 00:00 UTC, in Unix milliseconds."""
FIRST_YEAR = 2023
"""The year in which the log begins."""
NUM_WEEKS = 104
"""Weeks of the log. Titles arrive as a week begins; one that arrives at week 104 was never on offer in it."""
NUM_DAYS = 7 * NUM_WEEKS

MINUTE_MS = 60 * 1000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS

_DAY_TURNS_MS = 4 * HOUR_MS
_AHEAD_MS = np.array([round(country.utc_hours * HOUR_MS) for country in COUNTRIES])


def local_to_unix_ms(
    local_ms: Int64[np.ndarray, "*shape"], country: Int64[np.ndarray, "*shape"]
) -> Int64[np.ndarray, "*shape"]:
    """Unix milliseconds of a moment by a country's clock, in ms since midnight of the first day there."""
    unix: np.ndarray = LOG_START_MS + local_ms - _AHEAD_MS[country]
    return unix


def week_start_ms(
    week: Int64[np.ndarray, "*shape"], country: Int64[np.ndarray, "*shape"]
) -> Int64[np.ndarray, "*shape"]:
    """When a week begins in a country, in Unix milliseconds: Monday, four in the morning, local time."""
    return local_to_unix_ms(week * WEEK_MS + _DAY_TURNS_MS, country)


def day_of(
    unix_ms: Int64[np.ndarray, "*shape"], country: Int64[np.ndarray, "*shape"]
) -> Int64[np.ndarray, "*shape"]:
    """The local day of the log of a moment; negative before it begins."""
    day: np.ndarray = (unix_ms - LOG_START_MS + _AHEAD_MS[country] - _DAY_TURNS_MS) // DAY_MS
    return day
