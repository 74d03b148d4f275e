"""Train logs and questions written by hand."""

import numpy as np

from towers.data.histories import Histories
from towers.recommender import Queries

DAY = 86_400


def histories(profiles: list[list[tuple[int, int]]]) -> Histories:
    """Histories of (item row, time in seconds), oldest first."""
    events = [event for profile in profiles for event in profile]
    return Histories(
        offset=np.cumsum([0, *(len(profile) for profile in profiles)], dtype=np.int64),
        item_row=np.array([item for item, _ in events], dtype=np.int64),
        time_seconds=np.array([seconds for _, seconds in events], dtype=np.int64),
        minutes=np.full(len(events), np.nan, np.float32),
    )


def watched(profiles: list[list[int]]) -> Histories:
    """Histories of item rows, a second apart."""
    return histories([[(item, place) for place, item in enumerate(profile)] for profile in profiles])


def asked(known: list[list[int]], time_seconds: list[int] | None = None) -> Queries:
    """Questions after these histories, at these times."""
    times = np.array(time_seconds or [1_000] * len(known), dtype=np.int64)
    return Queries(watched(known), times, np.full(len(known), ""))
