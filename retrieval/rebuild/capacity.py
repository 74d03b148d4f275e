"""What a rebuild takes of disk, memory and time, and whether the machine has it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from retrieval.rebuild.plan import Work
from retrieval.release.files import PROFILES_FILE
from retrieval.release.manifest import FileEntry, Manifest
from retrieval.release.titles import ITEMS_FILE, LINES_FILE
from towers.errors import CapacityError, StorageError

_MEMORY_INFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_MIB = 1 << 20

# Of a release in memory beside its files: texts, ids and licences unpacked, and the process itself.
_UNPACKED, _PROCESS_BYTES = 6.0, 600 * _MIB
# Copies of the vectors: those read, those searched, those gated; a build makes codes and trials besides.
_COPIES_OF_A_DELTA, _COPIES_OF_A_BUILD = 3.0, 5.0
# Beside what is written, so that a disk is never filled to its end.
_SPARE = 1.2
# Seconds where no earlier run tells: to begin with, and for each title, on one core of 2023.
_START_SECONDS, _READ_SECONDS, _EMBED_SECONDS, _BUILD_SECONDS = 5.0, 2e-5, 2e-4, 4e-4


@dataclass(frozen=True, slots=True)
class Needs:
    """Estimates: of time None where nothing tells, as of a training never done here.

    memory_bytes: at its height. disk_bytes: more than lies there now, until older releases are cleared away.
    """

    seconds: float | None
    memory_bytes: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """What estimates rest on: titles after the work and those that are embedded, of how wide vectors.

    num_described: titles that are new, or of which something is said otherwise.
    """

    num_titles: int
    num_embedded: int
    dimension: int
    num_described: int = 0


def needs_of(work: Work, sizes: Sizes, live: Manifest | None, known_seconds: float | None) -> Needs:
    """What the work needs, by the sizes of the live release; nothing where there is nothing to do.

    known_seconds: what the same work took the last time.
    """
    if work is Work.NOTHING:
        return Needs(0.0, 0, 0)
    files = {} if live is None else dict(live.files)
    texts = sum(_size(files, name) for name in (ITEMS_FILE, LINES_FILE, PROFILES_FILE))
    row_bytes = 4 * sizes.dimension
    vectors = sizes.num_titles * row_bytes
    index = sum(entry.size_bytes for name, entry in files.items() if name.startswith("index."))
    if work.keeps_the_index:
        # Titles of the build are linked; a line of the others is taken to be as long as one of these.
        told = min(1.0, sizes.num_described / max(sizes.num_titles, 1))
        written = texts - int((1.0 - told) * _size(files, ITEMS_FILE))
        disk, copies = written + 2 * sizes.num_embedded * row_bytes + 8 * sizes.num_titles, _COPIES_OF_A_DELTA
    else:
        # The vectors twice: for the build, and in the release.
        disk, copies = texts + 2 * vectors + max(index, vectors), _COPIES_OF_A_BUILD
    memory = int(_PROCESS_BYTES + copies * vectors + index + _UNPACKED * texts)
    seconds = _guess(work, sizes) if known_seconds is None else known_seconds
    return Needs(seconds, memory, int(_SPARE * disk))


def _guess(work: Work, sizes: Sizes) -> float | None:
    if work is Work.RETRAIN:
        return None
    seconds = _START_SECONDS + _READ_SECONDS * sizes.num_titles + _EMBED_SECONDS * sizes.num_embedded
    return seconds if work.keeps_the_index else seconds + _BUILD_SECONDS * sizes.num_titles


def _size(files: dict[str, FileEntry], name: str) -> int:
    return files[name].size_bytes if name in files else 0


def require_capacity(needs: Needs, folder: Path) -> None:
    """Raises StorageError where the folder's disk has less room, and CapacityError where memory is less."""
    free = shutil.disk_usage(folder).free
    if free < needs.disk_bytes:
        raise StorageError(
            f"{folder}: {_mib(free)} free; expected {_mib(needs.disk_bytes)} for the rebuild: free the disk, "
            "as by scripts/releases.py action=prune, and run again"
        )
    available = available_bytes()
    if available is not None and available < needs.memory_bytes:
        raise CapacityError(
            f"rebuild: {_mib(available)} of memory are available; expected {_mib(needs.memory_bytes)}: free "
            "some, or run on a larger machine"
        )


def available_bytes(memory_info: Path = _MEMORY_INFO, cgroup: Path = _CGROUP) -> int | None:
    """Memory that a process may take now, of the machine and of its container; None where nothing says it."""
    found = []
    if memory_info.is_file():
        lines = memory_info.read_text(encoding="utf-8").splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    limit, used = (cgroup / name for name in ("memory.max", "memory.current"))
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()) != "max":
        found.append(max(0, int(text) - int(used.read_text())))
    return min(found, default=None)


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / _MIB:,.0f} MiB"
