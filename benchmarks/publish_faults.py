"""Claim `publish-faults`: whatever fails under a publish, a reader finds the old release or the new one.

- faults: each call of the kernel that a publish makes on its files is failed in turn, once alone and once
  with all that come after it, by the errors that it may have (full disk, broken disk, no descriptors left);
  so are those of going back and clearing away. The calls are stopped at the kernel (`syscalls`), so that none
  is missed; a publish is one of files copied, and one that makes its files as scripts/build_index.py does,
  whose calls that change anything are failed.
- losses: every tree that a power failure may leave after any call of these, by the model of `crash_states`.

A case is as it should be where the release that is current is whole by its hashes, and the one before or the
new one; where the job ended well or with an error of ours (ReleaseError and those below it); and where the
next publish succeeds and leaves nothing but releases that are whole.
"""

import errno
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.crash_states import crash_states, lay_out, recorded
from benchmarks.measurement import Measurement
from benchmarks.release_making import build, variants
from benchmarks.release_world import Variant, memory
from benchmarks.stages import ROOT
from benchmarks.syscalls import Call, Ended, preload, run
from retrieval.release.operations import prune, roll_back, standing
from retrieval.release.store import open_release, publish
from retrieval.release.verify import Verify
from towers.errors import ReleaseError

_DISK, _NO_ROOM = (errno.EIO,), (errno.ENOSPC, errno.EIO)
_ERRORS = {
    **dict.fromkeys(("open", "openat", "creat"), (errno.ENOSPC, errno.EMFILE, errno.EIO, errno.EACCES)),
    **dict.fromkeys(("mkdir", "mkdirat", "write", "pwrite64", "writev", "sendfile"), _NO_ROOM),
    **dict.fromkeys(("copy_file_range", "ftruncate", "fallocate", "fsync", "fdatasync"), _NO_ROOM),
    **dict.fromkeys(("rename", "renameat", "renameat2", "link", "linkat"), _NO_ROOM),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), _DISK),
    "flock": (errno.ENOLCK,),
}
"""What a call may fail with; all others with EIO."""
_CHANGES = frozenset(_ERRORS)
_PRELOADED = ("benchmarks.release_making", "benchmarks.release_world", "retrieval.release.operations")


@dataclass(frozen=True, slots=True)
class Job:
    """A change of a root, as it is watched.

    job: of the root. is_slow: only the calls that change anything are failed, each once and alone.
    """

    name: str
    job: Callable[[Path], object]
    is_slow: bool = False


@dataclass(slots=True)
class Found:
    """Cases, and those that were not as they should be, by what was wrong; how the jobs ended."""

    num_cases: int = 0
    faults: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)

    def add(self, case: str, faults: Sequence[str], ended: str) -> None:
        """Counts one case."""
        self.num_cases += 1
        self.ended[ended] += 1
        if faults:
            self.faults.append(f"{case}: {'; '.join(faults)}")

    @property
    def share(self) -> float:
        """Of the cases, those that were as they should be."""
        return 1 - len(self.faults) / self.num_cases


def measure() -> Measurement:
    """The share of cases, faults and losses together, that are as they should be."""
    known = variants(ROOT / ".bench" / "releases", 2)
    found = {"faults": Found(), "losses": Found()}
    with TemporaryDirectory(dir=memory()) as folder:
        for job in jobs(known):
            injected(job, known, Path(folder), found["faults"])
            if not job.is_slow:  # its changes are those of the one that copies
                lost(job, known, Path(folder), found["losses"])
    num = sum(each.num_cases for each in found.values())
    num_wrong = sum(len(each.faults) for each in found.values())
    return Measurement(
        figures={"old_or_new_share": 1 - num_wrong / num},
        data=f"{num:,} cases over small real releases: towers, index, titles and profiles in eight files",
        seeds=(0,),
        details={
            name: {"cases": each.num_cases, "ended": dict(each.ended), "wrong": each.faults[:20]}
            for name, each in found.items()
        },
    )


def jobs(known: Sequence[Variant]) -> tuple[Job, ...]:
    """What is failed: publishing by copy and by making, going back, clearing away."""
    made = known[1].folder.parent.parent
    return (
        Job("publish", partial(publish, write=known[1].write)),
        Job("build", partial(build, made), is_slow=True),
        Job("roll back", roll_back),
        Job("prune", partial(prune, keep=1)),
    )


def injected(job: Job, known: Sequence[Variant], folder: Path, found: Found, every: int = 1) -> None:
    """Fails each call of a job in turn, or every so many-th."""
    preload(*_PRELOADED)
    calls = _calls(job, known, folder)
    for place in range(0, len(calls), every):
        errors = _ERRORS.get(calls[place].name, _DISK)
        ways = [(errors[0], False)] if job.is_slow else product(errors, (False, True))
        for error, lasting in ways:
            with _begun(known, folder) as root:
                ended = run(partial(job.job, root), _failing(job, root, place, error, lasting))
                faults = [*_typed(ended), *_wrong(root, known)]
            lasts = " from then on" if lasting else ""
            case = f"{job.name}: {calls[place].name} {place} fails by {errno.errorcode[error]}{lasts}"
            found.add(case, faults, ended.error[0] if ended.error else "well")


def lost(job: Job, known: Sequence[Variant], folder: Path, found: Found, every: int = 1) -> None:
    """Goes through what a power failure may leave of a job, or every so many-th of it."""
    preload(*_PRELOADED)
    with _begun(known, folder) as root:
        done = recorded(partial(job.job, root), root.parent)
    for place, tree in islice(crash_states(done), 0, None, every):
        with TemporaryDirectory(dir=folder) as left:
            lay_out(tree, Path(left))
            faults = list(_wrong(Path(left, "releases"), known))
        found.add(f"{job.name}: power lost after {place} steps", faults, "power lost")


@contextmanager
def _begun(known: Sequence[Variant], folder: Path) -> Iterator[Path]:
    """A fresh root as a job finds it: two releases of the older variant, the second of them current."""
    made = folder / "made"
    if not made.is_dir():
        for _ in range(2):
            publish(made, known[0].write)
    with TemporaryDirectory(dir=folder) as begun:
        yield Path(shutil.copytree(made, Path(begun, "releases")))


def _calls(job: Job, known: Sequence[Variant], folder: Path) -> list[Call]:
    """The calls of a job on its root that may be failed, as it makes them when all goes well."""
    seen: list[Call] = []

    def see(call: Call) -> int:
        if _is_meant(job, call, root):
            seen.append(call)
        return 0

    with _begun(known, folder) as root:
        run(partial(job.job, root), see)
    return seen


def _failing(job: Job, root: Path, place: int, error: int, lasting: bool) -> Callable[[Call], int]:
    counted = iter(range(1 << 30))

    def decide(call: Call) -> int:
        if not _is_meant(job, call, root):
            return 0
        now = next(counted)
        may = error in _ERRORS.get(call.name, _DISK)
        return error if now == place or (lasting and now > place and may) else 0

    return decide


def _is_meant(job: Job, call: Call, root: Path) -> bool:
    return call.is_below(root) and (not job.is_slow or call.name in _CHANGES)


def _typed(ended: Ended) -> list[str]:
    if ended.killed or (ended.error and ReleaseError.__name__ not in ended.error):
        return [f"ended by {ended.error[:1] or 'a kill'}: {ended.message}"]
    return []


def _wrong(root: Path, known: Sequence[Variant]) -> Iterator[str]:
    """What a reader, and then the next writer, find wrong under a root."""
    try:
        info = open_release(root)
    except ReleaseError as error:
        yield f"unreadable: {error}"
        return
    expected = {known[0].number: ("r000001", "r000002"), known[1].number: ("r000003",)}
    if info.release_id not in expected.get(info.manifest.description.context["variant"], ()):
        yield f"{info.release_id} is of variant {info.manifest.description.context['variant']}"
    try:
        following = publish(root, known[1].write)
    except ReleaseError as error:
        yield f"the next publish failed: {error}"
        return
    if open_release(root).release_id != following.release_id:
        yield "the next publish did not become current"
    left = [path.name for path in root.iterdir() if path.name.startswith(".aside")]
    damaged = [one.fault for one in standing(root, Verify.FULL) if one.fault]
    if left or damaged:
        yield f"left behind: {left}, {damaged}"
