"""Sessions: what was watched in one sitting."""

import numpy as np
from jaxtyping import Int64

from towers.data.histories import Histories
from towers.errors import ConfigError


def session_of(history: Histories, gap_minutes: float = 30.0) -> Int64[np.ndarray, " E"]:
    """The session of each event, numbered from 0 through all profiles: no two profiles share one.

    A session ends where nothing is watched for more than `gap_minutes`: from the latest end of what was
    begun before to the next start. An event ends its minutes after its start, at once where they are not
    known. A run of events belongs to one session however long it is.
    """
    if not gap_minutes > 0.0:
        raise ConfigError(f"gap_minutes: {gap_minutes}; expected > 0")
    if history.num_events == 0:
        return np.zeros(0, np.int64)
    gap_seconds = round(gap_minutes * 60.0)
    watched = np.rint(np.nan_to_num(history.minutes) * 60.0).astype(np.int64)
    start = history.time_seconds - history.time_seconds.min()
    end = start + watched
    # Every profile on a stretch of time of its own, so that one running maximum serves all of them.
    shift = np.repeat(np.arange(len(history)) * (int(end.max()) + 1), history.lengths)
    latest = np.maximum.accumulate(end + shift) - shift
    opens = np.ones(history.num_events, dtype=bool)
    opens[1:] = start[1:] - latest[:-1] > gap_seconds
    opens[history.offset[:-1][history.lengths > 0]] = True
    session: np.ndarray = np.cumsum(opens) - 1
    return session
