"""A remote's release → a local root: what it lacks is fetched, verified, and published as a whole."""

import hashlib
import logging
from pathlib import Path

from retrieval.release.linked import link
from retrieval.release.manifest import HASH_FILE, MANIFEST_FILE, FileEntry, Manifest
from retrieval.release.operations import roll_back
from retrieval.release.remote.content import GoneError, Remote, held_of, read_remote
from retrieval.release.remote.ledger import Held, head
from retrieval.release.remote.objects import Objects
from retrieval.release.remote.push import Transfer
from retrieval.release.store import adopt, current, release_ids, release_of
from retrieval.release.verify import Verify
from towers.errors import ConflictError, IntegrityError, ReleaseError

log = logging.getLogger(__name__)


def pull(objects: Objects, root: Path, release_id: str | None = None) -> Transfer:
    """Lets a release of a remote stand in a root too; what is current there becomes current here.

    release_id: the current one where None; another stands here beside the current one, as a candidate. Files
    that a release here has are linked, not fetched. Nothing lands under the root before every file has the
    hash that the manifest names, and the manifest that of the state. Who reads the root sees the old release
    or the new one; where it is there and current already, nothing is done and nobody is locked out.

    Raises ReleaseError where there is none or the store fails, IntegrityError naming the file that is
    missing, cut or changed, and ConflictError where another release of this id stands here, or another
    process publishes here.
    """
    while True:
        state = head(objects).state
        wanted, held = held_of(objects, state, release_id)
        is_current = wanted == state.current
        if wanted in release_ids(root):
            _require_same(root / wanted, held)
            if is_current and current(root) != wanted:
                roll_back(root, wanted)
            return Transfer(
                wanted, is_current, 0, _size_bytes(release_of(root, wanted, Verify.TRUSTED).manifest)
            )
        try:
            fetched = _Fetched(objects, root, read_remote(objects, wanted, held))
            manifest = adopt(root, wanted, fetched.write, becomes_current=is_current).manifest
        except GoneError:
            # One that was cleared away while it was fetched left the state before its files went.
            if held_of(objects, head(objects).state, release_id) == (wanted, held):
                raise
            continue
        num_bytes, size_bytes = fetched.num_bytes, _size_bytes(manifest)
        log.info(
            "release pulled id=%s from=%s fetched_bytes=%d of_bytes=%d",
            wanted,
            objects.where,
            num_bytes,
            size_bytes,
        )
        return Transfer(wanted, is_current, num_bytes, size_bytes - num_bytes)


class _Fetched:
    """Puts the files of a remote release into a folder, those that a release here has by a link."""

    def __init__(self, objects: Objects, root: Path, remote: Remote) -> None:
        self._objects, self._root, self._remote = objects, root, remote
        self.num_bytes = 0

    def write(self, folder: Path) -> None:
        """Raises IntegrityError where one is not what it should be, GoneError where it is not there."""
        known, keys = _known(self._root), self._remote.held.keys()
        for name, entry in self._remote.manifest.files.items():
            path = folder / name
            if entry.sha256 in known:
                link(known[entry.sha256], path)
                if _differs(path, entry) is None:
                    continue
                path.unlink()  # damaged here: the other one stays as it is
            self._get(keys[entry.sha256], path, entry)
            known[entry.sha256] = path
        (folder / MANIFEST_FILE).write_bytes(self._remote.content)
        (folder / HASH_FILE).write_text(f"{self._remote.held.manifest}  {MANIFEST_FILE}\n")

    def _get(self, key: str, path: Path, entry: FileEntry) -> None:
        where = f"{self._objects.where}/{key} ({path.name} of {self._remote.manifest.release_id})"
        try:
            self._objects.get(key, path)
        except FileNotFoundError:
            raise GoneError(f"{where}: is missing; expected every file of a release") from None
        if fault := _differs(path, entry):
            raise IntegrityError(f"{where}: {fault}")
        self.num_bytes += entry.size_bytes


def _known(root: Path) -> dict[str, Path]:
    """The files of the releases here, by SHA-256 as their manifests name it."""
    known: dict[str, Path] = {}
    for release_id in release_ids(root):
        try:
            manifest = release_of(root, release_id, Verify.TRUSTED).manifest
        except (ReleaseError, OSError):  # damaged: it has nothing to give
            continue
        known |= {entry.sha256: root / release_id / name for name, entry in manifest.files.items()}
    return known


def _differs(path: Path, entry: FileEntry) -> str | None:
    """What is wrong with a file, where something is."""
    size_bytes = path.stat().st_size
    if size_bytes != entry.size_bytes:
        return f"has {size_bytes} bytes; the manifest expects {entry.size_bytes}"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return None if found == entry.sha256 else f"SHA-256 is {found}; the manifest expects {entry.sha256}"


def _require_same(folder: Path, held: Held) -> None:
    path = folder / MANIFEST_FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != held.manifest:
        raise ConflictError(
            f"{path}: is not that of the remote's {folder.name}; expected a root that holds what was pulled, "
            "or what was pushed from it: pull into another folder"
        )


def _size_bytes(manifest: Manifest) -> int:
    return sum(entry.size_bytes for entry in manifest.files.values())
