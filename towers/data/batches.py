"""Packed batches of histories: windows to learn from, or queries at serving, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
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

    window, place: int64 (Q,), lines and positions of what the user tower gives.
    target_row: int64 (Q, T), the T items watched after that, the next one first; NO_TARGET where the history
    ends. target_weight: float32 (Q, T), the weights of those events, 0 where there is none.
    """

    window: Int64[Tensor, " Q"]
    place: Int64[Tensor, " Q"]
    target_row: Int64[Tensor, "Q T"]
    target_weight: Float32[Tensor, "Q T"]


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

    def layout(self) -> tuple[Int64[Tensor, "B L"], Bool[Tensor, "B L"]]:
        """The shown events, a window a line and left-aligned: their place in the columns, and which exist.

        L is `longest`. Where a line has no such event, its place is 0.
        """
        place = torch.arange(self.longest, device=self.num_events.device)
        shown = place < self.num_shown[:, None]
        return torch.where(shown, self._start()[:, None] + place, 0), shown

    def gap_seconds(self) -> Float32[Tensor, "B L1"]:
        """From the l-th event to the next moment, in seconds; (B, L + 1).

        That is the moment of the next event shown or, after the last of them, of the question; NaN at l = 0
        and past the end.
        """
        event, shown = self.layout()
        time = self.time_seconds[event]
        last = torch.arange(1, self.longest + 1, device=time.device) == self.num_shown[:, None]
        moment = torch.where(last, self.asked_seconds[:, None], time.roll(-1, dims=1))
        gap = torch.where(shown, (moment - time).to(torch.float32), torch.nan)
        return torch.nn.functional.pad(gap, (1, 0), value=torch.nan)

    def questions(self, num_targets: int) -> Questions:
        """What the windows ask: what comes after each event shown, and what came first of a whole history."""
        place = torch.arange(self.longest + 1, device=self.num_events.device)
        asked = (place <= self.num_shown[:, None]) & (self.from_first[:, None] | (place > 0))
        window, after = asked.nonzero(as_tuple=True)
        ahead = torch.arange(num_targets, device=place.device)
        there = ahead < (self.num_events[window] - after)[:, None]
        event = torch.where(there, (self._start()[window] + after)[:, None] + ahead, 0)
        return Questions(
            window,
            after,
            target_row=torch.where(there, self.item_row[event].long(), NO_TARGET),
            target_weight=torch.where(there, self.weight[event], 0.0),
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
