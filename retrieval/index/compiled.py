"""Kernels in machine code, and what several of them share."""

import numpy as np

from towers.machine_code import Function, machine_code

_NUM_BINS = 256


def compiled(function: Function) -> Function:
    """The function in machine code: sums in any order; NaN and infinity keep their meaning."""
    return machine_code(function, {"reassoc", "contract", "nsz", "arcp"})


def _largest(values: np.ndarray, start: int, stop: int) -> np.float32:
    """The largest of values[start:stop], of which none is NaN."""
    best = np.float32(values[start])
    for i in range(start + 1, stop):
        if values[i] > best:
            best = values[i]
    return best


# A maximum becomes one of vectors only where NaN is ruled out.
largest = machine_code(_largest, {"nnan", "nsz"})


@compiled
def passes(bitmap: np.ndarray, row: int) -> bool:
    """Whether the bit of a row is set."""
    return bool((bitmap[row >> 3] >> (row & 7)) & 1)


@compiled
def holds(rows: np.ndarray, start: int, stop: int, row: int) -> bool:
    """Whether rows[start:stop], ascending, has the row."""
    end = stop
    while start < stop:
        middle = (start + stop) >> 1
        if rows[middle] < row:
            start = middle + 1
        else:
            stop = middle
    return start < end and rows[start] == row


@compiled
def sort_into(
    score: np.ndarray, row: np.ndarray, size: int, score_out: np.ndarray, row_out: np.ndarray
) -> None:
    """Writes the scores highest first, equal ones by row: into bins, then each to its place."""
    if size == 0:
        return
    low, high = score[0], score[0]
    for i in range(size):
        low, high = min(low, score[i]), max(high, score[i])
    span = high - low
    even = np.float32(0.0)
    if np.float32(1e-30) < span < np.float32(3e38):
        even = np.float32(_NUM_BINS - 0.5) / span
    begin = np.zeros(_NUM_BINS + 1, np.int64)
    for i in range(size):
        begin[np.int64((high - score[i]) * even) + 1 if even > 0 else 1] += 1
    for each in range(_NUM_BINS):
        begin[each + 1] += begin[each]
    for i in range(size):
        own = np.int64((high - score[i]) * even) if even > 0 else np.int64(0)
        at = begin[own]
        begin[own] += 1
        score_out[at], row_out[at] = score[i], row[i]
    for i in range(1, size):
        moved, moved_row = score_out[i], row_out[i]
        at = i - 1
        while at >= 0 and (score_out[at] < moved or (score_out[at] == moved and row_out[at] > moved_row)):
            score_out[at + 1], row_out[at + 1] = score_out[at], row_out[at]
            at -= 1
        score_out[at + 1], row_out[at + 1] = moved, moved_row
