"""Where each of many ids stands in a column: hashed once, and looked up in machine code."""

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from retrieval.eligibility.hashes import hashes
from retrieval.index.compiled import compiled
from retrieval.index.prefetch import prefetch

_NOT_THERE = np.int32(-1)
_TOGETHER = 64


class IdTable:
    """The rows of N ids, at most 2^31 - 1; of one that stands in several the first.

    An open-addressing hash table with linear probing (Knuth, The Art of Computer Programming 3, 6.4) of four
    bytes a slot, two to four slots an id; texts are compared byte by byte. Arrow hashes a column anew for
    every look into it. Safe for any number of concurrent readers.

    num_repeated: rows whose id stands in one before, those of `gap` left out.
    """

    def __init__(self, ids: pa.Array, *, gap: str | None = None) -> None:
        """Of a large_string column without null. gap: what stands, and is no id, in rows without one."""
        self._ids, self._offset, self._text = ids, *_content(ids)
        self._slot = np.full(1 << (2 * max(1, len(ids)) - 1).bit_length(), _NOT_THERE, np.int32)
        self._gap = np.frombuffer((gap or "").encode(), np.uint8)
        self.num_repeated = int(
            _fill(self._slot, hashes(ids)[0], self._offset, self._text, self._gap, gap is not None)
        )

    def rows_of(self, column: pa.Array) -> Int64[np.ndarray, " n"]:
        """The row of each text of a large_string column, -1 where it is null or no id of these."""
        filled = column.fill_null("") if column.null_count else column
        row = np.empty(len(column), np.int64)
        _look_up(self._slot, self._offset, self._text, hashes(filled)[0], *_content(filled), row)
        if column.null_count:
            row[column.is_null().to_numpy(zero_copy_only=False)] = -1
        return row


def _content(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Where each text begins, (n + 1,), and the bytes of all."""
    _, ends, text = column.buffers()
    offset = np.zeros(1, np.int64)
    if len(column):
        offset = np.frombuffer(ends, np.int64, len(column) + 1, 8 * column.offset)
    return offset, np.frombuffer(text, np.uint8) if text else np.empty(0, np.uint8)


@compiled
def _fill(
    slot: np.ndarray, hashed: np.ndarray, offset: np.ndarray, text: np.ndarray, gap: np.ndarray, has_gap: bool
) -> int:
    """Puts each id into its slot; the number of those that were there before."""
    last, repeated = np.uint64(len(slot) - 1), 0
    for i in range(len(hashed)):
        if has_gap and _equal(text, offset[i], offset[i + 1], gap, 0, len(gap)):
            continue
        at = hashed[i] & last
        while slot[at] >= 0:
            other = slot[at]
            if _equal(text, offset[i], offset[i + 1], text, offset[other], offset[other + 1]):
                repeated += 1
                break
            at = (at + np.uint64(1)) & last
        else:
            slot[at] = i
    return repeated


@compiled
def _look_up(
    slot: np.ndarray,
    offset: np.ndarray,
    text: np.ndarray,
    hashed: np.ndarray,
    asked: np.ndarray,
    asked_text: np.ndarray,
    row: np.ndarray,
) -> None:
    last, near = np.uint64(len(slot) - 1), np.empty(_TOGETHER, np.int32)
    for first in range(0, len(hashed), _TOGETHER):
        stop = min(first + _TOGETHER, len(hashed))
        # All over the memory: so many are waited for at once, first the slots, then the texts.
        for i in range(first, stop):
            near[i - first] = slot[hashed[i] & last]
        for i in range(first, stop):
            if near[i - first] >= 0:
                prefetch(text, offset[near[i - first]], 1)
        for i in range(first, stop):
            at = hashed[i] & last
            row[i] = -1
            while slot[at] >= 0:
                other = slot[at]
                if _equal(asked_text, asked[i], asked[i + 1], text, offset[other], offset[other + 1]):
                    row[i] = other
                    break
                at = (at + np.uint64(1)) & last


@compiled
def _equal(a: np.ndarray, start: int, stop: int, b: np.ndarray, other: int, other_stop: int) -> bool:
    if stop - start != other_stop - other:
        return False
    # Places are counted without a sign: of others numba asks whether they count from the end, byte by byte.
    first, second = np.uint64(start), np.uint64(other)
    for j in range(np.uint64(stop - start)):  # noqa: SIM110, no generator in machine code
        if a[first + j] != b[second + j]:
            return False
    return True
