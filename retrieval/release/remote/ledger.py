"""What stands in a remote and which release is current: a log of numbered states, one object each.

    log/000000000042.json    the whole state after the 42nd change; the highest number is the one that holds

A change reads the newest state and creates the next number, which fails where another was first: of two that
began from one state one wins, and the other looks again. A reader finds the old state or the new one, and
nothing is ever written over. So no store needs more than the one write of `Objects.create`, and no clock is
asked.

Old states are removed, oldest first. A writer that slept so long that the number it wants was removed would
create it without hindrance; so it looks afterwards whether the state that it began from stands, which went
before that number did, and takes its own back where not. That every change may look so, the first state of
all is an empty one, which changes nothing whoever writes it, and when.
"""

import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from retrieval.release.manifest import is_release_id
from retrieval.release.remote.objects import FILES, Objects
from towers.errors import ConflictError, IntegrityError, ReleaseError

log = logging.getLogger(__name__)

LOG = "log"
FORMAT_VERSION = 1
KEPT_STATES = 100
"""How many of the newest stay; each takes a place in the listing that a reader asks for."""

_TRIES = 50
_ENTRY = re.compile(rf"{LOG}/([0-9]{{12}})\.json")
_FOLDER = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Held:
    """A release that stands in a remote.

    manifest: SHA-256 of its manifest. folders: in which push's folder each of its files lies, by the file's
    SHA-256, the manifest among them. was_current: whether it ever was.
    """

    manifest: str
    folders: Mapping[str, str]
    was_current: bool = False

    def keys(self) -> dict[str, str]:
        """The key of each of its files, by the file's SHA-256."""
        return {sha256: key_of(folder, sha256) for sha256, folder in self.folders.items()}


@dataclass(frozen=True, slots=True)
class State:
    """What stands in a remote.

    releases: by id. current: None before the first. pins: ids that `prune` leaves. cleared: folders of pushes
    that did not end and may not any more, as their files are being removed.
    """

    releases: Mapping[str, Held] = field(default_factory=dict)
    current: str | None = None
    pins: frozenset[str] = frozenset()
    cleared: frozenset[str] = frozenset()

    def ids(self) -> list[str]:
        """Its releases, oldest first."""
        return sorted(self.releases, key=lambda id_: int(id_[1:]))


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of a log: its number (0: there is none), its bytes, and the state that it holds."""

    number: int
    content: bytes
    state: State


class OvertakenError(ConflictError):
    """Another changed the remote first; what it did stands."""


def key_of(folder: str, sha256: str) -> str:
    """Where a file lies that was pushed into this folder."""
    return f"{FILES}/{folder}/{sha256}"


def head(objects: Objects) -> Head:
    """The newest state, an empty one where nothing was pushed yet.

    Raises IntegrityError where it is not as it was written.
    """
    for _ in range(_TRIES):
        numbers = _numbers(objects)
        if not numbers:
            return Head(0, b"", State())
        content = objects.read(_key(numbers[-1]))
        if content is not None:  # else so many changes were made meanwhile that it was removed
            return Head(numbers[-1], content, _parse(content, numbers[-1], objects.where))
    raise ReleaseError(
        f"{objects.where}: lists states that it does not hold; expected a store that lists what is"
    )


def commit(objects: Objects, before: Head, state: State) -> None:
    """Makes `state` the one after `before`, which stands in the log.

    Raises OvertakenError where another was first; nothing is changed then.
    """
    overtaken = OvertakenError(f"{objects.where}: another changed it first; begin again from what stands now")
    number = before.number + 1
    try:
        objects.create(_key(number), _bytes(state, number))
    except FileExistsError:
        raise overtaken from None
    if objects.read(_key(before.number)) != before.content:
        objects.remove(_key(number))
        raise overtaken


def change(objects: Objects, changed: Callable[[State], State]) -> State:
    """Makes what `changed` makes of the newest state the next one, and gives it.

    changed: called again with a newer state where another was first; what it raises ends the change. Where
    it gives back the state that it was given, nothing is written.
    """
    for _ in range(_TRIES):
        before = head(objects)
        state = changed(before.state)
        if state == before.state:
            return state
        if before.number == 0:
            with suppress(FileExistsError):
                objects.create(_key(1), _bytes(State(), 1))
            continue
        try:
            commit(objects, before, state)
        except OvertakenError:
            continue
        _trim(objects)
        return state
    raise ConflictError(f"{objects.where}: others change it all the time; expected a turn in {_TRIES} tries")


def _numbers(objects: Objects) -> list[int]:
    return sorted(int(found[1]) for key in objects.sizes(LOG) if (found := _ENTRY.fullmatch(key)))


def _trim(objects: Objects) -> None:
    """Removes old states, oldest first; what goes wrong must not undo the change that was made."""
    try:
        for number in _numbers(objects)[:-KEPT_STATES]:
            objects.remove(_key(number))
    except (ReleaseError, OSError) as error:
        log.warning("old states stay for the next change error=%s", error)


def _key(number: int) -> str:
    return f"{LOG}/{number:012d}.json"


def _bytes(state: State, number: int) -> bytes:
    document = {
        "format_version": FORMAT_VERSION,
        "number": number,
        "writer": secrets.token_hex(8),  # no two writers write the same: see Objects.create
        "current": state.current,
        "pins": sorted(state.pins),
        "cleared": sorted(state.cleared),
        "releases": {
            id_: {"manifest": held.manifest, "was_current": held.was_current, "files": dict(held.folders)}
            for id_, held in state.releases.items()
        },
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _parse(content: bytes, number: int, where: str) -> State:
    where = f"{where}/{_key(number)}"
    try:
        document = json.loads(content)
        version = document["format_version"]
        if version != FORMAT_VERSION:
            raise ReleaseError(
                f"{where}: format_version is {version!r}; this version of the project reads "
                f"{FORMAT_VERSION}; upgrade it"
            )
        releases = {id_: _held(held) for id_, held in document["releases"].items()}
        current, pins, cleared = (document[name] for name in ("current", "pins", "cleared"))
        ids = [*releases, *pins, *([] if current is None else [current])]
        is_whole = document["number"] == number and all(id_ in releases for id_ in ids)
        if not is_whole or not all(map(is_release_id, ids)) or not all(map(_FOLDER.fullmatch, cleared)):
            raise ValueError("not a state of this number")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{where}: {error!r}; expected a state as it was written") from error
    return State(releases, current, frozenset(pins), frozenset(cleared))


def _held(document: Any) -> Held:
    manifest, folders = document["manifest"], dict(document["files"])
    if (
        not all(map(_SHA256.fullmatch, (manifest, *folders)))
        or not all(map(_FOLDER.fullmatch, folders.values()))
        or manifest not in folders
    ):
        raise ValueError("names files that no push could have")
    return Held(manifest, folders, document["was_current"] is True)
