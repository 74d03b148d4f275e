"""Titles in a Parquet file by groups of rows: what is the same in an older file is known by its bytes.

Parquet of equal rows, cut into groups alike and written by one version of the library, is equal byte by byte.
So titles are written in the order of an older file, group by group, and those that it lacks after them: a
group in which nothing changed need not be decoded to know it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int64

from towers.data.rows import taken

GROUP_ROWS = 1 << 16
"""Titles of one group, where nothing says how many: so some of a large catalogue are read by themselves."""

_PIECE_BYTES = 1 << 22


class SameRows(NamedTuple):
    """Rows of two files that say the same: `num` of them, which begin at these rows."""

    older: int
    newer: int
    num: int


def write_items(path: Path, items: pa.Table, order_of: Path | None = None) -> None:
    """Writes an items table, in its own order and groups of GROUP_ROWS.

    order_of: an older items file, in whose order and groups come those titles that it has; the others after
    them. Raises what Arrow raises where it is none.
    """
    order, num_rows = None, _cut(items.num_rows)
    if order_of is not None:
        order, num_rows = _order_of(order_of, items["item_id"])
    start = 0
    with pq.ParquetWriter(path, items.schema, compression="zstd") as writer:
        for num in num_rows:
            if num:
                # In order they mostly are, so that a group lies together.
                some = slice(start, start + num)
                group = items[some].combine_chunks() if order is None else taken(items, order[some])
                writer.write_table(group, row_group_size=num)
            start += num


def same_rows(older: Path, newer: Path) -> tuple[SameRows, ...]:
    """The groups of two files that are equal byte by byte, in the order of the newer one.

    Raises what Arrow raises where one is no Parquet file.
    """
    with pq.ParquetFile(older) as first, pq.ParquetFile(newer) as second:
        if not (first.schema.equals(second.schema) and first.schema_arrow.equals(second.schema_arrow)):
            return ()
        of_older: dict[tuple[object, ...], list[_Group]] = {}
        for group in _groups(first.metadata):
            of_older.setdefault(group.form, []).append(group)
        of_newer = [group for group in _groups(second.metadata) if group.form in of_older]
    found = []
    with older.open("rb") as before, newer.open("rb") as now:
        for group in of_newer:
            for other in of_older[group.form]:  # of one form are few, unless groups are tiny
                if _are_equal(before.fileno(), other.at, now.fileno(), group.at, group.num_bytes):
                    found.append(SameRows(other.start, group.start, group.num_rows))
                    break
    return tuple(found)


def _order_of(older: Path, item_id: pa.ChunkedArray) -> tuple[Int64[np.ndarray, " n"], list[int]]:
    """The places of titles in the order of an older file, new ones last as they stand; the rows of groups."""
    with pq.ParquetFile(older) as file:
        before = file.read(["item_id"])["item_id"].cast(item_id.type)
        stop = np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
    row = pc.fill_null(pc.index_in(item_id, value_set=before.combine_chunks()), len(before))
    row = row.to_numpy(zero_copy_only=False)
    order = np.argsort(row, kind="stable")
    there = row[row < len(before)]
    group = np.searchsorted(stop, there, side="right")
    kept = np.bincount(group, minlength=len(stop)).tolist()
    return order, [*kept, *_cut(len(row) - len(there))]


class _Group(NamedTuple):
    """Rows from `start` on, in the bytes from `at` on; form: how these are to be read."""

    start: int
    num_rows: int
    at: int
    num_bytes: int
    form: tuple[object, ...]


def _groups(about: pq.FileMetaData) -> Iterator[_Group]:
    start = 0
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        columns = [group.column(place) for place in range(group.num_columns)]
        first = [_first_byte(column) for column in columns]
        at = min(first)
        end = max(byte + column.total_compressed_size for byte, column in zip(first, columns, strict=True))
        form = tuple(
            (
                column.path_in_schema,
                column.physical_type,
                column.compression,
                column.encodings,
                column.num_values,
                column.total_compressed_size,
                column.total_uncompressed_size,
                byte - at,
                column.data_page_offset - at,
                column.has_dictionary_page,
            )
            for byte, column in zip(first, columns, strict=True)
        )
        yield _Group(start, group.num_rows, at, end - at, (group.num_rows, end - at, *form))
        start += group.num_rows


def _first_byte(column: pq.ColumnChunkMetaData) -> int:
    dictionary = column.dictionary_page_offset if column.has_dictionary_page else None
    data: int = column.data_page_offset
    return data if dictionary is None else min(data, dictionary)


def _are_equal(first: int, at: int, second: int, other_at: int, num_bytes: int) -> bool:
    """Whether two files have the same bytes there."""
    for start in range(0, num_bytes, _PIECE_BYTES):
        num = min(_PIECE_BYTES, num_bytes - start)
        piece = os.pread(first, num, at + start)
        if len(piece) < num or piece != os.pread(second, num, other_at + start):
            return False
    return True


def _cut(num_rows: int) -> list[int]:
    """Groups of GROUP_ROWS each, the last with what is left."""
    return [min(GROUP_ROWS, num_rows - start) for start in range(0, num_rows, GROUP_ROWS)]
