"""Releases on disk: published whole or not at all, verified before they are read.

    root/
      CURRENT             the id of the release to serve
      r000001/ …          releases: their files, manifest.json and manifest.sha256
      .lock               held by the one publisher
      .aside-r000002/     a release being written; .aside-CURRENT, the pointer to it

A release is written aside, synced, renamed to its id, and becomes current by the atomic replacement of
CURRENT: a reader sees the old release or the new one. What a killed publisher leaves has a name that no
reader looks at, except a renamed release that CURRENT never came to name; .aside-CURRENT, written before
the rename, says which one that is. The next publish removes all of it.
"""

import fcntl
import hashlib
import logging
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
    FileEntry,
    Manifest,
    is_release_id,
    manifest_bytes,
    parse_manifest,
)
from towers.errors import DISK_FULL, IntegrityError, ReleaseError, TowersError
from towers.folders import sync

log = logging.getLogger(__name__)

CURRENT_FILE = "CURRENT"
_LOCK_FILE = ".lock"
_ASIDE = ".aside-"
_ASIDE_CURRENT = f"{_ASIDE}{CURRENT_FILE}"
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
        with _single_writer(root):
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
    except FileNotFoundError:
        return None
    release_id = content.decode("ascii", errors="replace").removesuffix("\n")
    if not is_release_id(release_id):
        raise IntegrityError(f"{path}: holds {release_id[:40]!r}; expected a release id such as r000001")
    return release_id


def open_release(path: Path) -> ReleaseInfo:
    """The verified current release of a root, or the verified release that lies in this folder.

    No file is handed to a parser before its SHA-256 is what the manifest names, and the manifest's own is
    what manifest.sha256 names. Raises ReleaseError where there is no release, and IntegrityError naming the
    first file that is missing, surplus, changed or not a plain file.
    """
    if path.exists() and not path.is_dir():
        raise ReleaseError(f"{path}: is a file; expected a folder of releases or one release")
    if (path / MANIFEST_FILE).exists() or (path / HASH_FILE).exists():
        return _verified(path)
    release_id = current(path)
    if release_id is None:
        raise ReleaseError(
            f"{path}: no {CURRENT_FILE} and no {MANIFEST_FILE}; expected a folder of releases or one "
            "release; run scripts/build_index.py to publish one"
        )
    info = _verified(path / release_id)
    if info.release_id != release_id:
        raise IntegrityError(
            f"{info.folder / MANIFEST_FILE}: release_id is {info.release_id!r}; expected {release_id!r}"
        )
    return info


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
        files={path.name: _entry(path) for path in sorted(aside.iterdir())},
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


def _next_id(root: Path, parent: str | None) -> str:
    ids = [path.name for path in root.iterdir() if is_release_id(path.name)]
    newest = max((int(id_[1:]) for id_ in [*ids, *([parent] if parent else [])]), default=0)
    return f"r{newest + 1:06d}"


@contextmanager
def _single_writer(root: Path) -> Iterator[None]:
    """Holds the lock of `root`; the kernel frees it when the process ends, however it ends."""
    with (root / _LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReleaseError(
                f"{root}: another process is publishing here (it holds {lock.name}); try again "
                "when it is done"
            ) from error
        yield


def _verified(folder: Path) -> ReleaseInfo:
    content = _read_plain(folder / MANIFEST_FILE)
    expected = _read_plain(folder / HASH_FILE)
    found = hashlib.sha256(content).hexdigest()
    if expected != f"{found}  {MANIFEST_FILE}\n".encode():
        raise IntegrityError(
            f"{folder / MANIFEST_FILE}: SHA-256 is {found}; {HASH_FILE} expects "
            f"{expected[:64].decode('ascii', errors='replace')!r}"
        )
    manifest = parse_manifest(content, folder / MANIFEST_FILE)
    surplus = {path.name for path in folder.iterdir()} - {*manifest.files, MANIFEST_FILE, HASH_FILE}
    if surplus:
        raise IntegrityError(
            f"{folder / min(surplus)}: not in the manifest; expected only the files it names"
        )
    for name, entry in manifest.files.items():
        _verify(folder / name, entry)
    return ReleaseInfo(folder, manifest)


def _verify(path: Path, expected: FileEntry) -> None:
    found = _entry(path)
    if found.size_bytes != expected.size_bytes:
        raise IntegrityError(
            f"{path}: has {found.size_bytes} bytes; the manifest expects {expected.size_bytes}"
        )
    if found.sha256 != expected.sha256:
        raise IntegrityError(f"{path}: SHA-256 is {found.sha256}; the manifest expects {expected.sha256}")


def _entry(path: Path) -> FileEntry:
    _require_plain(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(sha256, file.tell())


def _read_plain(path: Path) -> bytes:
    _require_plain(path)
    return path.read_bytes()


def _require_plain(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        found = "is not a plain file" if path.is_symlink() or path.exists() else "is missing"
        raise IntegrityError(f"{path}: {found}; expected every file of a release in its folder")


def _made_by() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _MADE_BY:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # run from a source tree that is not installed, or another build of FAISS
    return versions
