"""Sets of item rows as bitmaps, a bit per title.

A bitmap of N items is uint8 (W,), W = 8 ceil(N / 64): whole 64-bit words, so that it can be viewed as
uint64. Bit i of byte j is row 8j + i, as FAISS's IDSelectorBitmap reads it; bits from N on are 0. Two bitmaps
of the same N are joined by & and |.
"""

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8


def num_bytes(num_items: int) -> int:
    """W: the bytes of a bitmap of N items."""
    return 8 * -(-num_items // 64)


def full(num_items: int) -> UInt8[np.ndarray, " W"]:
    """The bitmap of every row."""
    bitmap = np.zeros(num_bytes(num_items), np.uint8)
    whole, rest = divmod(num_items, 8)
    bitmap[:whole] = 255
    if rest:
        bitmap[whole] = (1 << rest) - 1
    return bitmap


def from_mask(mask: Bool[np.ndarray, " N"]) -> UInt8[np.ndarray, " W"]:
    """The bitmap of the rows where the mask is true."""
    bitmap = np.zeros(num_bytes(len(mask)), np.uint8)
    packed = np.packbits(mask, bitorder="little")
    bitmap[: len(packed)] = packed
    return bitmap


def from_rows(rows: Integer[np.ndarray, " n"], num_items: int) -> UInt8[np.ndarray, " W"]:
    """The bitmap of these rows, 0 to N − 1, in any order and as often as they stand there."""
    mask = np.zeros(num_items, bool)
    mask[rows] = True
    return from_mask(mask)


def complement(bitmap: UInt8[np.ndarray, " W"], num_items: int) -> UInt8[np.ndarray, " W"]:
    """The bitmap of the rows that are not in this one; bits from N on stay 0."""
    others: np.ndarray = full(num_items) & ~bitmap
    return others


def count(bitmap: UInt8[np.ndarray, " W"]) -> int:
    """How many rows a bitmap has."""
    return int(np.bitwise_count(bitmap.view(np.uint64)).sum())


def rows(bitmap: UInt8[np.ndarray, " W"]) -> Int64[np.ndarray, " n"]:
    """The rows of a bitmap, in order."""
    return np.flatnonzero(np.unpackbits(bitmap, bitorder="little"))


def contains(
    bitmaps: UInt8[np.ndarray, "B W"], which: Int64[np.ndarray, " Q"], item_row: Int64[np.ndarray, "Q K"]
) -> Bool[np.ndarray, "Q K"]:
    """Whether each row is in the bitmap of its line: line q has the bitmap which[q].

    item_row: −1 to N − 1; −1, which is no item, is in none.
    """
    byte = bitmaps[which[:, None], item_row >> 3]
    bit = (byte >> (item_row & 7).astype(np.uint8)) & 1
    inside: np.ndarray = (bit == 1) & (item_row >= 0)
    return inside
