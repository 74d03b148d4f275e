"""Which row each title has in a release that is made from another, and what that one has of it."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64

from retrieval.catalogue import NO_TITLE, Catalogue
from retrieval.release.titles import Lines
from towers.data.dataset import Dataset
from towers.data.histories import Histories
from towers.data.schema import ITEMS, table
from towers.data.titles import Titles


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows of the index as it was built, and of what was added since, numbered anew for every release.

    num_built: N, rows of the build. row: int64 (n,), the row of each title of the tables: the one that the
    build has it in, or one from N on. So no row is given that no title has, but for the build's.
    """

    num_built: int
    row: Int64[np.ndarray, " n"]

    @property
    def num_rows(self) -> int:
        """Rows of the release."""
        return self.num_built + int((self.row >= self.num_built).sum())

    @property
    def added(self) -> Int64[np.ndarray, " M"]:
        """The titles of the rows from N on, in their order: places in the tables."""
        return np.flatnonzero(self.row >= self.num_built)

    @property
    def there(self) -> Bool[np.ndarray, " N"]:
        """Which rows of the build have a title still."""
        there = np.zeros(self.num_built, bool)
        there[self.row[self.row < self.num_built]] = True
        return there


def layout_of(live_row: Int64[np.ndarray, " n"], embedded: Bool[np.ndarray, " n"], num_built: int) -> Layout:
    """The rows of titles: one stays in the build where it has a row there and its vector is the one it has.

    live_row: of the live release, -1 where it has none. embedded: titles that have a new vector.
    """
    stays = (live_row >= 0) & (live_row < num_built) & ~embedded
    row = np.where(stays, live_row, 0)
    row[~stays] = num_built + np.arange(int((~stays).sum()))
    return Layout(num_built, row)


def lines_of(
    dataset: Dataset,
    layout: Layout,
    described: Bool[np.ndarray, " n"],
    before: Int64[np.ndarray, " m"],
) -> Lines:
    """What the titles of the build do not say: of other titles, of none (a blank line), and of the added.

    described: titles of which something is said otherwise than in the live release. before: rows of which
    that one has lines of its own; those after the build's are not looked at.
    """
    other = ~layout.there
    of_described = layout.row[described]
    other[of_described[of_described < layout.num_built]] = True
    other[before[before < layout.num_built]] = True
    row = np.concatenate([np.flatnonzero(other), np.arange(layout.num_built, layout.num_rows)])
    place = np.full(layout.num_rows, len(layout.row))
    place[layout.row] = np.arange(len(layout.row))
    place = place[row]
    has_title = place < len(layout.row)
    # Blank lines are one, taken as often as it is needed.
    blank = table(ITEMS, {"item_id": [NO_TITLE], "title": [""]})
    lines = pa.concat_tables([dataset.titles.some(place[has_title]), blank]).combine_chunks()
    line = np.where(has_title, np.cumsum(has_title) - 1, len(lines) - 1)
    return Lines(row, lines.take(pa.array(line)))


def in_rows(dataset: Dataset, layout: Layout, catalogue: Catalogue) -> Dataset:
    """The histories of the service, their titles in the rows of a release, whose catalogue is given.

    What is said of titles is left out: they are in the order of the tables there.
    """
    return replace(
        dataset,
        titles=Titles(ITEMS.empty_table()),
        catalogue=catalogue.vocabulary,
        history=_moved(dataset.history, layout),
        repeats=_moved(dataset.repeats, layout),
    )


def _moved(history: Histories, layout: Layout) -> Histories:
    return replace(history, item_row=layout.row[history.item_row])


def gathered(
    live: Float32[np.ndarray, "R D"],
    live_row: Int64[np.ndarray, " n"],
    embedded: Bool[np.ndarray, " n"],
    new: Float32[np.ndarray, "E D"],
    chosen: Int64[np.ndarray, " M"],
) -> Float32[np.ndarray, "M D"]:
    """Vectors of the titles chosen, places in the tables: the new one where it is embedded, else the live."""
    place = np.cumsum(embedded) - 1
    vectors = np.empty((len(chosen), live.shape[1]), np.float32)
    is_new = embedded[chosen]
    vectors[is_new] = new[place[chosen[is_new]]]
    vectors[~is_new] = live[live_row[chosen[~is_new]]]
    return vectors
