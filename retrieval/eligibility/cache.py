"""The bitmaps that were asked for last, within a bound of bytes."""

import sys
from collections import OrderedDict
from threading import Lock

import numpy as np
from jaxtyping import UInt8

_ENTRY_BYTES = 400
"""What an entry takes beside its key and its bits: the array, its slot and its links."""


class BitmapCache:
    """Bitmaps by key; where they pass max_bytes, keys counted, those used longest ago go.

    Safe for any number of threads.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._bitmaps: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = Lock()

    @property
    def num_bytes(self) -> int:
        """What the bitmaps and their keys take, at most max_bytes."""
        return self._num_bytes

    def get(self, key: str) -> UInt8[np.ndarray, " W"] | None:
        """The bitmap of a key, now the one used last; None where there is none, or no more."""
        with self._lock:
            bitmap = self._bitmaps.get(key)
            if bitmap is not None:
                self._bitmaps.move_to_end(key)
            return bitmap

    def put(self, key: str, bitmap: UInt8[np.ndarray, " W"]) -> None:
        """Keeps a bitmap, unless it is larger than the whole bound."""
        size = _size(key, bitmap)
        if size > self._max_bytes:
            return
        with self._lock:
            if key in self._bitmaps:
                return  # another thread made the same
            while self._num_bytes + size > self._max_bytes:
                self._num_bytes -= _size(*self._bitmaps.popitem(last=False))
            self._bitmaps[key] = bitmap
            self._num_bytes += size


def _size(key: str, bitmap: np.ndarray) -> int:
    return sys.getsizeof(key) + bitmap.nbytes + _ENTRY_BYTES
