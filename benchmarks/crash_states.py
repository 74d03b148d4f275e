"""What may lie on a disk after the power failed at some moment of a job, by a model of what a sync promises.

The job's calls are watched (`syscalls`); before each one the tree is looked at, so that what changed since is
the effect of the call before, whatever it was. The model, stricter than the file systems in use:

- a file's content is on disk once the file was synced since; until then it is as it was synced last, or
  empty, as it was at any moment since, cut in half, or zeros of its length;
- a name that was made, replaced or taken away is on disk once its folder was synced since; until then each
  such change is or is not, in any combination, whatever their order was, with the content or without;
- one rename is whole or not at all, also between two folders, and a sync of either of them holds it: as
  journals have it (ext4, XFS, Btrfs);
- what was synced stays. A disk that lies about a sync is no part of it.

Source of the method: Pillai et al., All File Systems Are Not Created Equal, OSDI 2014.
"""

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from pathlib import Path

from benchmarks.syscalls import Call, Ended, run

_SYNCS = ("fsync", "fdatasync")
_MOST_SUBSETS = 64
"""Up to so many combinations of names are all gone through; of more, the extreme ones, and some drawn."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names that changed at once: (number of the folder, name) to the number of what it names, or to None."""

    named: Mapping[tuple[int, str], int | None]


@dataclass(frozen=True, slots=True)
class Content:
    """A file's new content."""

    number: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Sync:
    """A file or folder that was synced."""

    number: int
    path: str


Step = Names | Content | Sync


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a job did to a tree: the folder's number, what was on disk before, and one step after another."""

    top: int
    before: "Disk"
    steps: tuple[Step, ...]
    ended: Ended


@dataclass(slots=True)
class Disk:
    """Files by number, and names: {folder: {name: number}}."""

    files: dict[int, bytes] = field(default_factory=dict)
    folders: dict[int, dict[str, int]] = field(default_factory=dict)

    def copy(self) -> "Disk":
        """Its own folders; the contents of files are shared."""
        return Disk(dict(self.files), {number: dict(names) for number, names in self.folders.items()})

    def name(self, change: Names) -> None:
        """Lets names be as they were changed."""
        for (folder, name), number in change.named.items():
            names = self.folders.setdefault(folder, {})
            if number is None:
                names.pop(name, None)
            else:
                names[name] = number

    def paths(self, top: int) -> Iterator[tuple[str, bytes | None]]:
        """All that a reader finds below a folder: a path and content, None of a folder."""
        for name, number in sorted(self.folders.get(top, {}).items()):
            if number in self.folders:
                yield name, None
                yield from ((f"{name}/{below}", content) for below, content in self.paths(number))
            else:
                yield name, self.files.get(number, b"")


def recorded(job: Callable[[], object], folder: Path) -> Recorded:
    """What a job does below a folder that exists, all of which is taken to be on disk before."""
    watching = _Watching(folder)
    try:
        before = watching.last.copy()
        ended = run(job, watching.look)
        watching.look(None)
        for number in watching.folders:
            before.folders.setdefault(number, {})  # a folder is one, whatever of it is on disk
        return Recorded(watching.top, before, tuple(watching.steps), ended)
    finally:
        watching.close()


def crash_states(
    done: Recorded, *, seed: int = 0, lost: Sequence[int] = ()
) -> Iterator[tuple[int, dict[str, bytes | None]]]:
    """Every tree that the power may leave, once each, and after how many steps it may at first.

    lost: places of steps that are syncs and do nothing, to see what each one is there for.
    """
    drawn = random.Random(seed)
    seen: set[int] = set()
    disk, names, versions = done.before.copy(), list[Names](), dict[int, list[bytes]]()
    for place, step in enumerate((Names({}), *done.steps)):
        match step:
            case Names():
                names.append(step)
                for number in step.named.values():
                    if number is not None and number not in disk.folders:
                        disk.files.setdefault(number, b"")
            case Content(number, content):
                versions.setdefault(number, [disk.files.get(number, b"")]).append(content)
            case Sync() if place - 1 in lost:
                continue
            case Sync(number):
                if number in versions:
                    disk.files[number] = versions.pop(number)[-1]
                held = [change for change in names if any(folder == number for folder, _ in change.named)]
                for change in held:
                    disk.name(change)
                names = [change for change in names if change not in held]
        for kept in _subsets(names, drawn):
            for files in _contents(versions, drawn):
                state = disk.copy()
                state.files |= files
                for change in kept:
                    state.name(change)
                tree = dict(state.paths(done.top))
                key = hash(tuple(tree.items()))
                if key not in seen:
                    seen.add(key)
                    yield place, tree


def lay_out(tree: Mapping[str, bytes | None], folder: Path) -> None:
    """Puts a tree into an empty folder."""
    for path, content in tree.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


def _subsets(names: Sequence[Names], drawn: random.Random) -> Iterator[Sequence[Names]]:
    if 2 ** len(names) <= _MOST_SUBSETS:
        yield from chain.from_iterable(combinations(names, num) for num in range(len(names) + 1))
        return
    for place in range(len(names) + 1):
        yield names[:place]
        yield names[place:]
        yield [change for other, change in enumerate(names) if other != place]
        yield names[place : place + 1]
    for _ in range(_MOST_SUBSETS):
        yield [change for change in names if drawn.random() < 0.5]


def _contents(versions: Mapping[int, Sequence[bytes]], drawn: random.Random) -> Iterator[dict[int, bytes]]:
    """Files that were not synced, all of one fate, and drawn."""
    if not versions:
        yield {}
        return
    fates = {number: (*known, *_damaged(known[-1])) for number, known in versions.items()}
    for fate in (0, -1, -2, -3):
        yield {number: known[fate] for number, known in fates.items()}
    for _ in range(2):
        yield {number: drawn.choice(known) for number, known in fates.items()}


def _damaged(content: bytes) -> tuple[bytes, bytes, bytes]:
    return content[: len(content) // 2], bytes(len(content)), content


class _Watching:
    """Looks at a tree again and again, and takes down what changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, int] = {}
        self._synced: Sync | None = None
        self.top = folder.stat().st_ino
        self.steps: list[Step] = []
        self.folders: set[int] = set()
        self.last = self._disk()

    def look(self, call: Call | None) -> int:
        """Before a call; None after the last one."""
        if call is not None and not call.is_below(self._folder):
            return 0
        self._compare()
        if call is not None and call.name in _SYNCS:
            number = os.stat(f"/proc/{call.pid}/fd/{call.descriptor}").st_ino  # noqa: PTH116
            self._synced = Sync(number, call.paths[0].removeprefix(f"{self._folder}/"))
        return 0

    def close(self) -> None:
        """Lets go of all files."""
        for descriptor in self._held.values():
            os.close(descriptor)

    def _compare(self) -> None:
        now = self._disk()
        named: dict[tuple[int, str], int | None] = {}
        for folder in {*now.folders, *self.last.folders}:
            old, new = self.last.folders.get(folder, {}), now.folders.get(folder, {})
            for name in {*old, *new}:
                if old.get(name) != new.get(name):
                    named[folder, name] = new.get(name)
        if named:
            self.steps.append(Names(named))
        self.steps += [
            Content(number, content)
            for number, content in now.files.items()
            if content != self.last.files.get(number, b"")
        ]
        if self._synced is not None:
            self.steps.append(self._synced)
            self._synced = None
        self.last = now

    def _disk(self) -> Disk:
        disk = Disk()
        waiting = [self._folder]
        while waiting:
            folder = waiting.pop()
            names = disk.folders.setdefault(self._number(folder), {})
            self.folders.add(self._number(folder))
            for path in sorted(folder.iterdir()):
                names[path.name] = number = self._number(path)
                if path.is_dir():
                    waiting.append(path)
                else:
                    disk.files[number] = path.read_bytes()
        return disk

    def _number(self, path: Path) -> int:
        number = path.stat().st_ino
        if number not in self._held:
            # As long as it is open, no other file is given its number.
            self._held[number] = os.open(path, os.O_RDONLY)
        return number
