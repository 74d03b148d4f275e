"""External ids ↔ dense rows, with one rule for ids that are not known."""

import sys
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from towers.errors import SchemaError, UnknownIdError

OOV = -1
"""The row of an id that is out of vocabulary."""

_FEW, _SHARE = 64, 8
"""Arrow hashes the whole vocabulary first: few ids, or under an eighth of its own, go faster one by one."""


class Vocabulary:
    """Ids in row order; row i is ids[i], and an unknown id has row OOV (−1).

    What finds the row of an id is made where ids are given, or, of a column that is known to hold none twice
    (`of_unique`), when it is first asked for. Vocabularies only grow, so a row once given stays.
    """

    __slots__ = ("_array", "_column", "_gap", "_known_ids", "_known_rows")

    def __init__(self, ids: Iterable[str], *, gap: str | None = None) -> None:
        """The ids by row; gap: what stands, and is no id, in rows without one; None where all have."""
        self._known_ids: tuple[str, ...] | None = tuple(ids)
        self._column: pa.Array | None = None
        self._array: np.ndarray | None = None
        self._gap = gap
        self._known_rows: dict[str | None, int] | None = self._found()

    @classmethod
    def of_unique(cls, column: pa.ChunkedArray, *, gap: str | None = None) -> "Vocabulary":
        """The ids of a column of strings without null, of which the caller knows that none stands twice.

        gap: as of `__init__`; it may stand in any number of rows.
        """
        made = cls((), gap=gap)
        made._column = _one_piece(column)
        made._known_ids = made._known_rows = None
        return made

    def _found(self) -> dict[str | None, int]:
        """The row of each id; SchemaError where one stands twice."""
        ids, gap = self._ids, self._gap
        row_of: dict[str | None, int] = {id_: row for row, id_ in enumerate(ids)}
        num_gaps = 0 if gap is None else ids.count(gap)
        if num_gaps:
            del row_of[gap]
        if len(row_of) + num_gaps != len(ids):
            repeated = next(id_ for row, id_ in enumerate(ids) if row_of.get(id_, row) != row)
            raise SchemaError(f"vocabulary: id {repeated!r} appears more than once; expected unique ids")
        return row_of

    @property
    def column(self) -> pa.Array:
        """All ids in row order, large_string."""
        if self._column is None:
            self._column = pa.array(self._ids, pa.large_string())
        return self._column

    @property
    def _ids(self) -> tuple[str, ...]:
        if self._known_ids is None:
            assert self._column is not None  # of one of both it was made
            self._known_ids = tuple(self._column.to_pylist())
        return self._known_ids

    @property
    def _row_of(self) -> dict[str | None, int]:
        # Two threads may both make it: they make the same.
        if self._known_rows is None:
            self._known_rows = self._found()
        return self._known_rows

    def __len__(self) -> int:
        return len(self._ids) if self._column is None else len(self._column)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._row_of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and (self is other or self._ids == other._ids)

    def __hash__(self) -> int:
        return hash(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids in row order."""
        return self._ids

    def row(self, id_: str) -> int:
        """The row of one id; UnknownIdError where it is out of vocabulary."""
        row = self._row_of.get(id_, OOV)
        if row == OOV:
            raise UnknownIdError(f"id {id_!r} is not in the vocabulary of {len(self)} ids")
        return row

    def id(self, row: int) -> str:
        """The id of one row; UnknownIdError where there is no such row (OOV has none)."""
        if not 0 <= row < len(self):
            raise UnknownIdError(f"row {row} is not in the vocabulary of {len(self)} ids")
        return self._ids[row]

    def ids_of(self, rows: Int64[np.ndarray, " n"]) -> tuple[str, ...]:
        """The ids of these rows, each of which there is.

        By numpy: objects lie all over the memory, and it waits for many of them at once.
        """
        if self._array is None:
            array = np.empty(len(self), object)
            array[:] = self._ids
            self._array = array
        return tuple(self._array[rows].tolist())

    @property
    def held_bytes(self) -> int:
        """What its ids and what finds them take in memory, counted without a walk through every object."""
        ids, row_of = self._known_ids or (), self._known_rows or {}
        of_column = sum(each.nbytes for each in (self._column, self._array) if each is not None)
        held = sys.getsizeof(ids) + sum(map(sys.getsizeof, ids)) + sys.getsizeof(row_of)
        # The keys are the ids themselves; Python has one object for each of the first rows.
        return of_column + held + sum(map(sys.getsizeof, row_of.values()))

    def rows(self, ids: Iterable[str | None]) -> Int64[np.ndarray, " n"]:
        """Rows of many ids, OOV where unknown or None."""
        row_of = self._row_of
        return np.fromiter((row_of.get(id_, OOV) for id_ in ids), dtype=np.int64)

    def rows_of(self, column: pa.Array) -> Int64[np.ndarray, " n"]:
        """Rows of a large_string column, OOV where null or unknown: `rows` for many ids at once."""
        if len(column) <= max(_FEW, len(self) // _SHARE):
            return self.rows(column.to_pylist())
        found = pc.index_in(column, value_set=self.column)
        rows: np.ndarray = pc.fill_null(found, OOV).to_numpy(zero_copy_only=False).astype(np.int64)
        if self._gap is not None:
            rows[pc.fill_null(pc.equal(column, self._gap), False).to_numpy(zero_copy_only=False)] = OOV
        return rows

    def rows_in(self, other: "Vocabulary") -> Int64[np.ndarray, " N"]:
        """The row that each of these ids has in another vocabulary; OOV where none, and of a row without."""
        return other.rows_of(self.column)

    def grown(self, ids: Iterable[str]) -> "Vocabulary":
        """A vocabulary of these ids with new ids appended in the order given; known ones keep their rows."""
        new = dict.fromkeys(id_ for id_ in ids if id_ not in self._row_of)
        return Vocabulary((*self._ids, *new))


def _one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column of strings as one array of large_string."""
    whole = column.cast(pa.large_string()).combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
