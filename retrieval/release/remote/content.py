"""What a remote holds of one release: its manifest, and files that are those it names."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from retrieval.release.manifest import MANIFEST_FILE, Manifest, parse_manifest
from retrieval.release.remote.ledger import Held, State
from retrieval.release.remote.objects import Objects
from towers.errors import IntegrityError, ReleaseError


@dataclass(frozen=True, slots=True)
class Remote:
    """A release in a remote, whose manifest is the one that the state names: its bytes, and what it says."""

    held: Held
    content: bytes
    manifest: Manifest


class GoneError(IntegrityError):
    """An object that a state names is not there, any more where that state is an older one."""


def held_of(objects: Objects, state: State, release_id: str | None) -> tuple[str, Held]:
    """A release of a state by its id, the current one where None; ReleaseError where there is none."""
    wanted = release_id or state.current
    if wanted is None:
        raise ReleaseError(f"{objects.where}: nothing was pushed yet; run scripts/releases.py action=push")
    if wanted not in state.releases:
        known = ", ".join(state.ids()) or "none"
        raise ReleaseError(f"{objects.where}: no release {wanted!r}; there are {known}")
    return wanted, state.releases[wanted]


def read_remote(objects: Objects, release_id: str, held: Held) -> Remote:
    """The release as it is described there, nothing of it parsed before its hash is what the state names.

    Raises IntegrityError where it is not, and GoneError where the manifest is not there.
    """
    key = held.keys()[held.manifest]
    where = f"{objects.where}/{key}"
    content = objects.read(key)
    if content is None:
        raise GoneError(f"{where}: is missing; expected the manifest of {release_id}")
    found = hashlib.sha256(content).hexdigest()
    if found != held.manifest:
        raise IntegrityError(f"{where}: SHA-256 is {found}; the state expects {held.manifest}")
    manifest = parse_manifest(content, where)
    if manifest.release_id != release_id:
        raise IntegrityError(
            f"{where}: {MANIFEST_FILE} has release_id {manifest.release_id!r}; expected {release_id!r}"
        )
    for name, entry in manifest.files.items():
        if entry.sha256 not in held.folders:
            raise IntegrityError(f"{where}: names {name}; the state does not say where it lies")
    return Remote(held, content, manifest)


def check_stored(objects: Objects, remote: Remote, sizes: Mapping[str, int], hashed: set[str] | None) -> None:
    """IntegrityError naming the first file that is missing, cut or changed.

    sizes: what lies there. hashed: keys whose content was found right before, and is not read again; those of
    this release join them. None looks at sizes alone.
    """
    keys = remote.held.keys()
    for name, entry in remote.manifest.files.items():
        key = keys[entry.sha256]
        where = f"{objects.where}/{key} ({name} of {remote.manifest.release_id})"
        if key not in sizes:
            raise IntegrityError(f"{where}: is missing; expected every file of a release")
        if sizes[key] != entry.size_bytes:
            raise IntegrityError(f"{where}: has {sizes[key]} bytes; the manifest expects {entry.size_bytes}")
        if hashed is not None and key not in hashed:
            found = _sha256(objects.blocks(key))
            if found != entry.sha256:
                raise IntegrityError(f"{where}: SHA-256 is {found}; the manifest expects {entry.sha256}")
            hashed.add(key)


def _sha256(blocks: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for block in blocks:
        whole.update(block)
    return whole.hexdigest()
