"""What is known of each title of a release, by id: for display, and to name rows."""

from dataclasses import dataclass

import pyarrow as pa

from towers.data.vocabulary import Vocabulary


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

    table: the items table (`towers.data.schema.ITEMS`). vocabulary: its ids.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.vocabulary = Vocabulary(table["item_id"].to_pylist())

    def __len__(self) -> int:
        return len(self.vocabulary)

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
