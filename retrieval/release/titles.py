"""The titles of a release: those of its build in one file, and what newer tables say otherwise in another.

A release that was made from another has that file of its build under a second name, and beside it the lines
that differ: of rows of the build whose title is described otherwise or has gone, and of all rows added since.
So what is written, hashed and sent grows with what changed, and not with the catalogue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from towers.data.schema import ITEMS, with_later_columns
from towers.data.title_groups import write_items
from towers.errors import ReleaseError

ITEMS_FILE = "items.parquet"
LINES_FILE = "items_updates.parquet"

_ROW = pa.field("row", pa.int64(), nullable=False)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of an items table that stand for those of a build of N titles, or after them.

    row: int64 (m,), rising: below N of a line that is replaced, and from N on without a gap. items: m lines.
    """

    row: Int64[np.ndarray, " m"]
    items: pa.Table


def write_titles(folder: Path, items: pa.Table) -> None:
    """Writes the titles of a build into a folder that exists, in row order."""
    write_items(folder / ITEMS_FILE, items)


def read_titles(folder: Path, columns: Sequence[str] = ITEMS.names) -> pa.Table:
    """The items table of a release, a line for each row, or some columns of it.

    Raises ReleaseError where its files hold something else.
    """
    built = read_built(folder, columns)
    if not (folder / LINES_FILE).is_file():
        return built
    lines = read_lines(folder)
    lines = Lines(lines.row, lines.items.select(columns))
    added = lines.row[lines.row >= len(built)]
    if not np.array_equal(added, len(built) + np.arange(len(added))):
        raise ReleaseError(
            f"{folder / LINES_FILE}: rows {added.min()} to {added.max()} with gaps, after {len(built)} of "
            f"{ITEMS_FILE}; expected every row from {len(built)} on"
        )
    return updated(built, lines)


def read_built(folder: Path, columns: Sequence[str] = ITEMS.names) -> pa.Table:
    """As `read_titles`, of a release as it was built: what was said otherwise since is not looked at."""
    return _read(folder / ITEMS_FILE, pa.schema([ITEMS.field(name) for name in columns]))


class Drawn(NamedTuple):
    """Titles of a build that stand together in a group of its file: rows from `first` on."""

    group: int
    first: int
    num: int


def drawn_titles(folder: Path, by: str) -> Drawn:
    """Some of a build, drawn by any text: all, where they were written together, as they were once.

    Raises ReleaseError as `read_titles`.
    """
    num_rows = _num_rows_of_groups(folder / ITEMS_FILE) or [0]
    group = int(np.random.default_rng([*by.encode()]).integers(len(num_rows)))
    return Drawn(group, sum(num_rows[:group]), num_rows[group])


def read_drawn(folder: Path, drawn: Drawn) -> pa.Table:
    """These titles as they were built; raises ReleaseError as `read_titles`."""
    return _read(folder / ITEMS_FILE, ITEMS, drawn.group) if drawn.num else ITEMS.empty_table()


def read_lines(folder: Path) -> Lines:
    """The lines that a release made from another has beside those of its build; raises as `read_titles`."""
    found = _read(folder / LINES_FILE, pa.schema([_ROW, *ITEMS]))
    row = found["row"].to_numpy()
    if (row[:1] < 0).any() or (np.diff(row) <= 0).any():
        raise ReleaseError(f"{folder / LINES_FILE}: rows do not rise from 0; expected each once, in order")
    return Lines(row, found.drop_columns("row"))


def read_rows_of_lines(folder: Path) -> Int64[np.ndarray, " m"]:
    """The rows of `read_lines`, alone."""
    rows: np.ndarray = _read(folder / LINES_FILE, pa.schema([_ROW]))["row"].to_numpy()
    return rows


def write_lines(folder: Path, lines: Lines) -> None:
    """Writes LINES_FILE into a folder that exists."""
    table = lines.items.add_column(0, _ROW, pa.array(lines.row, _ROW.type))
    pq.write_table(table, folder / LINES_FILE, compression="zstd")


def updated(built: pa.Table, lines: Lines) -> pa.Table:
    """The table of a build with these lines in it; without a copy where all of them come after it."""
    joined = pa.concat_tables([built, lines.items])
    place = np.arange(max(len(built), *(lines.row[-1:] + 1).tolist(), 0))
    place[lines.row] = len(built) + np.arange(len(lines.row))
    if np.array_equal(place, np.arange(len(joined))):
        return joined
    # Column by column: of one at a time there is a copy more.
    rows = pa.array(place)
    columns = [column.combine_chunks().take(rows) for column in joined.itercolumns()]
    return pa.Table.from_arrays(columns, schema=joined.schema)


def _read(path: Path, schema: pa.Schema, group: int | None = None) -> pa.Table:
    """The columns of a file, or of one of the groups of rows in it."""
    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in schema.names if name in file.schema_arrow.names]
            found = file.read(names) if group is None else file.read_row_group(group, names)
        return with_later_columns(found, schema).select(schema.names).cast(schema)
    except (FileNotFoundError, pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
        raise ReleaseError(f"{path}: {error}; expected the columns {', '.join(schema.names)}") from error


def _num_rows_of_groups(path: Path) -> list[int]:
    try:
        about = pq.read_metadata(path)
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise ReleaseError(f"{path}: {error}; expected the titles of a build") from error
    return [about.row_group(group).num_rows for group in range(about.num_row_groups)]
