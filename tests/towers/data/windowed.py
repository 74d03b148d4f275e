"""Logs whose events are numbered through, to be cut into windows."""

from collections.abc import Iterable

import numpy as np

from towers.data.batches import Batch
from towers.data.encoded import EncodedProfiles
from towers.data.histories import Histories
from towers.data.windows import TrainingWindows


def histories(lengths: list[int]) -> Histories:
    """Events numbered through by place: item, time = 10 × place, minutes, and weight = 1 + place."""
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    place = np.arange(offset[-1])
    return Histories(offset, place, place * 10, place.astype(np.float32), (1 + place).astype(np.float32))


def windows(lengths: list[int], max_history: int = 4, num_targets: int = 1) -> TrainingWindows:
    """Windows over all of `histories(lengths)`; profile p is of country p."""
    history = histories(lengths)
    return TrainingWindows(history, history.lengths, numbered(len(lengths)), max_history, num_targets)


def numbered(num_profiles: int) -> EncodedProfiles:
    """Profiles whose one feature is their number."""
    return EncodedProfiles(
        np.arange(num_profiles, dtype=np.int32)[:, None], np.zeros((num_profiles, 0), np.float32)
    )


def asked(batches: Iterable[Batch]) -> list[int]:
    """The event that each question asks for first, over all batches."""
    return [row for batch in batches for row in batch.questions(1).target_row[:, 0].tolist()]


def content(batch: Batch) -> tuple[list[int], ...]:
    """What tells a batch of numbered events from any other."""
    return batch.num_events.tolist(), batch.num_shown.tolist(), batch.item_row.tolist()
