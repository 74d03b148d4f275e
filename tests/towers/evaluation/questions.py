"""Held-out questions and recommenders written by hand."""

from dataclasses import dataclass

import numpy as np

from towers.data.histories import Histories
from towers.data.split import HeldOut
from towers.recommender import PAD, Degraded, Queries, Rankings


def histories(lists: list[list[int]]) -> Histories:
    """Histories of these item rows, one second between events."""
    lengths = [len(one) for one in lists]
    rows = np.array([row for one in lists for row in one], dtype=np.int64)
    times = np.concatenate([np.zeros(0, np.int64), *(np.arange(length) for length in lengths)])
    offset = np.cumsum([0, *lengths], dtype=np.int64)
    return Histories(offset, rows, times.astype(np.int64), np.full(len(rows), np.nan, np.float32))


def questions(known: list[list[int]], targets: list[list[int]]) -> HeldOut:
    """One question per history; profile rows count from 100."""
    return HeldOut(
        profile_row=np.arange(100, 100 + len(known)),
        history=histories(known),
        time_seconds=np.full(len(known), 1_000, dtype=np.int64),
        country=np.full(len(known), ""),
        target_offset=np.cumsum([0, *(len(one) for one in targets)], dtype=np.int64),
        target_row=np.array([row for one in targets for row in one], dtype=np.int64),
    )


@dataclass(frozen=True)
class Scripted:
    """Answers question n, known by its length of history n, with line n; whatever was asked."""

    rows: list[list[int]]
    degraded: tuple[Degraded | None, ...] = ()

    def rank(self, queries: Queries, k: int) -> Rankings:
        asked = queries.history.lengths.tolist()
        lines = [[*self.rows[line][:k], *[PAD] * (k - len(self.rows[line]))] for line in asked]
        row = np.array(lines, dtype=np.int64).reshape(len(asked), k)
        score = np.where(row == PAD, -np.inf, -np.arange(k, dtype=np.float32)).astype(np.float32)
        reasons = tuple(self.degraded[line] for line in asked) if self.degraded else ()
        return Rankings(row, score, reasons)
