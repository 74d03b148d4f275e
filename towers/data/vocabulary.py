"""External ids ↔ dense rows, with one rule for ids that are not known."""

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

    An embedding table over a vocabulary has one row more: row 0 stands for every id out of vocabulary, and
    id i has row i + 1 (`embedding_rows`, `table_size`). Vocabularies only grow, so a row once given stays.
    """

    __slots__ = ("_column", "_gap", "_ids", "_row_of")

    def __init__(self, ids: Iterable[str], *, gap: str | None = None) -> None:
        """The ids by row; gap: what stands, and is no id, in rows without one; None where all have."""
        self._ids = tuple(ids)
        self._column: pa.Array | None = None
        self._row_of: dict[str | None, int] = {id_: row for row, id_ in enumerate(self._ids)}
        self._gap = gap
        num_gaps = 0 if gap is None else self._ids.count(gap)
        if num_gaps:
            del self._row_of[gap]
        if len(self._row_of) + num_gaps != len(self._ids):
            repeated = next(id_ for row, id_ in enumerate(self._ids) if self._row_of.get(id_, row) != row)
            raise SchemaError(f"vocabulary: id {repeated!r} appears more than once; expected unique ids")

    @classmethod
    def sorted_unique(cls, ids: Iterable[str]) -> "Vocabulary":
        """A vocabulary of the distinct ids in sorted order, so that it does not depend on row order."""
        return cls(sorted(set(ids)))

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._row_of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._ids == other._ids

    def __hash__(self) -> int:
        return hash(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids in row order."""
        return self._ids

    @property
    def table_size(self) -> int:
        """Rows of an embedding table over this vocabulary: every id, and the out-of-vocabulary row 0."""
        return len(self._ids) + 1

    def row(self, id_: str) -> int:
        """The row of one id; UnknownIdError where it is out of vocabulary."""
        row = self._row_of.get(id_, OOV)
        if row == OOV:
            raise UnknownIdError(f"id {id_!r} is not in the vocabulary of {len(self)} ids")
        return row

    def id(self, row: int) -> str:
        """The id of one row; UnknownIdError where there is no such row (OOV has none)."""
        if not 0 <= row < len(self._ids):
            raise UnknownIdError(f"row {row} is not in the vocabulary of {len(self)} ids")
        return self._ids[row]

    def rows(self, ids: Iterable[str | None]) -> Int64[np.ndarray, " n"]:
        """Rows of many ids, OOV where unknown or None."""
        row_of = self._row_of
        return np.fromiter((row_of.get(id_, OOV) for id_ in ids), dtype=np.int64)

    def rows_of(self, column: pa.Array) -> Int64[np.ndarray, " n"]:
        """Rows of a large_string column, OOV where null or unknown: `rows` for many ids at once."""
        if len(column) <= max(_FEW, len(self) // _SHARE):
            return self.rows(column.to_pylist())
        if self._column is None:
            self._column = pa.array(self._ids, pa.large_string())
        found = pc.index_in(column, value_set=self._column)
        rows: np.ndarray = pc.fill_null(found, OOV).to_numpy(zero_copy_only=False).astype(np.int64)
        if self._gap is not None:
            rows[pc.fill_null(pc.equal(column, self._gap), False).to_numpy(zero_copy_only=False)] = OOV
        return rows

    def embedding_rows(self, ids: Iterable[str]) -> Int64[np.ndarray, " n"]:
        """Rows of an embedding table: row + 1, and 0 for every id out of vocabulary."""
        return self.rows(ids) + 1

    def grown(self, ids: Iterable[str]) -> "Vocabulary":
        """A vocabulary of these ids with new ids appended in the order given; known ones keep their rows."""
        new = dict.fromkeys(id_ for id_ in ids if id_ not in self._row_of)
        return Vocabulary((*self._ids, *new))
