"""Orders of rows: stable ones by several whole-number keys, in linear time, and an even choice of some."""

import numpy as np
from jaxtyping import Int64


def stable_order(*keys: np.ndarray) -> Int64[np.ndarray, " n"]:
    """The order of rows by the first key, then the second …, equal rows as they stand.

    keys: whole numbers. Radix sort by digits of 16 bits, least first: NumPy sorts those in linear time, and
    digits that all rows share cost nothing, nor does a last key that is in order already.
    """
    order: np.ndarray | None = None
    for key in reversed(keys):
        if order is None and np.all(key[1:] >= key[:-1]):
            continue
        low = key.min() if len(key) else 0
        rest = (key - low).astype(np.uint64)
        high = int(rest.max()) if len(rest) else 0
        shift = 0
        while high >> shift:
            digit = ((rest >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.uint16)
            if order is None:
                order = np.argsort(digit, kind="stable")
            else:
                order = np.take(order, np.argsort(np.take(digit, order), kind="stable"))
            shift += 16
    return np.arange(len(keys[0])) if order is None else order


def spread(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the values, spread evenly over them, each once."""
    place = np.linspace(0, len(values) - 1, min(most, len(values))).astype(np.int64)
    return values[np.unique(place)]
