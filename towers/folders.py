"""Folders and files replaced as a whole: a reader finds the old one or the new one, never a mixture."""

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from towers.errors import DISK_FULL, ConfigError, StorageError, TowersError

log = logging.getLogger(__name__)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Puts what `write` makes of an empty folder at `folder`; all that was there before goes.

    It is written aside as .<name>.new, synced and renamed into place, the older folder first aside to
    .<name>.old; between these two renames alone there is no folder. Where `write` raises, the older one
    stays. What a killed process left, the next call repairs; of several processes at once, each waits for the
    one before on .<name>.lock, which stays. Raises ConfigError where `folder` is a file, StorageError where
    the disk has no room.
    """
    folder = folder.resolve()  # "." has no name to stand beside, and a link stays where it is
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; expected a folder, or nothing there yet")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new, old = (folder.with_name(f".{folder.name}.{age}") for age in ("new", "old"))
    with folder.with_name(f".{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it when the process ends, however it ends
        _repair(folder, new, old)
        try:
            new.mkdir()
            write(new)
            _sync_tree(new)
            _swap(folder, new, old)
        except OSError as error:
            if isinstance(error, TowersError) or error.errno not in DISK_FULL:
                raise
            raise StorageError(
                f"{folder}: no room for it: {error}; what was there before stays; free the disk and run again"
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)


def repair_folders(below: Path) -> None:
    """Undoes every replacement of a folder below that a killed process left unfinished."""
    for leftover in sorted(below.rglob(".*")):
        name, _, age = leftover.name.removeprefix(".").rpartition(".")
        if age in ("new", "old") and name and leftover.is_dir():
            folder = leftover.with_name(name)
            with folder.with_name(f".{name}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _repair(folder, folder.with_name(f".{name}.new"), folder.with_name(f".{name}.old"))


def replace_file(path: Path, text: str) -> None:
    """Writes a text in place of what was there, its folder made where there is none.

    A reader finds the old file or the new one, whole. Raises OSError where it cannot be written.
    """
    with file_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """Where to write what then takes the place of a file, synced and whole; on an error nothing does.

    An empty file lies there. Of several processes or threads at once, each waits for the one before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    with _held(aside):
        try:
            yield aside
            sync(aside)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync(path.parent)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Holds an empty file that none but this caller writes to."""
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the kernel frees it when the process ends, however it ends
            # Whoever held it before has moved it away by now, or removed it: then another is to be made.
            if _stands_at(path, file.fileno()):
                file.truncate(0)  # of what a killed process left
                yield
                return


def _stands_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def only_one(folder: Path, job: str) -> Iterator[None]:
    """Holds a folder, made where there is none, for one job at a time.

    Raises ConfigError where another process holds it; the kernel frees it when that ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{folder}: another {job} is under way here (it holds {lock.name}); expected one at a "
                "time: wait for it, or choose other artifacts"
            ) from error
        yield


def _repair(folder: Path, new: Path, old: Path) -> None:
    """Undoes what a process that was killed began; the caller holds the lock."""
    if old.exists() and not folder.exists():
        old.rename(folder)
        log.warning("older folder restored after an unfinished replacement path=%s", folder)
    for leftover in (new, old):
        if leftover.exists():
            shutil.rmtree(leftover)
            log.info("leftover of an unfinished replacement removed path=%s", leftover)


def _swap(folder: Path, new: Path, old: Path) -> None:
    replaces = folder.exists()
    if replaces:
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if replaces:
            old.rename(folder)
        raise
    sync(folder.parent)  # the new name must be on disk before the older content goes
    if replaces:
        shutil.rmtree(old)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Flushes a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
