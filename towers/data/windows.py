"""Training windows: where each history is cut, and batches read from the cuts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from towers.data.batches import Batch, packed
from towers.data.encoded import EncodedProfiles
from towers.data.histories import Histories
from towers.errors import QueryError

_BLOCK_EVENTS = 1 << 16


@dataclass(frozen=True, slots=True)
class TrainingWindows:
    """Cuts the histories of P profiles into windows of at most `max_history` events, and reads them.

    history: may be longer than what is learned from: it is never copied, and may lie in mapped files.
    num_events: int64 (P,), of each profile the first so many events are learned from.
    profiles: EncodedProfiles of the P.

    A window of n events asks n questions: what came first (of the whole history only), and what came after
    each event but the last. The answer is the next `num_targets` events, beyond the window too.
    """

    history: Histories
    num_events: Int64[np.ndarray, " P"]
    profiles: EncodedProfiles
    max_history: int
    num_targets: int = 1

    def __post_init__(self) -> None:
        if np.any(self.num_events < 0) or np.any(self.num_events > self.history.lengths):
            raise QueryError("training windows: num_events must lie between 0 and the length of the history")

    def cut(
        self, first_profile: int, stop_profile: int, rng: np.random.Generator
    ) -> Int64[np.ndarray, "3 W"]:
        """Profile, start and stop of every window of a range of profiles; each event is asked in exactly one.

        A history longer than `max_history` is cut at a random phase, so that over the epochs every event is
        learned with contexts of every length. The first event of a later window was asked for in the one
        before: it is the context without which the second would have no question.
        """
        step = self.max_history
        profile = first_profile + np.flatnonzero(self.num_events[first_profile:stop_profile])
        begin, length = self.history.offset[profile], self.num_events[profile]
        # At least two events come first: a later window starts with its context, which must not be the first
        # event of all, or that one would be asked for twice.
        phase = np.where(length > step, rng.integers(2, step + 1, len(profile)), step)
        num_windows = 1 + np.maximum(0, -(-(length - phase) // step))
        profile, begin, end, phase = (
            np.repeat(column, num_windows) for column in (profile, begin, begin + length, phase)
        )
        last = np.cumsum(num_windows)
        number = np.arange(len(profile)) - np.repeat(last - num_windows, num_windows)
        stop = begin + phase + number * step
        start = np.where(number == 0, begin, stop - step - 1)
        return np.stack([profile, start, np.minimum(stop, end)])

    def num_questions(self, windows: Int64[np.ndarray, "3 W"]) -> Int64[np.ndarray, " W"]:
        """Questions that each window asks."""
        profile, start, stop = windows
        asked: np.ndarray = stop - start - (start != self.history.offset[profile])
        return asked

    def read(self, windows: Int64[np.ndarray, "3 W"], num_windows: Sequence[int]) -> list[Batch]:
        """Batches of `num_windows` windows each, in order."""
        profile, start, stop = windows
        begin = self.history.offset[profile]
        # The last event of a window is asked for and not shown; further targets may lie beyond it.
        end = np.minimum(stop - 1 + self.num_targets, begin + self.num_events[profile])
        return packed(
            self.history,
            start,
            num_events=end - start,
            num_shown=stop - 1 - start,
            from_first=start == begin,
            profiles=self.profiles.select(profile),
            num_windows=num_windows,
        )


@dataclass(frozen=True, slots=True)
class Blocks:
    """K runs of neighbouring profiles, each with about 65,536 events, or with one profile that has more.

    profile: int64 (K+1,), where each begins and the last one ends.
    num_questions: int64 (K,), events to learn from. min_windows: int64 (K,), however the phases fall.
    """

    profile: Int64[np.ndarray, " K1"]
    num_questions: Int64[np.ndarray, " K"]
    min_windows: Int64[np.ndarray, " K"]

    @classmethod
    def of(cls, windows: TrainingWindows, block_events: int = _BLOCK_EVENTS) -> "Blocks":
        """The blocks of a log; what the profiles watched is not read."""
        asked = np.concatenate([np.zeros(1, np.int64), np.cumsum(windows.num_events)])
        begin = np.searchsorted(asked, np.arange(0, asked[-1], block_events))
        # Where only profiles without events are left, no block begins: each has something to ask.
        profile = np.unique(np.append(begin[asked[begin] < asked[-1]], len(windows.num_events)))
        cut = np.concatenate(
            [np.zeros(1, np.int64), np.cumsum(-(-windows.num_events // windows.max_history))]
        )
        return cls(profile, np.diff(asked[profile]), np.diff(cut[profile]))

    def __len__(self) -> int:
        return len(self.num_questions)
