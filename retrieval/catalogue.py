"""What is known of each title of a release, by id: for display, and to name rows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from retrieval.id_table import IdTable
from towers.data.vocabulary import Vocabulary

NO_TITLE = ""
"""The item id of a blank line: of a row whose title has left the catalogue, and which no other gets."""


@dataclass(frozen=True, slots=True)
class Item:
    """A title as people know it; release_year None, genres and cast () where the source has none."""

    item_id: str
    title: str
    release_year: int | None
    genres: tuple[str, ...]
    cast: tuple[str, ...]


class Catalogue:
    """The titles of a release: ids in row order, and metadata by id.

    table: the items table (`towers.data.schema.ITEMS`), a line for each row. vocabulary: its ids. rows: int64
    (N,), the rows that have a title, ascending: all, but where titles were removed since the index was built.
    sha256: of the files that it was read from, None of a table in memory: what has the same is the same.
    """

    _read: Callable[[], pa.Table]

    def __init__(
        self, table: pa.Table, vocabulary: Vocabulary | None = None, sha256: str | None = None
    ) -> None:
        """Of an items table; vocabulary: of its very ids, where the caller has one, to be shared."""
        self.table = table
        self.sha256 = sha256
        self.vocabulary = vocabulary or Vocabulary(table["item_id"].to_pylist(), gap=NO_TITLE)
        self.rows: Int64[np.ndarray, " N"] = _named(table["item_id"])

    @classmethod
    def of_ids(cls, item_id: pa.ChunkedArray, read: Callable[[], pa.Table]) -> "Catalogue":
        """Of a table of which the ids are known, none twice; the rest is read when it is asked for."""
        made = cls.__new__(cls)
        made._read, made.sha256 = read, None
        made.vocabulary, made.rows = Vocabulary.of_unique(item_id, gap=NO_TITLE), _named(item_id)
        return made

    @cached_property
    def table(self) -> pa.Table:
        """The items table."""
        return self._read()

    def __len__(self) -> int:
        """N, the titles that there are."""
        return len(self.rows)

    def id_table(self) -> IdTable:
        """The rows of its ids, for very many at once: made anew for whoever asks, in less than a look-up."""
        return IdTable(self.vocabulary.column, gap=NO_TITLE)

    @property
    def num_rows(self) -> int:
        """Rows, those without a title among them: what bitmaps and vectors have a place for."""
        return len(self.vocabulary)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the titles, in row order."""
        every = self.vocabulary.ids
        return every if len(self) == len(every) else tuple(every[row] for row in self.rows.tolist())

    def __contains__(self, item_id: str) -> bool:
        return item_id in self.vocabulary

    def __getitem__(self, item_id: str) -> Item:
        """The title of an id; UnknownIdError where the catalogue has none."""
        row = self.vocabulary.row(item_id)
        return Item(
            item_id=item_id,
            title=self.table["title"][row].as_py(),
            release_year=self.table["release_year"][row].as_py(),
            genres=tuple(self.table["genres"][row].as_py() or ()),
            cast=tuple(self.table["cast"][row].as_py() or ()),
        )


def _named(item_id: pa.ChunkedArray) -> Int64[np.ndarray, " N"]:
    return np.flatnonzero(pc.not_equal(item_id, NO_TITLE).to_numpy())
