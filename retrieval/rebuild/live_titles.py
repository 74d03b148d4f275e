"""The titles of the live release by ids, and by digests that tell what is as it was."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64, UInt64

from retrieval.catalogue import Catalogue
from retrieval.id_table import IdTable
from retrieval.release.digests import digests, key_of, read_digests
from retrieval.release.store import ReleaseInfo, current, open_release
from retrieval.release.titles import ITEMS_FILE, LINES_FILE, Lines, read_built, read_lines, read_titles
from retrieval.release.verify import Verify, verified_file
from towers.data.title_groups import SameRows
from towers.data.titles import Titles
from towers.data.vocabulary import OOV
from towers.errors import IntegrityError, ReleaseError


@dataclass(frozen=True, slots=True)
class LiveTitles:
    """Titles by the rows of a release.

    release_id: by which samples of them are drawn, so that others are in each release. catalogue: their ids;
    what else is said of them is read when somebody asks. ids: what finds their rows. key: that of the
    digests. built: uint64 (N, 2), of the rows of ITEMS_FILE as they are there. is_kept: whether the release
    itself has these. digest: uint64 (R, 2), of all rows.
    """

    release_id: str
    catalogue: Catalogue
    ids: IdTable
    key: bytes
    built: UInt64[np.ndarray, "N 2"]
    is_kept: bool
    digest: UInt64[np.ndarray, "R 2"]


def live_titles(live: ReleaseInfo) -> LiveTitles:
    """Those of a release that was verified.

    Of one that was built before there were digests they are taken of its table, which is read for it. Raises
    ReleaseError where its files hold something else, IntegrityError where they do not fit each other.
    """
    folder, files = live.folder, live.manifest.files
    key = key_of(files[ITEMS_FILE].sha256)
    catalogue = Catalogue.of_ids(read_titles(folder, ["item_id"])["item_id"], lambda: read_titles(folder))
    kept = read_digests(folder)
    built = digests(read_built(folder), key) if kept is None else kept
    digest = with_lines(built, read_lines(folder), key) if LINES_FILE in files else built
    if len(digest) != catalogue.num_rows:
        raise IntegrityError(
            f"{folder}: {catalogue.num_rows} titles and digests of {len(digest)}; expected one of each"
        )
    return LiveTitles(live.release_id, catalogue, catalogue.id_table(), key, built, kept is not None, digest)


def built_items(root: Path) -> Path | None:
    """The titles of the build that is live, whose bytes were hashed.

    None where nothing is published, and where it is damaged, which whoever opens it will say.
    """
    if current(root) is None:
        return None
    try:
        live = open_release(root, Verify.TRUSTED)
        return verified_file(live.folder, live.manifest, ITEMS_FILE)
    except ReleaseError:
        return None


def rows_beside(live: LiveTitles, titles: Titles, same: Sequence[SameRows]) -> Int64[np.ndarray, " n"]:
    """The row that the live release has each newer title in, OOV where it has not.

    Where the newer file has rows of the build as they are, the title of a row is still the one that the build
    has there, if the row has any. Raises SchemaError where a newer title stands twice.
    """
    is_named = np.zeros(live.catalogue.num_rows, bool)
    is_named[live.catalogue.rows] = True
    row = np.full(len(titles), OOV)
    for rows in same:
        built = np.arange(rows.older, rows.older + rows.num)
        row[rows.newer : rows.newer + rows.num] = np.where(is_named[built], built, OOV)
    rest = np.flatnonzero(row == OOV)
    ids = titles.ids.take(pa.array(rest)) if len(rest) < len(row) else titles.ids
    row[rest] = live.ids.rows_of(ids.cast(pa.large_string()).combine_chunks())
    # Of ids that the release has, none stands twice there: so less is to be looked at than all of them.
    is_new = row == OOV
    new = titles.ids.filter(pa.array(is_new))
    if np.bincount(row[~is_new]).max(initial=0) > 1 or len(pc.unique(new)) < len(new):
        titles.require_unique_ids()
    return row


def digests_beside(live: LiveTitles, titles: Titles, same: Sequence[SameRows]) -> UInt64[np.ndarray, "n 2"]:
    """The digests of newer titles, of which some rows say the same as the build's: theirs are known."""
    parts, done = [], 0
    for rows in (*same, SameRows(len(live.built), len(titles), 0)):
        parts.append(digests(titles.slice(done, rows.newer - done), live.key))
        parts.append(live.built[rows.older : rows.older + rows.num])
        done = rows.newer + rows.num
    return np.concatenate(parts)


def with_lines(built: UInt64[np.ndarray, "N 2"], lines: Lines, key: bytes) -> UInt64[np.ndarray, "R 2"]:
    """The digests of all rows, of which lines stand for those of a build or after them."""
    num_rows = max(len(built), *(lines.row[-1:] + 1).tolist(), 0)
    whole = np.zeros((num_rows, 2), np.uint64)
    whole[: len(built)] = built
    whole[lines.row] = digests(lines.items, key)
    return whole
