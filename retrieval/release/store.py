"""Releases on disk: published whole or not at all, verified before they are read.

    root/
      CURRENT             the id of the release to serve
      r000001/ …          releases: their files, manifest.json and manifest.sha256
      .lock               held by the one who changes anything here
      .aside-<token>/     its folder: the release being written, and NEXT, the pointer to it

A release is written aside, synced, renamed to its id, and becomes current by the atomic replacement of
CURRENT: a reader sees the old release or the new one. What a killed publisher leaves has a name that no
reader looks at, except a renamed release that CURRENT never came to name; NEXT, written before the rename,
says which one that is. The next writer removes all of it. See `writer` for who may write, and until when.

The order of releases is that of the numbers of their ids, each one above all that stand; no clock is asked.
"""

import hashlib
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from retrieval.release.linked import entries_of
from retrieval.release.manifest import (
    HASH_FILE,
    MANIFEST_FILE,
    Description,
    Manifest,
    is_release_id,
    manifest_bytes,
)
from retrieval.release.verify import Verify, verified
from retrieval.release.writer import CURRENT_FILE, Writer, single_writer
from towers.errors import DISK_FULL, ConflictError, IntegrityError, ReleaseError, TowersError
from towers.folders import sync

log = logging.getLogger(__name__)

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


def publish(
    root: Path,
    write: Callable[[Path], Description],
    *,
    only_over: str | None = None,
    becomes_current: bool = True,
) -> ReleaseInfo:
    """The new current release of `root`, whose files `write` puts into the folder that it is given.

    only_over: the id that must still be current, of what the new release was made from; any where None.
    becomes_current: False lets it stand beside the current one, as a candidate.
    `write` runs while no other can publish; whatever it raises stops the publish. Raises ConflictError where
    another process is publishing, took over meanwhile, or made another release current than `only_over`, and
    ReleaseError from the OSError where the disk fails. A publish that stops leaves nothing behind and CURRENT
    as it was; only where the very last sync fails is the new release current already.
    """
    with _publishing(root) as writer:
        parent = current(root)
        if only_over not in (None, parent):
            raise ConflictError(
                f"{root}: {parent} is current; expected {only_over}, which this release was made from: "
                "begin again from what is current now"
            )
        info = _publish(writer, _next_id(root, parent), parent, write, becomes_current)
    size_bytes = sum(entry.size_bytes for entry in info.manifest.files.values())
    log.info("release published id=%s parent=%s size_bytes=%d", info.release_id, parent, size_bytes)
    return info


def adopt(
    root: Path, release_id: str, write: Callable[[Path], None], *, becomes_current: bool = True
) -> ReleaseInfo:
    """A release that was published elsewhere, which keeps its id; `write` puts all of it into the folder.

    write: its manifest and that one's hash too; it answers for the content of the files, names and sizes are
    checked behind it. Published as `publish` does it, and raises what that does; ConflictError too where a
    release of this id stands, IntegrityError where what was written is not whole.
    """
    with _publishing(root) as writer:
        if release_id in release_ids(root):
            raise ConflictError(f"{root}: a release {release_id} stands; expected an id that is new here")
        aside = writer.folder / release_id
        aside.mkdir()
        write(aside)
        manifest = verified(aside, Verify.TRUSTED)
        if manifest.release_id != release_id:
            raise IntegrityError(f"{aside}: release_id is {manifest.release_id!r}; expected {release_id!r}")
        _put(writer, aside, becomes_current)
    return ReleaseInfo(root / release_id, manifest)


def clear_leftovers(root: Path) -> None:
    """Removes what a publish that did not end left; ConflictError where another process is publishing."""
    if root.is_dir():
        with single_writer(root):
            pass


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
    if release_id is None and is_release_id(path.name) and (known := release_ids(path.parent)):
        raise ReleaseError(f"{path.parent}: no release {path.name!r}; there are {', '.join(known)}")
    if release_id is None:
        raise ReleaseError(
            f"{path}: no {CURRENT_FILE} and no {MANIFEST_FILE}; expected a folder of releases or one "
            "release; run scripts/build_index.py to publish one"
        )
    try:
        return release_of(path, release_id, verify)
    except IntegrityError as error:
        raise IntegrityError(
            f"{error}; the current release is damaged: go back to the one before it "
            "(scripts/releases.py action=roll_back), or publish anew"
        ) from error


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


@contextmanager
def _publishing(root: Path) -> Iterator[Writer]:
    """The one writer of a root, made where there is none; an OSError is told as what it stopped."""
    try:
        _make_folder(root)
        with single_writer(root) as writer:
            yield writer
    except OSError as error:
        if isinstance(error, TowersError):
            raise
        is_full = error.errno in DISK_FULL
        advice = "free the disk and publish again" if is_full else "publish again when that is mended"
        raise ReleaseError(f"{root}: the publish failed: {error}; {advice}") from error


def _publish(
    writer: Writer,
    release_id: str,
    parent: str | None,
    write: Callable[[Path], Description],
    becomes_current: bool,
) -> ReleaseInfo:
    aside = writer.folder / release_id
    aside.mkdir()
    description = write(aside)
    manifest = Manifest(
        release_id=release_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        parent=parent,
        files=entries_of(aside, None if parent is None else writer.root / parent),
        description=description,
        created_by=_made_by(),
    )
    content = manifest_bytes(manifest)
    (aside / MANIFEST_FILE).write_bytes(content)
    (aside / HASH_FILE).write_text(f"{hashlib.sha256(content).hexdigest()}  {MANIFEST_FILE}\n")
    _put(writer, aside, becomes_current)
    return ReleaseInfo(writer.root / release_id, manifest)


def _put(writer: Writer, aside: Path, becomes_current: bool) -> None:
    """Syncs what was written, and lets it stand under the root."""
    for path in aside.iterdir():
        sync(path)
    sync(aside)
    if becomes_current:
        writer.put(aside.name)
    else:
        writer.put_beside(aside.name)


def _make_folder(folder: Path) -> None:
    """Makes a folder and those above it, each one's name on disk."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        sync(path.parent)


def _next_id(root: Path, parent: str | None) -> str:
    ids = [*release_ids(root), *([parent] if parent else [])]
    newest = max((int(id_[1:]) for id_ in ids), default=0)
    return f"r{newest + 1:06d}"


@cache
def _made_by() -> Mapping[str, str]:
    versions = {"python": platform.python_version()}
    for name in _MADE_BY:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # run from a source tree that is not installed, or another build of FAISS
    return versions
