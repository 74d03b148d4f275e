"""The titles of a catalogue: a table in memory, or one in a file, decoded as far as it is asked for."""

from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from towers.data.rows import taken
from towers.data.schema import (
    CODED_LICENCES,
    ITEMS,
    as_declared,
    read_table,
    require_unique,
    require_width,
    table_path,
    validate_table,
    width_of,
)


class Titles:
    """An items table (`towers.data.schema.ITEMS`) in the order of its rows.

    ids: the column item_id, in which no id stands twice: `require_unique_ids` says whether that is so.
    """

    def __init__(self, table: pa.Table) -> None:
        """Of a table that was validated."""
        self._table: pa.Table | None = table
        self.ids: pa.ChunkedArray = table["item_id"]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def table(self) -> pa.Table:
        """All of it."""
        return self.slice(0, len(self))

    @property
    def nbytes(self) -> int:
        """What it takes in memory; where it was not read whole, by what was read of it."""
        return int(self.table.nbytes)

    def require_unique_ids(self) -> None:
        """Raises SchemaError where an id stands twice."""
        require_unique(self.ids, "items: item_id")

    def slice(self, start: int, num: int) -> pa.Table:
        """So many rows from one on."""
        assert self._table is not None  # of one in a file it is another class
        return self._table.slice(start, num)

    def licences(self) -> pa.ChunkedArray:
        """The licences of all rows, their countries as texts or as codes of them, whichever is cheaper."""
        return self.table["licences"]

    def some(self, row: Int64[np.ndarray, " n"]) -> pa.Table:
        """These rows, in their order."""
        return taken(self.table, row)


class TitlesOfFile(Titles):
    """The items.parquet of a folder of tables: groups of rows are decoded when a row of them is asked for.

    Safe for several threads, which may both decode what they both ask for. The file may be replaced: what is
    open is read on. What is read is validated, but for ids that stand twice in different groups
    (`require_unique_ids`). Raises SchemaError where something is not as it must be.
    """

    def __init__(self, folder: Path) -> None:
        """MissingDataError where the folder has no such table."""
        self._path = table_path(folder, "items")
        self._file = pa.OSFile(str(self._path))
        self._group: dict[int, pa.Table] = {}
        self._licences: pa.ChunkedArray | None = None
        only_ids = pa.schema([ITEMS.field("item_id")])
        ids = as_declared(self._path, only_ids, lambda: pq.read_table(self._file, columns=only_ids.names))
        self.ids = ids["item_id"]
        about = pq.read_metadata(self._file)
        num = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
        self._edge = np.concatenate([np.zeros(1, np.int64), np.cumsum(num, dtype=np.int64)])

    def require_unique_ids(self) -> None:  # noqa: D102
        require_unique(self.ids, f"{self._path}: item_id")

    @property
    def nbytes(self) -> int:  # noqa: D102
        known = list(self._group.values())
        num_rows = sum(each.num_rows for each in known)
        return int(sum(each.nbytes for each in known) / num_rows * len(self)) if num_rows else 0

    def slice(self, start: int, num: int) -> pa.Table:  # noqa: D102
        if num == 0:
            return ITEMS.empty_table()
        first, last = self._groups_of(np.array([start, start + num - 1])).tolist()
        whole = pa.concat_tables([self._decoded(group) for group in range(first, last + 1)])
        return whole.slice(start - int(self._edge[first]), num)

    def licences(self) -> pa.ChunkedArray:  # noqa: D102
        if self._licences is None:
            names = [f"licences.list.{entry}.country" for entry in ("element", "item")]
            schema = pa.schema([pa.field("licences", CODED_LICENCES)])
            table = as_declared(
                self._path,
                schema,
                lambda: pq.read_table(self._file, columns=schema.names, read_dictionary=names),
            )
            self._licences = table["licences"]
        return self._licences

    def some(self, row: Int64[np.ndarray, " n"]) -> pa.Table:  # noqa: D102
        group = self._groups_of(row)
        wanted = np.unique(group)
        joined = pa.concat_tables([ITEMS.empty_table(), *(self._decoded(each) for each in wanted.tolist())])
        # By how much each group begins earlier when those between are left out.
        num = np.diff(self._edge)
        earlier = np.zeros(len(num), np.int64)
        earlier[wanted] = self._edge[wanted] - (np.cumsum(num[wanted]) - num[wanted])
        return taken(joined, row - earlier[group])

    def _groups_of(self, row: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        if len(row) and not 0 <= row.min() <= row.max() < len(self):
            raise IndexError(f"rows {row.min()} to {row.max()} of {len(self)} titles; expected rows of them")
        return np.searchsorted(self._edge, row, side="right") - 1

    def _decoded(self, group: int) -> pa.Table:
        if group not in self._group:
            found = as_declared(self._path, ITEMS, lambda: pq.ParquetFile(self._file).read_row_group(group))
            where = f"{self._path}: rows from {self._edge[group]} on"
            validate_table("items", found, where)
            require_width(found, self._width, where)
            self._group[group] = found
        return self._group[group]

    @cached_property
    def _width(self) -> int | None:
        """The numbers in the first embedding of all; None where no title has one."""
        schema = pa.schema([ITEMS.field("embedding")])
        for group in range(len(self._edge) - 1):
            file = pq.ParquetFile(self._file)
            there = [name for name in schema.names if name in file.schema_arrow.names]
            found = as_declared(self._path, schema, partial(file.read_row_group, group, there))
            if width := width_of(found):
                return width
        return None


def read_titles(folder: Path) -> Titles:
    """The titles of a folder of ingested tables, in memory; raises as `read_table` and `validate_table`."""
    table = read_table(folder, "items")
    validate_table("items", table, str(folder))
    return Titles(table)
