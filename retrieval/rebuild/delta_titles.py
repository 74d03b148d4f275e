"""What is found of the titles of a delta: of what is new in it, and of a sample of the rest.

Every title says what the tables say, which its digest proves. So rules are compiled of the lines that are new
since the build, and of some of the build's as they are read from its file, and not of all over again.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from retrieval.catalogue import Catalogue
from retrieval.eligibility.compile import Eligibility
from retrieval.eligibility.licences import Licences
from retrieval.profiles import ProfileHistories
from retrieval.rebuild.changes import Changes
from retrieval.rebuild.layout import Layout
from retrieval.release.digests import digests
from retrieval.release.eligibility_gates import Shown, eligibility_parity, share_changed
from retrieval.release.title_gates import OfTitles
from retrieval.release.titles import ITEMS_FILE, Lines, drawn_titles, read_drawn, read_titles
from towers.data.dataset import Dataset
from towers.data.rows import taken
from towers.errors import IntegrityError

# Titles of the build whose rules are compiled again.
_NUM_SAMPLED = 4096


def said_licences(live: Path, dataset: Dataset, changes: Changes) -> tuple[Licences, Int64[np.ndarray, " R"]]:
    """The licences of both releases, each once: line by line those of the tables, then the live one's others.

    live: the folder of the live release. With each of its rows comes the line of its title, -1 where it has
    none.
    """
    line = np.full(changes.titles.catalogue.num_rows, -1)
    same = np.flatnonzero(~changes.added & ~changes.described)
    line[changes.live_row[same]] = same
    titles = changes.titles.catalogue.rows
    others = titles[line[titles] < 0]
    line[others] = len(dataset.titles) + np.arange(len(others))
    told = [dataset.titles.licences()]
    if len(others):
        told.append(taken(read_titles(live, ["licences"]), others)["licences"])
    return Licences(*told), line


def of_delta(
    profiles: ProfileHistories,
    live: ProfileHistories | None,
    dataset: Dataset,
    changes: Changes,
    parity: int,
    said: tuple[Licences, Int64[np.ndarray, " R"]],
) -> OfTitles:
    """What is found of the titles of a delta whose digests are those of the tables.

    profiles, live: those of the delta and of the live release, None where that does not open. parity, said:
    as `parity_of_delta` and `said_licences` give them.
    """
    licences, line = said
    shown = Shown(licences, np.arange(len(dataset.titles)), profiles)
    if live is None:
        return OfTitles(parity, shown)
    before = Shown(licences, line[changes.titles.catalogue.rows], live)
    num_common = int((~changes.added).sum())
    # The others say what they said.
    told = np.flatnonzero(changes.described)
    of_told = Shown(licences, line[changes.live_row[told]], live)
    changed = share_changed(Shown(licences, told, profiles), of_told, num_common)
    return OfTitles(parity, shown, num_common / changes.num_live, before, changed)


def parity_of_delta(folder: Path, dataset: Dataset, layout: Layout, changes: Changes, lines: Lines) -> int:
    """`eligibility_parity` of the lines and of some titles of the build, which are held to their digests.

    folder: where the files of the delta lie. lines: of titles, as they are read back. Raises IntegrityError
    where titles of the build are not what their digests are of.
    """
    drawn = drawn_titles(folder, changes.titles.release_id)
    some, row = read_drawn(folder, drawn), drawn.first + np.arange(drawn.num)
    differs = (digests(some, changes.titles.key) != changes.titles.built[row]).any(axis=1)
    if differs.any():
        raise IntegrityError(
            f"{folder / ITEMS_FILE}: {int(differs.sum())} of {len(row)} rows that were looked at, first row "
            f"{row[differs][0]}, are not what their digests are of; expected the titles that were built"
        )
    place = np.full(layout.num_rows, -1)
    place[layout.row] = np.arange(len(layout.row))
    as_built = np.flatnonzero((place[row] >= 0) & ~np.isin(row, lines.row))
    rng = np.random.default_rng([*changes.titles.release_id.encode()])  # others in each release
    as_built = rng.choice(as_built, min(_NUM_SAMPLED, len(as_built)), replace=False)
    told = np.flatnonzero(place[lines.row] >= 0)
    titles = pa.concat_tables([taken(some, as_built), taken(lines.items, told)])
    expected = dataset.titles.some(place[np.concatenate([row[as_built], lines.row[told]])])
    now = int(dataset.history.time_seconds.max(initial=0))
    return eligibility_parity(Eligibility(Catalogue(titles)), expected, now)
