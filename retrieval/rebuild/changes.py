"""What has changed between the release that is live and newer tables."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int64

from retrieval.catalogue import Catalogue
from retrieval.profile_store import stored_table
from retrieval.profiles import profiles_table
from retrieval.rebuild.same import differing
from retrieval.release.files import PROFILES_FILE
from retrieval.release.titles import read_titles
from towers.data.dataset import Dataset
from towers.data.features import ATTRIBUTE, ID_COLUMN
from towers.data.privacy.sealed import StoreKeys
from towers.data.vocabulary import OOV
from towers.nets.two_tower import TwoTower

# Columns that are compared at once: each takes copies of it.
_NUM_THREADS = 2


@dataclass(frozen=True, slots=True)
class Changes:
    """What newer tables say beside a release, title by title in the order of the tables.

    live_row: int64 (n,), the row that the release has the title in, OOV where it is new. changed: bool (n,),
    titles that the release has, of which the item tower is now told something else. described: bool (n,),
    titles of which anything at all is said otherwise. num_live: titles of the release. histories: whether
    profiles, or what they watched, are not those of the release.
    """

    live_row: Int64[np.ndarray, " n"]
    changed: Bool[np.ndarray, " n"]
    described: Bool[np.ndarray, " n"]
    num_live: int
    histories: bool

    @property
    def added(self) -> Bool[np.ndarray, " n"]:
        """Titles that the release lacks."""
        lacking: np.ndarray = self.live_row == OOV
        return lacking

    @property
    def num_removed(self) -> int:
        """Titles of the release that the tables lack."""
        return self.num_live - int((~self.added).sum())

    def counts(self) -> dict[str, int | bool]:
        """In numbers, for a summary: described_only are titles whose vectors are as they were."""
        return {
            "num_added": int(self.added.sum()),
            "num_changed": int(self.changed.sum()),
            "num_removed": self.num_removed,
            "num_described_only": int((self.described & ~self.changed).sum()),
            "histories_changed": self.histories,
        }


def changes_of(
    folder: Path,
    towers: TwoTower,
    dataset: Dataset,
    catalogue: Catalogue | None = None,
    store_keys: StoreKeys | None = None,
) -> Changes:
    """What tables say that a release, in a folder that was verified, does not. Raises as `stored_table`.

    catalogue: that of the release, where it was read before.
    """
    live = catalogue or Catalogue(read_titles(folder))
    live_row = live.vocabulary.rows(dataset.catalogue.ids)
    common = np.flatnonzero(live_row != OOV)
    before, now = live.table, dataset.items
    is_as_it_stands = np.array_equal(live_row[common], np.arange(before.num_rows))
    of_before = None if is_as_it_stands else pa.array(live_row[common])
    of_now = None if len(common) == now.num_rows else pa.array(common)

    def differ(name: str) -> Bool[np.ndarray, " n"]:
        first, second = before[name], now[name]
        return differing(
            first if of_before is None else first.take(of_before),
            second if of_now is None else second.take(of_now),
        )

    read = _columns_read(towers)
    changed, described = np.zeros(len(live_row), bool), np.zeros(len(live_row), bool)
    with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="columns") as several:
        for name, differs in zip(before.column_names, several.map(differ, before.column_names), strict=True):
            described[common[differs]] = True
            if name in read:
                changed[common[differs]] = True
    columns = towers.encoder.profile_columns
    histories = _histories_differ(folder, dataset, columns, store_keys)
    return Changes(live_row, changed, described, len(live), histories)


def _columns_read(towers: TwoTower) -> set[str]:
    """The columns of items that the item tower reads, beside the id."""
    columns = {feature.column for feature in towers.encoder.items.features}
    attributes = {"attributes"} if any(column.startswith(ATTRIBUTE) for column in columns) else set()
    return (columns | attributes) - {ID_COLUMN}


def _histories_differ(
    folder: Path, dataset: Dataset, columns: tuple[str, ...], store_keys: StoreKeys | None
) -> bool:
    before, now = stored_table(folder / PROFILES_FILE, store_keys), profiles_table(dataset, columns)
    if before.num_rows != now.num_rows or before.column_names != now.column_names:
        return True
    return any(bool(differing(before[name], now[name]).any()) for name in now.column_names)
