"""Ids → their places in a list: hashed once, looked up for every batch of a log."""

import numpy as np
import polars as pl
from jaxtyping import Int32

_HASH_SEED = 2
_SPARSENESS = 8


class IdIndex:
    """Where each of N distinct ids stands.

    An open-addressing hash table with linear probing (Knuth, The Art of Computer Programming 3, 6.4), each
    step taken for all ids at once. Arrow and Polars hash the known ids again at every call, which of a
    catalogue of millions costs more than a batch of events.
    """

    def __init__(self, ids: pl.Series) -> None:
        self._ids = ids
        bits = max(1, (_SPARSENESS * len(ids)).bit_length())
        self._shift, self._mask = np.uint64(64 - bits), (1 << bits) - 1
        self._row = np.full(1 << bits, -1, np.int32)
        slot = self._slots(ids)
        waiting = np.arange(len(ids), dtype=np.int32)
        while len(waiting):
            free = waiting[self._row[slot[waiting]] < 0]
            self._row[slot[free]] = free  # of several that want a slot one gets it
            waiting = waiting[self._row[slot[waiting]] != waiting]
            slot[waiting] = (slot[waiting] + 1) & self._mask

    def rows(self, asked: pl.Series) -> Int32[np.ndarray, " n"]:
        """The place of each id, -1 where it is not known or null."""
        slot = self._slots(asked)
        row = np.take(self._row, slot)
        open_ = np.flatnonzero(~self._holds(row, asked))
        while len(open_):
            slot[open_] = (slot[open_] + 1) & self._mask
            there = np.take(self._row, slot[open_])
            # Behind a free slot nothing was pushed on: the id is not there.
            row[open_] = there
            open_ = open_[~self._holds(there, asked[open_])]
        return row

    def _slots(self, ids: pl.Series) -> np.ndarray:
        slots: np.ndarray = (ids.hash(_HASH_SEED).to_numpy() >> self._shift).astype(np.int64)
        return slots

    def _holds(self, row: np.ndarray, asked: pl.Series) -> np.ndarray:
        """Where the search ends: at the id asked for, or at a free slot."""
        if len(self._ids) == 0:
            return np.ones(len(row), bool)
        same = (self._ids.gather(np.maximum(row, 0)) == asked).fill_null(False).to_numpy()
        ended: np.ndarray = same | (row < 0)
        return ended
