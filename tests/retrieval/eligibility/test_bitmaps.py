"""Bitmaps against sets of Python, and against what FAISS reads in them."""

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.eligibility import bitmaps

SIZES = [0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 200]


@st.composite
def _rows(draw: st.DrawFn) -> tuple[int, list[int]]:
    num_items = draw(st.sampled_from(SIZES))
    return num_items, draw(st.lists(st.integers(0, num_items - 1), max_size=40)) if num_items else []


def _bits(bitmap: np.ndarray) -> set[int]:
    """The places of the set bits, by their definition."""
    return {place for place in range(8 * len(bitmap)) if bitmap[place // 8] & 2 ** (place % 8)}


@given(_rows())
def test_a_bitmap_has_the_bits_of_its_rows_and_no_other(case: tuple[int, list[int]]) -> None:
    num_items, rows = case
    bitmap = bitmaps.from_rows(np.array(rows, np.int64), num_items)
    mask = np.array([row in rows for row in range(num_items)], bool)
    assert bitmap.dtype == np.uint8
    assert len(bitmap) == -(-num_items // 64) * 8
    assert _bits(bitmap) == set(rows)
    assert bitmaps.rows(bitmap).tolist() == sorted(set(rows))
    assert bitmaps.count(bitmap) == len(set(rows))
    np.testing.assert_array_equal(bitmaps.from_mask(mask), bitmap)


@given(_rows())
def test_the_complement_has_the_other_rows_and_a_clear_tail(case: tuple[int, list[int]]) -> None:
    num_items, rows = case
    others = bitmaps.complement(bitmaps.from_rows(np.array(rows, np.int64), num_items), num_items)
    assert _bits(others) == set(range(num_items)) - set(rows)


@pytest.mark.parametrize("num_items", SIZES)
def test_the_full_bitmap_has_every_row_and_a_clear_tail(num_items: int) -> None:
    assert _bits(bitmaps.full(num_items)) == set(range(num_items))


@given(_rows())
def test_faiss_reads_the_same_rows(case: tuple[int, list[int]]) -> None:
    num_items, rows = case
    bitmap = bitmaps.from_rows(np.array(rows, np.int64), num_items)
    bitmap.setflags(write=False)
    selector = faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
    assert {row for row in range(-1, 8 * len(bitmap)) if selector.is_member(row)} == set(rows)


def test_each_line_is_looked_up_in_its_own_bitmap() -> None:
    of_rows = [{0, 9, 64}, {1}, set()]
    stacked = np.stack([bitmaps.from_rows(np.array(sorted(rows), np.int64), 70) for rows in of_rows])
    which = np.array([2, 0, 1, 0])
    item_row = np.array([[0, 1, 9], [0, 1, 9], [0, 1, -1], [64, 69, -1]])
    expected = [[row in of_rows[line] for row in rows] for line, rows in zip(which, item_row, strict=True)]
    assert bitmaps.contains(stacked, which, item_row).tolist() == expected


def test_no_item_is_in_no_bitmap() -> None:
    stacked = bitmaps.full(64)[None]
    assert not bitmaps.contains(stacked, np.array([0]), np.array([[-1]])).any()


def test_no_lines_and_no_places_are_answered() -> None:
    stacked = bitmaps.full(3)[None]
    assert bitmaps.contains(stacked, np.zeros(0, np.int64), np.zeros((0, 4), np.int64)).shape == (0, 4)
    assert bitmaps.contains(stacked, np.zeros(2, np.int64), np.zeros((2, 0), np.int64)).shape == (2, 0)
