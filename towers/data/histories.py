"""What many profiles watched, as packed ragged arrays: no padding, no Python object per event."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64

from towers.data.mapped import Portable, portable
from towers.errors import QueryError

_BLOCK_EVENTS = 1 << 20


def runs(start: Int64[np.ndarray, " n"], lengths: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " total"]:
    """start[0], start[0] + 1, … for lengths[0] places, then from start[1], and so on: one index of all."""
    end = np.cumsum(lengths)
    places: np.ndarray = np.repeat(start - end + lengths, lengths)
    places += np.arange(len(places))
    return places


def profile_blocks(offset: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of profiles of about _BLOCK_EVENTS events together, one profile at the least."""
    start, last = 0, len(offset) - 1
    while start < last:
        within = int(np.searchsorted(offset, offset[start] + _BLOCK_EVENTS, side="right")) - 1
        stop = min(last, max(start + 1, within))
        yield start, stop
        start = stop


@dataclass(frozen=True, slots=True)
class Histories:
    """Watch histories of P profiles, oldest event first; other processes get mapped columns by path.

    offset: int64 (P+1,), profile p owns the events offset[p]:offset[p+1].
    item_row: int64, or int32 in a store (E,), rows of the catalogue.
    time_seconds: int64 (E,), start in Unix seconds.
    minutes: float32 (E,), minutes watched; NaN where the log has none.
    weight: float32 (E,), how much each event says of what the profile likes, > 0; all 1 where not given.
    """

    offset: Int64[np.ndarray, " P1"]
    item_row: Int[np.ndarray, " E"]
    time_seconds: Int64[np.ndarray, " E"]
    minutes: Float32[np.ndarray, " E"]
    weight: Float32[np.ndarray, " E"] = None  # type: ignore[assignment]  # filled below

    def __post_init__(self) -> None:
        if cast(object, self.weight) is None:
            object.__setattr__(self, "weight", np.ones(len(self.item_row), np.float32))
        if len(self.offset) == 0 or self.offset[0] != 0 or _falls(self.offset):
            raise QueryError("histories: offset must start at 0 and never fall")
        columns = (self.item_row, self.time_seconds, self.minutes, self.weight)
        if {len(column) for column in columns} != {int(self.offset[-1])}:
            raise QueryError(
                "histories: {} items, {} times, {} minutes and {} weights for {} events; "
                "expected equal counts".format(*map(len, columns), int(self.offset[-1]))
            )

    def __reduce__(self) -> tuple[Callable[..., "Histories"], tuple[Portable, ...]]:
        columns = (self.offset, self.item_row, self.time_seconds, self.minutes, self.weight)
        return _from_portable, tuple(portable(column) for column in columns)

    @classmethod
    def empty(cls, num_profiles: int) -> "Histories":
        """Histories of profiles that watched nothing yet."""
        nothing = np.zeros(0, np.int64)
        return cls(np.zeros(num_profiles + 1, np.int64), nothing, nothing, np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.offset) - 1

    @property
    def num_events(self) -> int:
        """Events of all profiles together."""
        return len(self.item_row)

    @property
    def lengths(self) -> Int64[np.ndarray, " P"]:
        """Events of each profile."""
        return np.diff(self.offset)

    def items_of(self, profile: int) -> Int[np.ndarray, " n"]:
        """Item rows of one profile, oldest first."""
        return self.item_row[self.offset[profile] : self.offset[profile + 1]]

    def of(self, profile: int) -> "Histories":
        """The history of one profile, as views: nothing is copied."""
        start, stop = self.offset[profile], self.offset[profile + 1]
        return Histories(
            np.array([0, stop - start]),
            self.item_row[start:stop],
            self.time_seconds[start:stop],
            self.minutes[start:stop],
            self.weight[start:stop],
        )

    def only(self, kept: Bool[np.ndarray, " E"]) -> "Histories":
        """The same profiles with these of their events."""
        count = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)])
        columns = (self.item_row, self.time_seconds, self.minutes, self.weight)
        return Histories(count[self.offset], *(column[kept] for column in columns))

    def profile_rows(self) -> Int64[np.ndarray, " E"]:
        """The profile of each event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def select(self, profiles: Int64[np.ndarray, " n"]) -> "Histories":
        """The histories of the profiles given, in that order; a profile may be named more than once."""
        return self.slices(profiles, self.offset[profiles], self.offset[profiles + 1])

    def last(self, num_events: int) -> "Histories":
        """Each history cut to its last `num_events` events."""
        start = np.maximum(self.offset[:-1], self.offset[1:] - num_events)
        return self.slices(np.arange(len(self)), start, self.offset[1:])

    def first(self, num_events: Int64[np.ndarray, " P"]) -> "Histories":
        """Each history cut to its first `num_events[p]` events."""
        stop = np.minimum(self.offset[1:], self.offset[:-1] + num_events)
        return self.slices(np.arange(len(self)), self.offset[:-1], stop)

    def slices(
        self,
        profiles: Int64[np.ndarray, " n"],
        start: Int64[np.ndarray, " n"],
        stop: Int64[np.ndarray, " n"],
    ) -> "Histories":
        """One new history per (profile, start, stop): the events start:stop, which must be that profile's."""
        if np.any(start < self.offset[profiles]) or np.any(stop > self.offset[profiles + 1]):
            raise QueryError("histories: a slice leaves its profile's events")
        lengths = stop - start
        if np.any(lengths < 0):
            raise QueryError("histories: a slice stops before it starts")
        offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        event = runs(start, lengths)
        return Histories(
            offset,
            self.item_row[event],
            self.time_seconds[event],
            self.minutes[event],
            self.weight[event],
        )


def _falls(offset: Int64[np.ndarray, " P1"]) -> bool:
    # Of one profile, the most common request, comparing arrays would take longer than all else here.
    return bool(offset[1] < offset[0]) if len(offset) == 2 else bool((offset[1:] < offset[:-1]).any())


def _from_portable(*columns: Portable) -> Histories:
    return Histories(*(column.array() for column in columns))
