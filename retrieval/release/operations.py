"""What an operator does with the releases of a root: look, pin, go back, and clear away."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from retrieval.release.manifest import Manifest, is_release_id
from retrieval.release.store import current, release_ids, release_of
from retrieval.release.verify import Verify
from retrieval.release.writer import CURRENT_FILE, Writer, single_writer
from towers.errors import ConflictError, IntegrityError, ReleaseError, TowersError

log = logging.getLogger(__name__)

PINS_FILE = "PINS"
"""Ids of releases that are never cleared away, a JSON list."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A release under a root.

    manifest: None where it cannot be read; then `fault` says why.
    """

    release_id: str
    is_current: bool
    is_pinned: bool
    manifest: Manifest | None
    fault: str | None = None


def standing(root: Path, verify: Verify = Verify.TRUSTED) -> tuple[Standing, ...]:
    """Every release of a root, oldest first, the damaged ones among them, looked into as `verify` says.

    Raises ReleaseError where nothing was published yet.
    """
    if not release_ids(root):
        _current(root)
    now, pinned = current(root), pins(root)
    found = []
    for release_id in release_ids(root):
        manifest, fault = None, None
        try:
            manifest = release_of(root, release_id, verify).manifest
        except (ReleaseError, OSError) as error:
            fault = str(error)
        found.append(Standing(release_id, release_id == now, release_id in pinned, manifest, fault))
    return tuple(found)


def roll_back(
    root: Path, to: str | None = None, verify: Verify = Verify.FULL, *, only_over: str | None = None
) -> str:
    """Makes an earlier release current, verified first, and gives its id.

    to: its id; where None, the parent of the current one. The release left stays where it is, and the next
    publish takes an id above all. only_over: the id that must be current still; any where None. Raises
    ConflictError where another is, or another process is publishing, ReleaseError where there is nothing to
    go back to, and IntegrityError where the release is not whole; CURRENT is then as it was.
    """
    with _changing(root) as writer:
        now = _current(root)
        if only_over not in (None, now):
            raise ConflictError(f"{root}: {now} is current; expected {only_over}, which was to be replaced")
        target = to or release_of(root, now, Verify.TRUSTED).manifest.parent
        if target is None:
            raise ReleaseError(f"{root}: {now} is the first release; there is none to go back to")
        _require(root, target)
        release_of(root, target, verify)
        writer.replace(CURRENT_FILE, f"{target}\n")
    log.info("release made current id=%s instead_of=%s", target, now)
    return target


def promote(
    root: Path, release_id: str, verify: Verify = Verify.FULL, *, only_over: str | None = None
) -> str:
    """Makes a release that was published as a candidate current; see `roll_back`, which does the same."""
    return roll_back(root, release_id, verify, only_over=only_over)


def pins(root: Path) -> frozenset[str]:
    """The releases that `prune` leaves; IntegrityError where PINS holds anything but release ids."""
    path = root / PINS_FILE
    if not path.is_file():
        return frozenset()
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IntegrityError(f"{path}: {error}; expected a JSON list of release ids") from error
    if not isinstance(read, list) or not all(isinstance(one, str) and is_release_id(one) for one in read):
        raise IntegrityError(f"{path}: holds {str(read)[:80]}; expected a list of release ids")
    return frozenset(read)


def pin(root: Path, release_id: str) -> None:
    """Keeps a release from being cleared away."""
    _repin(root, release_id, lambda held: held | {release_id})


def unpin(root: Path, release_id: str) -> None:
    """Lets a release be cleared away again; nothing where it was not pinned."""
    _repin(root, release_id, lambda held: held - {release_id})


def prunable(root: Path, keep: int) -> tuple[str, ...]:
    """What `prune` would remove."""
    if keep < 1:
        raise ReleaseError(f"keep = {keep}: expected 1 or more of the newest releases to stay")
    kept = {*release_ids(root)[-keep:], *pins(root), current(root)}
    return tuple(release_id for release_id in release_ids(root) if release_id not in kept)


def prune(root: Path, keep: int) -> tuple[str, ...]:
    """Removes all releases but the current one, those that are pinned and the newest `keep`; gives their ids.

    Who has one of them open answers on from memory. Killed in between, the rest is there for another call.
    """
    with _changing(root) as writer:
        removed = prunable(root, keep)
        num_kept = len(release_ids(root)) - len(removed)
        for release_id in removed:
            writer.remove(release_id)
    log.info("releases removed num=%d kept=%d", len(removed), num_kept)
    return removed


def _repin(root: Path, release_id: str, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
    with _changing(root) as writer:
        _require(root, release_id)
        # Pins of releases that are gone say nothing any more.
        held = change(pins(root)) & set(release_ids(root))
        writer.replace(PINS_FILE, json.dumps(sorted(held)) + "\n")


def _require(root: Path, release_id: str) -> None:
    if release_id not in release_ids(root):
        known = ", ".join(release_ids(root)) or "none"
        raise ReleaseError(f"{root}: no release {release_id!r}; there are {known}")


def _current(root: Path) -> str:
    now = current(root)
    if now is None:
        raise ReleaseError(f"{root}: nothing was published yet; run scripts/build_index.py")
    return now


@contextmanager
def _changing(root: Path) -> Iterator[Writer]:
    """One change at a time; an OSError is told as what it stopped."""
    try:
        _current(root)
        with single_writer(root) as writer:
            yield writer
    except OSError as error:
        if isinstance(error, TowersError):
            raise
        raise ReleaseError(f"{root}: the change failed: {error}; what is current stays so") from error
