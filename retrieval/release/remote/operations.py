"""What an operator does with the releases of a remote: look, pin, go back, and clear away."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from retrieval.release.manifest import Manifest
from retrieval.release.operations import Standing
from retrieval.release.remote.content import check_stored, held_of, read_remote
from retrieval.release.remote.ledger import State, change, head
from retrieval.release.remote.objects import FILES, Objects, require_exclusive
from towers.errors import ConflictError, ReleaseError

log = logging.getLogger(__name__)


def standing(objects: Objects, *, full: bool = False) -> tuple[Standing, ...]:
    """Every release of a remote, oldest first, the damaged ones among them.

    Names and sizes are looked at; full: every file is read and hashed too, each once. Raises ReleaseError
    where nothing was pushed yet.
    """
    state = head(objects).state
    held_of(objects, state, None)
    sizes = objects.sizes(FILES)
    hashed: set[str] | None = set() if full else None
    found = []
    for release_id in state.ids():
        manifest, fault = None, None
        try:
            remote = read_remote(objects, release_id, state.releases[release_id])
            check_stored(objects, remote, sizes, hashed)
            manifest = remote.manifest
        except (ReleaseError, OSError) as error:
            fault = str(error)
        now, pinned = release_id == state.current, release_id in state.pins
        found.append(Standing(release_id, now, pinned, manifest, fault))
    return tuple(found)


def manifest_of(objects: Objects, release_id: str | None = None) -> Manifest:
    """What a release says of itself, the current one where no id is given."""
    wanted, held = held_of(objects, head(objects).state, release_id)
    return read_remote(objects, wanted, held).manifest


def roll_back(objects: Objects, to: str | None = None) -> str:
    """Makes an earlier release current, and gives its id.

    to: its id; where None, the parent of the current one. Names and sizes of its files are checked, their
    content by who pulls. Raises ReleaseError where there is nothing to go back to, ConflictError where
    another became current meanwhile, IntegrityError where it is not whole.
    """
    require_exclusive(objects)
    begun, held = held_of(objects, head(objects).state, None)
    target = to or read_remote(objects, begun, held).manifest.parent
    if target is None:
        raise ReleaseError(f"{objects.where}: {begun} is the first release; there is none to go back to")

    def went_back(state: State) -> State:
        if state.current != begun:
            raise ConflictError(
                f"{objects.where}: {state.current} became current meanwhile; expected {begun}"
            )
        _, held = held_of(objects, state, target)
        check_stored(objects, read_remote(objects, target, held), objects.sizes(FILES), None)
        releases = {**state.releases, target: replace(held, was_current=True)}
        return replace(state, releases=releases, current=target)

    change(objects, went_back)
    log.info("release made current id=%s instead_of=%s in=%s", target, begun, objects.where)
    return target


def promote(objects: Objects, release_id: str) -> str:
    """Makes a release that was pushed as a candidate current; see `roll_back`, which does the same."""
    return roll_back(objects, release_id)


def pin(objects: Objects, release_id: str) -> None:
    """Keeps a release from being cleared away."""
    _repin(objects, release_id, is_pinned=True)


def unpin(objects: Objects, release_id: str) -> None:
    """Lets a release be cleared away again; nothing where it was not pinned."""
    _repin(objects, release_id, is_pinned=False)


def prunable(objects: Objects, keep: int) -> tuple[str, ...]:
    """What `prune` would remove."""
    return _prunable(objects, head(objects).state, keep)


def prune(objects: Objects, keep: int, grace_hours: float = 24.0) -> tuple[str, ...]:
    """Removes all releases but the current one, those that are pinned and the newest `keep`; gives their ids.

    First they leave the state, then what no release has is removed; killed in between, the rest goes with
    another call. Files of pushes that did not end go too, once the newest is `grace_hours` old: a push that
    is that slow, and comes back, is told so and changes nothing.
    """
    require_exclusive(objects)
    removed: tuple[str, ...] = ()
    garbage: list[str] = []

    def pruned(state: State) -> State:
        nonlocal removed, garbage
        removed = _prunable(objects, state, keep)
        left = {id_: held for id_, held in state.releases.items() if id_ not in removed}
        of_folders: dict[str, list[str]] = {}
        for key in objects.sizes(FILES):
            of_folders.setdefault(key.split("/")[1], []).append(key)
        # A push whose folder a release names has ended, and what only those name that go is named no more.
        ended = {folder for held in state.releases.values() for folder in held.folders.values()}
        cleared = {
            folder
            for folder, keys in of_folders.items()
            if folder not in ended and (folder in state.cleared or _is_idle(objects, keys, grace_hours))
        }
        used = {key for held in left.values() for key in held.keys().values()}
        garbage = [key for folder in (ended | cleared) & of_folders.keys() for key in of_folders[folder]]
        garbage = [key for key in garbage if key not in used]
        return replace(state, releases=left, cleared=frozenset(cleared))

    state = change(objects, pruned)
    for key in garbage:
        objects.remove(key)
    log.info("releases removed num=%d kept=%d from=%s", len(removed), len(state.releases), objects.where)
    return removed


def _prunable(objects: Objects, state: State, keep: int) -> tuple[str, ...]:
    if keep < 1:
        raise ReleaseError(f"keep = {keep}: expected 1 or more of the newest releases to stay")
    held_of(objects, state, None)
    kept = {*state.ids()[-keep:], *state.pins, state.current}
    return tuple(release_id for release_id in state.ids() if release_id not in kept)


def _is_idle(objects: Objects, keys: list[str], grace_hours: float) -> bool:
    """Whether nothing was written for so long."""
    since = datetime.now(UTC) - timedelta(hours=grace_hours)
    try:
        return all(objects.modified(key) <= since for key in keys)
    except FileNotFoundError:  # another clears it away
        return False


def _repin(objects: Objects, release_id: str, *, is_pinned: bool) -> None:
    require_exclusive(objects)

    def repinned(state: State) -> State:
        held_of(objects, state, release_id)
        pins = state.pins | {release_id} if is_pinned else state.pins - {release_id}
        return replace(state, pins=pins)

    change(objects, repinned)
