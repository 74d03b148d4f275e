"""Packed batches of histories: windows to learn from, or queries at serving, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Int, Int32, Int64
from torch import Tensor

from towers.data.encoded import EncodedProfiles
from towers.data.histories import Histories, runs
from towers.settings import bounded

NO_TARGET = -1


@dataclass(frozen=True, slots=True)
class LoaderSettings:
    """How batches are fed.

    batch_positions: positions asked per batch and process, near enough: no window is cut for it, and one of
    them alone may have more.
    pool_blocks: blocks of about 65,536 events shuffled among each other; what memory the shuffle takes grows
    with it. A log of no more blocks is shuffled as a whole.
    num_workers: loader processes; 0 loads in the training process.
    """

    batch_positions: int = bounded(928, ge=1)
    pool_blocks: int = bounded(128, ge=1)
    num_workers: int = bounded(0, ge=0)


@dataclass(frozen=True, slots=True)
class Questions:
    """Q questions with their answers: what comes after the first `place` events of a window?

    window, place: int64 (Q,). position: int64 (Q,), their lines in `Batch.positions`.
    target_row: int64 (Q, T), the T items watched after that, the next one first; NO_TARGET where the history
    ends. target_weight: float32 (Q, T), the weights of those events, 0 where there is none.
    """

    window: Int64[Tensor, " Q"]
    place: Int64[Tensor, " Q"]
    position: Int64[Tensor, " Q"]
    target_row: Int64[Tensor, "Q T"]
    target_weight: Float32[Tensor, "Q T"]


@dataclass(frozen=True, slots=True)
class Positions:
    """The S positions of the windows of a batch, one after another: before any event, and after each shown.

    window, place: int64 (S,), after the first `place` events of that window. seen: bool (S,), whether there
    is such an event, place > 0. item_row, seconds: int64 (S,), minutes: float32 (S,), of the last of them; 0,
    0 and NaN where there is none. asked_seconds: int64 (S,), the moment that is asked about: of the event
    shown next or, after the last of them, of the question.
    """

    window: Int64[Tensor, " S"]
    place: Int64[Tensor, " S"]
    seen: Bool[Tensor, " S"]
    item_row: Int64[Tensor, " S"]
    seconds: Int64[Tensor, " S"]
    minutes: Float32[Tensor, " S"]
    asked_seconds: Int64[Tensor, " S"]


@dataclass(frozen=True, slots=True)
class Batch:
    """B windows of histories, one after another: a window's events lie together, oldest first.

    num_events: int64 (B,), events of each window among the S of the columns: those shown, then those that are
    only asked for. num_shown: int64 (B,), how many are shown.
    from_first: bool (B,), whether the history begins with the window.
    asked_seconds: int64 (B,), the moment of the question after the last event shown.
    profile_row: int32 (B, C), profile_numeric: float32 (B, F2), of who watched, as in EncodedProfiles.
    item_row: int64, or int32 from a store (S,). time_seconds: int64 (S,). minutes: float32 (S,), NaN where
    unknown. weight: float32 (S,).
    longest: the largest num_shown, 0 without windows; kept here, since asking a device for it waits for it.
    """

    num_events: Int64[Tensor, " B"]
    num_shown: Int64[Tensor, " B"]
    from_first: Bool[Tensor, " B"]
    asked_seconds: Int64[Tensor, " B"]
    profile_row: Int32[Tensor, "B C"]
    profile_numeric: Float32[Tensor, "B F2"]
    item_row: Int[Tensor, " S"]
    time_seconds: Int64[Tensor, " S"]
    minutes: Float32[Tensor, " S"]
    weight: Float32[Tensor, " S"]
    longest: int

    def __len__(self) -> int:
        return len(self.num_events)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(
            self.num_events.to(device, non_blocking=True),
            self.num_shown.to(device, non_blocking=True),
            self.from_first.to(device, non_blocking=True),
            self.asked_seconds.to(device, non_blocking=True),
            self.profile_row.to(device, non_blocking=True),
            self.profile_numeric.to(device, non_blocking=True),
            self.item_row.to(device, non_blocking=True),
            self.time_seconds.to(device, non_blocking=True),
            self.minutes.to(device, non_blocking=True),
            self.weight.to(device, non_blocking=True),
            self.longest,
        )

    def parts(self, max_positions: int) -> list["Batch"]:
        """Runs of neighbouring windows, in order, whose padded positions are at most so many.

        A window alone may have more. Waits for the device that the batch is on.
        """
        shown, events = self.num_shown.tolist(), self.num_events.tolist()
        bounds, longest = [0], 0
        for window, length in enumerate(shown):
            longest = max(longest, length)
            if window > bounds[-1] and (window + 1 - bounds[-1]) * (longest + 1) > max_positions:
                bounds.append(window)
                longest = length
        bounds.append(len(shown))
        first = [0, *accumulate(events)]
        return [
            self._part(start, stop, first[start], first[stop], max(shown[start:stop], default=0))
            for start, stop in pairwise(bounds)
        ]

    def positions(self) -> Positions:
        """Every position of every window; without padding."""
        window, place = self._places()
        seen = place > 0
        # One line more than there are events, for what has none.
        none = len(self.item_row)
        start = self._start()[window]
        event = torch.where(seen, start + place - 1, none)
        after = torch.where(place < self.num_shown[window], start + place, none)
        seconds = F.pad(self.time_seconds, (0, 1))
        return Positions(
            window,
            place,
            seen,
            item_row=F.pad(self.item_row, (0, 1))[event].long(),
            seconds=seconds[event],
            minutes=F.pad(self.minutes, (0, 1), value=torch.nan)[event],
            asked_seconds=torch.where(after < none, seconds[after], self.asked_seconds[window]),
        )

    def questions(self, num_targets: int, *, openings: bool = True) -> Questions:
        """What the windows ask: what comes after each event shown, and what came first of a whole history.

        openings: whether the latter is asked.
        """
        window, place = self._places()
        asks = (place > 0) | self.from_first[window] if openings else place > 0
        position = asks.nonzero().flatten()
        window, place = window[position], place[position]
        ahead = torch.arange(num_targets, device=place.device)
        there = ahead < (self.num_events[window] - place)[:, None]
        event = torch.where(there, (self._start()[window] + place)[:, None] + ahead, 0)
        return Questions(
            window,
            place,
            position,
            target_row=torch.where(there, self.item_row[event].long(), NO_TARGET),
            target_weight=torch.where(there, self.weight[event], 0.0),
        )

    def openings(self, num_targets: int) -> tuple[Int64[Tensor, "F T"], Float32[Tensor, "F T"]]:
        """The first events of each whole history in the batch, in order of the windows, and their weights.

        They answer the question at place 0 as `questions` has it; NO_TARGET and 0 where a window has fewer.
        """
        window = self.from_first.nonzero().flatten()
        ahead = torch.arange(num_targets, device=window.device)
        there = ahead < self.num_events[window][:, None]
        event = torch.where(there, self._start()[window][:, None] + ahead, 0)
        row = torch.where(there, self.item_row[event].long(), NO_TARGET)
        return row, torch.where(there, self.weight[event], 0.0)

    def _places(self) -> tuple[Int64[Tensor, " S"], Int64[Tensor, " S"]]:
        """Window and place of every position."""
        count = self.num_shown + 1
        window = torch.repeat_interleave(count)
        first = count.cumsum(0) - count
        return window, torch.arange(len(window), device=window.device) - first[window]

    def _part(self, start: int, stop: int, first: int, end: int, longest: int) -> "Batch":
        """Windows from `start` to `stop`, whose events are those from `first` to `end`."""
        window, event = slice(start, stop), slice(first, end)
        return Batch(
            self.num_events[window],
            self.num_shown[window],
            self.from_first[window],
            self.asked_seconds[window],
            self.profile_row[window],
            self.profile_numeric[window],
            self.item_row[event],
            self.time_seconds[event],
            self.minutes[event],
            self.weight[event],
            longest,
        )

    def _start(self) -> Int64[Tensor, " B"]:
        return self.num_events.cumsum(0) - self.num_events


def query_batch(
    history: Histories,
    time_seconds: Int64[np.ndarray, " Q"],
    profiles: EncodedProfiles,
    max_history: int,
) -> Batch:
    """The batch of Q queries, each history cut to its last `max_history` events; all of them are shown."""
    stop = history.offset[1:]
    start = np.maximum(history.offset[:-1], stop - max_history)
    (batch,) = packed(
        history,
        start,
        num_events=stop - start,
        num_shown=stop - start,
        from_first=start == history.offset[:-1],
        profiles=profiles,
        num_windows=[len(history)],
        asked_seconds=time_seconds,
    )
    return batch


def packed(
    history: Histories,
    start: Int64[np.ndarray, " W"],
    num_events: Int64[np.ndarray, " W"],
    num_shown: Int64[np.ndarray, " W"],
    from_first: Bool[np.ndarray, " W"],
    profiles: EncodedProfiles,
    num_windows: Sequence[int],
    asked_seconds: Int64[np.ndarray, " W"] | None = None,
) -> list[Batch]:
    """Batches of `num_windows` windows each, in order; a window is `num_events` events from `start` on.

    Without `asked_seconds` the last question of a window is asked at the event after those it shows. Several
    batches are read at once because a small one costs less time to read than to ask for.
    """
    event = runs(start, num_events)
    time_seconds = history.time_seconds.take(event)
    if asked_seconds is None:
        asked_seconds = time_seconds[np.cumsum(num_events) - num_events + num_shown]
    ends = np.cumsum(num_windows)
    bounds = list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))
    longest = [int(num_shown[start:stop].max(initial=0)) for start, stop in bounds]
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_events)])[ends]
    sizes = np.diff(total, prepend=0).tolist()
    windows = [
        torch.split(torch.from_numpy(column), list(num_windows))
        for column in (
            *(num_events, num_shown, from_first, asked_seconds),
            *(profiles.row, profiles.numeric),
        )
    ]
    events = [
        torch.split(torch.from_numpy(column), sizes)
        for column in (
            history.item_row.take(event),
            time_seconds,
            history.minutes.take(event),
            history.weight.take(event),
        )
    ]
    return [Batch(*columns) for columns in zip(*windows, *events, longest, strict=True)]
