"""Histories → padded batches: training windows in a seeded order, and queries at serving."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from towers.data.histories import Histories
from towers.data.vocabulary import Vocabulary
from towers.errors import TrainingError
from towers.settings import bounded

NO_TARGET = -1


@dataclass(frozen=True, slots=True)
class LoaderSettings:
    """How batches are fed.

    batch_positions: history positions per batch and process, padding included.
    num_workers: loader processes; 0 loads in the training process.
    """

    batch_positions: int = bounded(4096, ge=1)
    num_workers: int = bounded(0, ge=0)


@dataclass(frozen=True, slots=True)
class Batch:
    """B histories, left-aligned, oldest event first, L the longest of them.

    item_row: int64 (B, L), 0 at padding. valid: bool (B, L), False at padding.
    minutes: float32 (B, L), NaN where unknown. gap_seconds: float32 (B, L), since the event before, NaN at
    the first of a history. country_row: int64 (B,), embedding row, 0 unknown.
    target_row: int64 (B, L + 1), the item watched after the first l events; NO_TARGET where nothing is asked.
    """

    item_row: Int64[Tensor, "B L"]
    valid: Bool[Tensor, "B L"]
    minutes: Float32[Tensor, "B L"]
    gap_seconds: Float32[Tensor, "B L"]
    country_row: Int64[Tensor, " B"]
    target_row: Int64[Tensor, "B L1"]

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


def query_batch(history: Histories, country: np.ndarray, countries: Vocabulary, max_history: int) -> Batch:
    """The batch of Q queries, each history cut to its last `max_history` events; targets are NO_TARGET."""
    stop = history.offset[1:]
    start = np.maximum(history.offset[:-1], stop - max_history)
    return _padded(
        history, start, stop, start == history.offset[:-1], countries.embedding_rows(country), False
    )


class TrainingWindows(torch.utils.data.Dataset[Batch]):
    """Cuts histories into windows and lays them out as batches; item w is the batch of windows w.

    A window of n events asks n questions: what came first (of the whole history only), and what came after
    each event but the last.
    """

    def __init__(self, history: Histories, country_row: Int64[np.ndarray, " P"], max_history: int) -> None:
        self.history = history
        self.country_row = country_row
        self.max_history = max_history

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
        return _padded(self.history, start, stop, whole, self.country_row[profile], True)


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
    with_targets: bool,
) -> Batch:
    """Events start:stop of each line; with targets, the last of them is only asked for, not shown."""
    num_shown = stop - start - int(with_targets)
    place = start[:, None] + np.arange(max(int(num_shown.max(initial=0)), 0))
    valid = place < (start + num_shown)[:, None]
    if history.num_events == 0:
        history = _ONE_EVENT  # every place is padding, but must be somewhere
    last = history.num_events - 1
    event = np.where(valid, place, 0)
    gap = history.time_seconds[event] - history.time_seconds[np.maximum(event - 1, 0)]
    has_before = valid & ((place > start[:, None]) | ~from_first[:, None])
    target = np.full((len(start), place.shape[1] + 1), NO_TARGET)
    if with_targets:
        target[:, 0] = np.where(from_first, history.item_row[np.minimum(start, last)], NO_TARGET)
        target[:, 1:] = np.where(valid, history.item_row[np.minimum(place + 1, last)], NO_TARGET)
    return Batch(
        item_row=torch.from_numpy(np.where(valid, history.item_row[event], 0)),
        valid=torch.from_numpy(valid),
        minutes=torch.from_numpy(np.where(valid, history.minutes[event], np.nan).astype(np.float32)),
        gap_seconds=torch.from_numpy(np.where(has_before, gap, np.nan).astype(np.float32)),
        country_row=torch.from_numpy(country_row),
        target_row=torch.from_numpy(target),
    )


_ONE_EVENT = Histories(
    offset=np.array([0, 1]),
    item_row=np.zeros(1, np.int64),
    time_seconds=np.zeros(1, np.int64),
    minutes=np.zeros(1, np.float32),
)
