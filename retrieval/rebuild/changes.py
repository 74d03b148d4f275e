"""What has changed between the release that is live and newer tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from retrieval.profile_store import stored_table
from retrieval.profiles import profiles_table
from retrieval.rebuild.live_titles import LiveTitles, digests_beside, rows_beside
from retrieval.rebuild.same import differing
from retrieval.release.files import PROFILES_FILE
from retrieval.release.store import ReleaseInfo
from retrieval.release.titles import read_titles
from towers.data.dataset import Dataset
from towers.data.features import ATTRIBUTE, ID_COLUMN
from towers.data.privacy.sealed import StoreKeys
from towers.data.rows import taken
from towers.data.schema import ITEMS
from towers.data.title_groups import SameRows
from towers.data.vocabulary import OOV
from towers.nets.two_tower import TwoTower


@dataclass(frozen=True, slots=True)
class Changes:
    """What newer tables say beside a release, title by title in the order of the tables.

    live_row: int64 (n,), the row that the release has the title in, OOV where it is new. changed: bool (n,),
    titles that the release has, of which the item tower is now told something else. described: bool (n,),
    titles of which anything at all is said otherwise. histories: whether profiles, or what they watched, are
    not those of the release. digest: uint64 (n, 2), of the titles of the tables. titles: of the release.
    """

    live_row: Int64[np.ndarray, " n"]
    changed: Bool[np.ndarray, " n"]
    described: Bool[np.ndarray, " n"]
    histories: bool
    digest: UInt64[np.ndarray, "n 2"]
    titles: LiveTitles

    @property
    def added(self) -> Bool[np.ndarray, " n"]:
        """Titles that the release lacks."""
        lacking: np.ndarray = self.live_row == OOV
        return lacking

    @property
    def num_live(self) -> int:
        """Titles of the release."""
        return len(self.titles.catalogue)

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
    live: ReleaseInfo,
    towers: TwoTower,
    dataset: Dataset,
    titles: LiveTitles,
    same: Sequence[SameRows],
    store_keys: StoreKeys | None = None,
) -> Changes:
    """What tables say that a release, which was verified, does not. Raises as `stored_table`.

    titles: those of the release. same: rows of its build that stand in the tables as they are.
    """
    live_row = rows_beside(titles, dataset.titles, same)
    digest = digests_beside(titles, dataset.titles, same)
    common = np.flatnonzero(live_row != OOV)
    described, changed = np.zeros(len(live_row), bool), np.zeros(len(live_row), bool)
    described[common] = (titles.digest[live_row[common]] != digest[common]).any(axis=1)
    place = np.flatnonzero(described)
    if len(place):
        columns = sorted(_columns_read(towers) & set(ITEMS.names))
        before = taken(read_titles(live.folder, columns), live_row[place])
        newer = dataset.titles.some(place).select(columns)
        for name in columns:
            changed[place] |= differing(before[name], newer[name])
    about, now = live.manifest.description, (len(dataset.profiles), dataset.history.num_events)
    # Of other numbers they are others; where nothing new was watched they are looked at one by one.
    histories = (about.num_profiles, about.num_events) != now or _histories_differ(
        live.folder, dataset, towers.encoder.profile_columns, store_keys
    )
    return Changes(live_row, changed, described, histories, digest, titles)


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
