"""A published release → a remote: content first, then one change of the state that makes it stand."""

import hashlib
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from retrieval.release.manifest import MANIFEST_FILE
from retrieval.release.remote.ledger import Held, State, change, head, key_of
from retrieval.release.remote.objects import FILES, Objects, require_exclusive
from retrieval.release.store import current, release_of
from retrieval.release.verify import Verify
from towers.errors import ConflictError, ReleaseError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Transfer:
    """What went from one place to another. is_current: whether the release is current where it went.

    num_bytes: how much of its files was sent; shared_bytes: how much was there before.
    """

    release_id: str
    is_current: bool
    num_bytes: int
    shared_bytes: int


def push(
    root: Path, objects: Objects, release_id: str | None = None, *, only_over: str | None = None
) -> Transfer:
    """Lets a release of a root stand in a remote too; what is current here becomes current there.

    release_id: the current one where None; another stands there beside the current one, as a candidate.
    only_over: the id that must be current there, as of `publish`. The release is verified first. Its files
    are uploaded into a folder of this push alone, but those that another release there has; then it is named
    by one change of the state. Killed before, a reader sees nothing of it. Where it stands there as it is to
    stand, nothing is done.

    Raises ConflictError, and changes nothing, where another release became current there meanwhile, where
    another of the same id or a newer one stands there, and where this one was current and gone back from;
    IntegrityError where it is not whole; ReleaseError where the store fails.
    """
    pushed = _Push.begun(root, objects, release_id, only_over)
    state = pushed.from_state
    if not pushed.is_done(state):
        release_of(root, pushed.release_id)  # every byte of it, before any is sent
        require_exclusive(objects)
        state = change(objects, pushed.after)
    sent = sum(pushed.sent.values())
    transfer = Transfer(
        pushed.release_id, state.current == pushed.release_id, sent, sum(pushed.sizes.values()) - sent
    )
    log.info(
        "release pushed id=%s to=%s current=%s sent_bytes=%d of_bytes=%d",
        transfer.release_id,
        objects.where,
        state.current,
        sent,
        sum(pushed.sizes.values()),
    )
    return transfer


def push_missing(root: Path, objects: Objects) -> None:
    """Pushes the current release of a root where it was not current there yet; see `push`.

    One that was gone back from there is left as it is: for a scheduler, which is told of no release twice.
    """
    begun = _Push.begun(root, objects, None, None)
    held = begun.from_state.releases.get(begun.release_id)
    if held is None or held.manifest != begun.manifest or not held.was_current:
        push(root, objects)


@dataclass(frozen=True, slots=True)
class _Push:
    """One push: the release, its files by SHA-256 with the manifest among them, and what was sent of them.

    folder: of this push alone. from_state: what it began from. sizes: in bytes, of all files; sent: of those
    that were sent.
    """

    objects: Objects
    release_id: str
    manifest: str
    paths: Mapping[str, Path]
    sizes: Mapping[str, int]
    folder: str
    from_state: State
    becomes_current: bool
    only_over: str | None
    sent: dict[str, int]

    @classmethod
    def begun(cls, root: Path, objects: Objects, release_id: str | None, only_over: str | None) -> "_Push":
        here = current(root)
        wanted = release_id or here
        if wanted is None:
            raise ReleaseError(f"{root}: nothing was published yet; run scripts/build_index.py")
        info = release_of(root, wanted, Verify.TRUSTED)
        manifest = info.folder / MANIFEST_FILE
        sha256 = hashlib.sha256(manifest.read_bytes()).hexdigest()
        paths = {entry.sha256: info.folder / name for name, entry in info.manifest.files.items()}
        paths[sha256] = manifest
        return cls(
            objects=objects,
            release_id=wanted,
            manifest=sha256,
            paths=paths,
            sizes={one: path.stat().st_size for one, path in paths.items()},
            folder=secrets.token_hex(8),
            from_state=head(objects).state,
            becomes_current=wanted == here,
            only_over=only_over,
            sent={},
        )

    def is_done(self, state: State) -> bool:
        """Whether the release stands as it is to stand."""
        held = state.releases.get(self.release_id)
        stands = held is not None and held.manifest == self.manifest
        return stands and (not self.becomes_current or state.current == self.release_id)

    def after(self, state: State) -> State:
        """The state with the release, once its files are there."""
        if self.is_done(state):
            return state
        self._check(state)
        held = state.releases.get(self.release_id)
        folders = self._folders(state) if held is None else held.folders
        current_id = self.release_id if self.becomes_current else state.current
        stands = Held(self.manifest, folders, was_current=self.becomes_current)
        return replace(state, releases={**state.releases, self.release_id: stands}, current=current_id)

    def _check(self, state: State) -> None:
        """Raises ConflictError where the release may not stand, or not become current."""
        where, held = self.objects.where, state.releases.get(self.release_id)
        anew = "pull, build again from what is current there, and push that"
        if held is not None and held.manifest != self.manifest:
            raise ConflictError(f"{where}: another {self.release_id} stands there; expected a new id: {anew}")
        if held is not None and held.was_current:
            raise ConflictError(
                f"{where}: {self.release_id} was current there and gone back from, to {state.current}; "
                f"expected another release, or action=promote release={self.release_id}"
            )
        expected = self.only_over or self.from_state.current
        if (self.becomes_current or self.only_over) and state.current != expected:
            raise ConflictError(f"{where}: {state.current} is current there; expected {expected}: {anew}")
        newest = state.ids()[-1] if state.releases else None
        if held is None and newest is not None and int(newest[1:]) > int(self.release_id[1:]):
            raise ConflictError(
                f"{where}: {newest} stands there; expected a newer id than {self.release_id}: {anew}"
            )

    def _folders(self, state: State) -> dict[str, str]:
        """Where each file lies, after what no release of the state has was sent.

        What one of them has stays there as long as the state does: who removes files changes it first.
        """
        lies = self.objects.sizes(FILES)
        folders = {
            sha256: folder
            for held in state.releases.values()
            for sha256, folder in held.folders.items()
            if sha256 in self.sizes and lies.get(key_of(folder, sha256)) == self.sizes[sha256]
        }
        for sha256, path in self.paths.items():
            if sha256 not in folders and sha256 not in self.sent:
                self.objects.put(key_of(self.folder, sha256), path)
                self.sent[sha256] = self.sizes[sha256]
        self._require_sent(state)
        return {sha256: folders.get(sha256, self.folder) for sha256 in self.paths}

    def _require_sent(self, state: State) -> None:
        """Raises ConflictError where what was sent was cleared away, ReleaseError where less lies there."""
        lies = self.objects.sizes(f"{FILES}/{self.folder}")
        for sha256, size_bytes in self.sent.items():
            key = key_of(self.folder, sha256)
            if key not in lies or self.folder in state.cleared:
                raise ConflictError(
                    f"{self.objects.where}: the files of {self.release_id} were cleared away while it was "
                    "pushed, as of a push that had ended; push again"
                )
            if lies[key] != size_bytes:
                raise ReleaseError(
                    f"{self.objects.where}/{key}: has {lies[key]} bytes of {size_bytes} that were sent; push "
                    "again"
                )
