"""Releases on disk: published whole or not at all, verified before they are read.

    root/
      CURRENT             the id of the release to serve
      r000001/ …          releases: their files, manifest.json and manifest.sha256
      .lock               held by the one publisher
      .aside-r000002/     a release being written; .aside-CURRENT, the pointer to it

A release is written aside, synced, renamed to its id, and becomes current by the atomic replacement of
CURRENT: a reader sees the old release or the new one. What a killed publisher leaves has a name that no
reader looks at, except a renamed release that CURRENT never came to name; .aside-CURRENT, written before
the rename, says which one that is. The next publish removes all of it. Going back to a release that stands
replaces CURRENT alone, by way of .aside-BACK.
"""

import fcntl
import hashlib
import logging
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from retrieval.release.manifest import (
    HASH_FILE,
    MANIFEST_FILE,
    Description,
    Manifest,
    is_release_id,
    manifest_bytes,
)
from retrieval.release.verify import Verify, entry_of, verified
from towers.errors import DISK_FULL, IntegrityError, ReleaseError, TowersError
from towers.folders import sync

log = logging.getLogger(__name__)

CURRENT_FILE = "CURRENT"
_LOCK_FILE = ".lock"
_ASIDE = ".aside-"
_ASIDE_CURRENT = f"{_ASIDE}{CURRENT_FILE}"
_ASIDE_BACK = f"{_ASIDE}BACK"
_MADE_BY = ("two-tower-retrieval", "torch", "faiss-cpu", "numpy", "pyarrow", "safetensors")


@dataclass(frozen=True, slots=True)
class ReleaseInfo:
    """A release whose every file is the one its manifest names: where it lies, and what it says of itself."""

    folder: Path
    manifest: Manifest

    @property
    def release_id(self) -> str:
        """Its id."""
        return self.manifest.release_id


def publish(root: Path, write: Callable[[Path], Description]) -> ReleaseInfo:
    """The new current release of `root`, whose files `write` puts into the folder that it is given.

    `write` runs while no other can publish; whatever it raises stops the publish. Raises ReleaseError
    where another process is publishing, and from the OSError where the disk fails. A publish that stops
    leaves nothing behind and CURRENT as it was; only where the very last sync fails is the new release
    current already.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with single_writer(root):
            _remove_leftovers(root)
            parent = current(root)
            release_id = _next_id(root, parent)
            try:
                info = _publish(root, release_id, parent, write)
            except BaseException:
                if current(root) != release_id:
                    _remove_leftovers(root)
                raise
    except OSError as error:
        if isinstance(error, TowersError):
            raise
        is_full = error.errno in DISK_FULL
        advice = "free the disk and publish again" if is_full else "publish again when that is mended"
        raise ReleaseError(f"{root}: the publish failed: {error}; {advice}") from error
    size_bytes = sum(entry.size_bytes for entry in info.manifest.files.values())
    log.info("release published id=%s parent=%s size_bytes=%d", release_id, parent, size_bytes)
    return info


def current(root: Path) -> str | None:
    """The id of the release to serve; None where nothing was published yet.

    Raises IntegrityError where CURRENT does not hold a release id.
    """
    path = root / CURRENT_FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    release_id = content.decode("ascii", errors="replace").removesuffix("\n")
    if not is_release_id(release_id):
        raise IntegrityError(f"{path}: holds {release_id[:40]!r}; expected a release id such as r000001")
    return release_id


def open_release(path: Path, verify: Verify = Verify.FULL) -> ReleaseInfo:
    """The verified current release of a root, or the verified release that lies in this folder.

    No file is handed to a parser before its SHA-256 is what the manifest names, as far as `verify` looks, and
    the manifest's own is what manifest.sha256 names. Raises ReleaseError where there is no release, and
    IntegrityError naming the first file that is missing, surplus, changed or not a plain file.
    """
    if path.exists() and not path.is_dir():
        raise ReleaseError(f"{path}: is a file; expected a folder of releases or one release")
    if (path / MANIFEST_FILE).exists() or (path / HASH_FILE).exists():
        return ReleaseInfo(path, verified(path, verify))
    release_id = current(path)
    if release_id is None:
        raise ReleaseError(
            f"{path}: no {CURRENT_FILE} and no {MANIFEST_FILE}; expected a folder of releases or one "
            "release; run scripts/build_index.py to publish one"
        )
    return release_of(path, release_id, verify)


def release_of(root: Path, release_id: str, verify: Verify = Verify.FULL) -> ReleaseInfo:
    """The verified release of this id; see `open_release`."""
    info = ReleaseInfo(root / release_id, verified(root / release_id, verify))
    if info.release_id != release_id:
        raise IntegrityError(
            f"{info.folder / MANIFEST_FILE}: release_id is {info.release_id!r}; expected {release_id!r}"
        )
    return info


def release_ids(root: Path) -> list[str]:
    """The ids of the releases that stand under a root, oldest first, whole or damaged; not read."""
    found = [path.name for path in root.iterdir() if is_release_id(path.name)] if root.is_dir() else []
    return sorted(found, key=lambda id_: int(id_[1:]))


def make_current(root: Path, release_id: str) -> None:
    """Lets CURRENT name a release that stands, atomically; the caller holds the lock and has verified it."""
    pointer = root / _ASIDE_BACK
    pointer.write_text(f"{release_id}\n")
    sync(pointer)
    pointer.replace(root / CURRENT_FILE)
    sync(root)


def remove(root: Path, release_id: str) -> None:
    """Removes a release; the caller holds the lock. Killed in between, the next publish goes on with it."""
    aside = root / f"{_ASIDE}{release_id}"
    (root / release_id).rename(aside)
    sync(root)
    shutil.rmtree(aside)


def _publish(
    root: Path, release_id: str, parent: str | None, write: Callable[[Path], Description]
) -> ReleaseInfo:
    aside = root / f"{_ASIDE}{release_id}"
    aside.mkdir()
    description = write(aside)
    manifest = Manifest(
        release_id=release_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        parent=parent,
        files={path.name: entry_of(path) for path in sorted(aside.iterdir())},
        description=description,
        created_by=_made_by(),
    )
    content = manifest_bytes(manifest)
    (aside / MANIFEST_FILE).write_bytes(content)
    (aside / HASH_FILE).write_text(f"{hashlib.sha256(content).hexdigest()}  {MANIFEST_FILE}\n")
    for path in aside.iterdir():
        sync(path)
    sync(aside)

    pointer = root / _ASIDE_CURRENT
    pointer.write_text(f"{release_id}\n")
    sync(pointer)
    sync(root)
    folder = root / release_id
    aside.rename(folder)
    sync(root)  # the release must be on disk before the pointer to it is
    pointer.replace(root / CURRENT_FILE)
    sync(root)
    return ReleaseInfo(folder, manifest)


def _remove_leftovers(root: Path) -> None:
    """Removes what a publish that did not end left; the caller holds the lock."""
    pointer = root / _ASIDE_CURRENT
    if pointer.exists():
        # Without its line end it was cut short, before anything was renamed, and may name another release.
        never_current, line_end, _ = pointer.read_text(errors="replace").partition("\n")
        unserved = line_end and is_release_id(never_current) and never_current != current(root)
        if unserved and (root / never_current).exists():
            shutil.rmtree(root / never_current)
    for path in sorted(root.glob(f"{_ASIDE}r*")):
        shutil.rmtree(path)
        log.info("leftover of an unfinished publish removed name=%s", path.name)
    pointer.unlink(missing_ok=True)
    (root / _ASIDE_BACK).unlink(missing_ok=True)


def _next_id(root: Path, parent: str | None) -> str:
    ids = [*release_ids(root), *([parent] if parent else [])]
    newest = max((int(id_[1:]) for id_ in ids), default=0)
    return f"r{newest + 1:06d}"


@contextmanager
def single_writer(root: Path) -> Iterator[None]:
    """Holds the lock of `root`; the kernel frees it when the process ends, however it ends.

    Raises ReleaseError where another process holds it, or took it under a file of the same name.
    """
    with (root / _LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReleaseError(
                f"{root}: another process is publishing here (it holds {lock.name}); try again "
                "when it is done"
            ) from error
        # Who removes the lock file lets another process hold one of the same name.
        if not _is_still(root / _LOCK_FILE, lock.fileno()):
            raise ReleaseError(f"{root}: {lock.name} was replaced while it was taken; publish again")
        yield


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _made_by() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _MADE_BY:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # run from a source tree that is not installed, or another build of FAISS
    return versions
