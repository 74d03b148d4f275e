"""Releases without the forgotten: the current one published anew, older ones removed in time."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.forget.receipt import Place
from retrieval.lists import LISTS_FILE, RankedLists, countries_of, load_lists
from retrieval.profile_store import store_table, stored_table
from retrieval.release.files import PROFILES_FILE
from retrieval.release.manifest import AnswerKind, Description
from retrieval.release.read import read_parts
from retrieval.release.store import (
    ReleaseInfo,
    current,
    publish,
    release_ids,
    release_of,
)
from retrieval.release.writer import single_writer
from towers.data.privacy.forgotten import Forgotten
from towers.data.privacy.sealed import StoreKeys
from towers.errors import ReleaseError

log = logging.getLogger(__name__)


def erase_from_releases(
    root: Path,
    forgotten: Forgotten,
    days: float,
    now: datetime,
    store_keys: StoreKeys | None = None,
) -> list[Place]:
    """Publishes the current release anew if it holds a forgotten profile, and removes older ones in time.

    A release is never changed: what is current is followed by one that is the same but for the profile, and
    so is found and opened as any other. The one before it, and all others that hold the profile, are removed
    `days` after they were asked to, pinned or not; before, they are told with that moment. One that cannot be
    read, as one that is sealed under a key that is no longer there, may hold it. Killed in between, it can be
    called again. Raises ReleaseError as `publish` does, StoreKeyError among them where the current one is
    sealed under a key that was not given.
    """
    places = []
    serving = current(root)
    if serving is not None and _since(root / serving, forgotten, store_keys) is not None:
        info, num_rows = republish(root, forgotten, store_keys)
        places.append(Place(f"{root.name}/{info.release_id}", f"published in place of {serving}", num_rows))
    with single_writer(root) as writer:
        for release_id in release_ids(root):
            since = _since(root / release_id, forgotten, store_keys)
            if since is None or release_id == current(root):
                continue
            due = since + timedelta(days=days)
            where = f"{root.name}/{release_id}"
            if now >= due:
                writer.remove(release_id)
                log.info("release removed id=%s because=it holds a forgotten profile", release_id)
                places.append(Place(where, "removed"))
            else:
                places.append(Place(where, "to be removed", due=due.isoformat()))
    return places


def republish(
    root: Path, forgotten: Forgotten, store_keys: StoreKeys | None = None
) -> tuple[ReleaseInfo, dict[str, int]]:
    """The current release once more without the forgotten, and how many profiles and events that took out.

    It was verified in full, and is opened as it lies before it becomes current. Its gates are those that the
    release before it passed: item vectors, index and encoder are the same files.
    """
    num_rows: dict[str, int] = {}

    def write(folder: Path) -> Description:
        info = release_of(root, current(root) or "")
        about = info.manifest.description
        for name in info.manifest.files:
            if name not in (PROFILES_FILE, LISTS_FILE):
                shutil.copyfile(info.folder / name, folder / name)
        whole = stored_table(info.folder / PROFILES_FILE, store_keys)
        gone = forgotten.places(whole["profile_id"].to_pylist())
        kept = np.delete(np.arange(whole.num_rows), gone)
        left = whole.take(pa.array(kept))
        store_table(left, folder / PROFILES_FILE, store_keys)
        num_events = _num_events(whole) - _num_events(left)
        num_rows.update(profiles=len(gone), events=num_events)
        about = replace(about, num_profiles=left.num_rows, num_events=about.num_events - num_events)
        if about.kind is AnswerKind.LISTS:
            _lists_of(load_lists(info.folder), whole, left, kept).save(folder)
            fingerprint = hashlib.sha256((folder / LISTS_FILE).read_bytes()).hexdigest()
            about = replace(about, model_fingerprint=fingerprint)
        read_parts(folder, folder.name, about, store_keys)
        return about

    return publish(root, write), num_rows


def _since(folder: Path, forgotten: Forgotten, store_keys: StoreKeys | None) -> datetime | None:
    """When the first was forgotten of the profiles that a release holds; None where it holds none of them."""
    if not forgotten:
        return None
    try:
        ids: Sequence[str] = stored_table(folder / PROFILES_FILE, store_keys, ["profile_id"])[0].to_pylist()
    except (pa.ArrowException, OSError, KeyError, ReleaseError):
        return min(forgotten.tokens.values())
    moments = [moment for id_ in ids if (moment := forgotten.since(id_)) is not None]
    return min(moments, default=None)


def _num_events(profiles: pa.Table) -> int:
    return int(pc.sum(pc.list_value_length(profiles["item_id"])).as_py() or 0)


def _lists_of(lists: RankedLists, whole: pa.Table, left: pa.Table, kept: np.ndarray) -> RankedLists:
    """The lists of the profiles that are left, of the countries that they are of, and of all titles."""
    countries = countries_of(np.array(whole["country"].to_pylist(), np.str_))
    of_left = countries_of(np.array(left["country"].to_pylist(), np.str_))
    first_title = whole.num_rows + len(countries)
    rows = np.concatenate(
        [
            kept,
            whole.num_rows + np.flatnonzero(np.isin(countries, of_left)),
            np.arange(first_title, len(lists.item_row)),
        ]
    )
    return RankedLists(lists.item_row[rows], lists.score[rows], lists.num_events)
