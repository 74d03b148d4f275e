"""The titles of the live release by ids, and by digests that tell what is as it was."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from retrieval.catalogue import Catalogue
from retrieval.release.digests import digests, key_of, read_digests
from retrieval.release.store import ReleaseInfo
from retrieval.release.titles import ITEMS_FILE, LINES_FILE, Lines, read_built, read_lines, read_titles
from towers.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class LiveTitles:
    """Titles by the rows of a release.

    catalogue: their ids; what else is said of them is read when somebody asks. key: that of the digests.
    built: uint64 (N, 2), of the rows of ITEMS_FILE as they are there. is_kept: whether the release itself has
    these. digest: uint64 (R, 2), of all rows.
    """

    catalogue: Catalogue
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
    return LiveTitles(catalogue, key, built, kept is not None, digest)


def with_lines(built: UInt64[np.ndarray, "N 2"], lines: Lines, key: bytes) -> UInt64[np.ndarray, "R 2"]:
    """The digests of all rows, of which lines stand for those of a build or after them."""
    num_rows = max(len(built), *(lines.row[-1:] + 1).tolist(), 0)
    whole = np.zeros((num_rows, 2), np.uint64)
    whole[: len(built)] = built
    whole[lines.row] = digests(lines.items, key)
    return whole
