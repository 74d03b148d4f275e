"""Histories → padded batches: training windows in a seeded order, and queries at serving."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from towers.data.histories import Histories
from towers.errors import TrainingError
from towers.settings import bounded

NO_TARGET = -1


@dataclass(frozen=True, slots=True)
class LoaderSettings:
    """How batches are fed.

    batch_positions: history positions per batch and process, padding included.
    num_workers: loader processes; 0 loads in the training process.
    """

    batch_positions: int = bounded(1024, ge=1)
    num_workers: int = bounded(0, ge=0)


@dataclass(frozen=True, slots=True)
class Batch:
    """B histories, left-aligned, oldest event first, L the longest of them.

    item_row: int64 (B, L), 0 at padding. valid: bool (B, L), False at padding.
    minutes: float32 (B, L), NaN where unknown. country_row: int64 (B,), embedding row, 0 unknown.
    gap_seconds: float32 (B, L + 1), from the l-th event to the next moment: that of the next event or, after
    the last, of the request; NaN at l = 0 and past the end.
    target_row: int64 (B, L + 1, T), the T items watched after the first l events, the next one first;
    NO_TARGET where the history ends, and in all T places where nothing is asked.
    """

    item_row: Int64[Tensor, "B L"]
    valid: Bool[Tensor, "B L"]
    minutes: Float32[Tensor, "B L"]
    gap_seconds: Float32[Tensor, "B L1"]
    country_row: Int64[Tensor, " B"]
    target_row: Int64[Tensor, "B L1 T"]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(
            self.item_row.to(device, non_blocking=True),
            self.valid.to(device, non_blocking=True),
            self.minutes.to(device, non_blocking=True),
            self.gap_seconds.to(device, non_blocking=True),
            self.country_row.to(device, non_blocking=True),
            self.target_row.to(device, non_blocking=True),
        )


def query_batch(
    history: Histories,
    time_seconds: Int64[np.ndarray, " Q"],
    country_row: Int64[np.ndarray, " Q"],
    max_history: int,
) -> Batch:
    """The batch of Q queries, each history cut to its last `max_history` events; targets are NO_TARGET."""
    stop = history.offset[1:]
    start = np.maximum(history.offset[:-1], stop - max_history)
    whole = start == history.offset[:-1]
    return _padded(history, start, stop, whole, country_row, num_targets=0, asked_seconds=time_seconds)


class TrainingWindows(torch.utils.data.Dataset[Batch]):
    """Cuts histories into windows and lays them out as batches; item w is the batch of windows w.

    A window of n events asks n questions: what came first (of the whole history only), and what came after
    each event but the last. The answer is the next `num_targets` events, beyond the window too.
    """

    def __init__(
        self,
        history: Histories,
        country_row: Int64[np.ndarray, " P"],
        max_history: int,
        num_targets: int = 1,
    ) -> None:
        self.history = history
        self.country_row = country_row
        self.max_history = max_history
        self.num_targets = num_targets

    def cut(self, rng: np.random.Generator) -> Int64[np.ndarray, "W 3"]:
        """(profile, start, stop) of every window; each event with a question is in exactly one.

        A history longer than `max_history` is cut at a random phase, so that over the epochs every event is
        learned with contexts of every length.
        """
        step = self.max_history
        profile = np.flatnonzero(self.history.lengths > 0)
        begin, end = self.history.offset[profile], self.history.offset[profile + 1]
        # At least two events come first: a later window starts with its context, which must not be the first
        # event of all, or that one would be asked for twice.
        phase = np.where(end - begin > step, rng.integers(2, step + 1, len(profile)), step)
        num_windows = 1 + np.maximum(0, -(-(end - begin - phase) // step))
        which = np.repeat(np.arange(len(profile)), num_windows)
        number = np.arange(len(which)) - np.repeat(np.cumsum(num_windows) - num_windows, num_windows)
        start = np.where(number == 0, begin[which], begin[which] + phase[which] + (number - 1) * step)
        stop = np.minimum(begin[which] + phase[which] + number * step, end[which])
        # The event before a later window is its context: without it the window's first event has no question.
        return np.stack([profile[which], np.where(number == 0, start, start - 1), stop], axis=1)

    def __getitem__(self, windows: Int64[np.ndarray, "B 3"]) -> Batch:
        profile, start, stop = windows.T
        whole = start == self.history.offset[profile]
        # The last event of a window is asked for, so the moment of every question is that of an event.
        return _padded(
            self.history,
            start,
            stop,
            whole,
            self.country_row[profile],
            num_targets=self.num_targets,
            asked_seconds=self.history.time_seconds[stop - 1],
        )


class WindowSampler(torch.utils.data.Sampler[Int64[np.ndarray, "B 3"]]):
    """The batches of one epoch in an order that seed and epoch alone decide, disjoint between ranks.

    Windows of like length share a batch, so that little is padding. All ranks get equally many batches, no
    window is left out and none comes twice.
    """

    def __init__(
        self,
        windows: TrainingWindows,
        batch_positions: int,
        seed: int,
        *,
        epoch: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        rng = np.random.default_rng([seed, epoch])
        cut = windows.cut(rng)
        length = cut[:, 2] - cut[:, 1]
        # Sorted by length with a little noise: neighbours are alike, yet not the same in every epoch.
        cut = cut[np.argsort(length * rng.uniform(0.9, 1.1, len(cut)), kind="stable")]
        batches = _packed(cut, batch_positions, num_ranks)
        order = rng.permutation(len(batches))
        self._batches = [batches[place] for place in order[rank::num_ranks]]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Int64[np.ndarray, "B 3"]]:
        return iter(self._batches)


def _packed(cut: np.ndarray, batch_positions: int, num_ranks: int) -> list[np.ndarray]:
    """Runs of windows whose padded size fits; as many as divide among the ranks, by halving the largest."""
    bounds, widest = [0], 0
    for place, length in enumerate(cut[:, 2] - cut[:, 1]):
        widest = max(widest, int(length))
        if place > bounds[-1] and widest * (place + 1 - bounds[-1]) > batch_positions:
            bounds.append(place)
            widest = int(length)
    batches = [cut[start:stop] for start, stop in zip(bounds, [*bounds[1:], len(cut)], strict=True)]
    while len(batches) % num_ranks:
        largest = max(range(len(batches)), key=lambda b: len(batches[b]))
        if len(batches[largest]) < 2:
            raise TrainingError(
                f"{len(cut)} windows cannot feed {num_ranks} ranks; expected at least one for each"
            )
        batches[largest : largest + 1] = np.array_split(batches[largest], 2)
    return batches


def _padded(
    history: Histories,
    start: np.ndarray,
    stop: np.ndarray,
    from_first: np.ndarray,
    country_row: np.ndarray,
    *,
    num_targets: int,
    asked_seconds: np.ndarray,
) -> Batch:
    """Events start:stop of each line; with targets, the last of them is only asked for, not shown."""
    num_shown = stop - start - int(num_targets > 0)
    place = start[:, None] + np.arange(max(int(num_shown.max(initial=0)), 0))
    valid = place < (start + num_shown)[:, None]
    if history.num_events == 0:
        history = _ONE_EVENT  # every place is padding, but must be somewhere
    event = np.where(valid, place, 0)
    asked = np.concatenate([from_first[:, None], valid], axis=1)
    return Batch(
        item_row=torch.from_numpy(np.where(valid, history.item_row[event], 0)),
        valid=torch.from_numpy(valid),
        minutes=torch.from_numpy(np.where(valid, history.minutes[event], np.nan).astype(np.float32)),
        gap_seconds=torch.from_numpy(_gaps(history.time_seconds[event], valid, asked_seconds)),
        country_row=torch.from_numpy(country_row),
        target_row=torch.from_numpy(_targets(history, start, asked, num_targets)),
    )


def _gaps(shown_seconds: np.ndarray, valid: np.ndarray, asked_seconds: np.ndarray) -> np.ndarray:
    """float32 (B, L + 1): from each event shown to the next one shown, and from the last to the request."""
    gaps = np.full((len(valid), valid.shape[1] + 1), np.nan, np.float32)
    moment = np.broadcast_to(asked_seconds[:, None], valid.shape).copy()
    moment[:, :-1] = np.where(valid[:, 1:], shown_seconds[:, 1:], moment[:, :-1])
    gaps[:, 1:] = np.where(valid, moment - shown_seconds, np.nan)
    return gaps


def _targets(history: Histories, start: np.ndarray, asked: np.ndarray, num_targets: int) -> np.ndarray:
    """int64 (B, L + 1, T): the events start + l, start + l + 1, … of the same profile, where asked."""
    if num_targets == 0:
        return np.full((*asked.shape, 1), NO_TARGET)
    end = history.offset[np.searchsorted(history.offset, start, side="right")]
    event = start[:, None, None] + np.arange(asked.shape[1])[:, None] + np.arange(num_targets)
    there = asked[:, :, None] & (event < end[:, None, None])
    return np.where(there, history.item_row[np.minimum(event, history.num_events - 1)], NO_TARGET)


_ONE_EVENT = Histories(
    offset=np.array([0, 1]),
    item_row=np.zeros(1, np.int64),
    time_seconds=np.zeros(1, np.int64),
    minutes=np.zeros(1, np.float32),
)
