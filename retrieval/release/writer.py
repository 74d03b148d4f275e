"""One writer per root of releases, fenced: one that was overtaken can change nothing any more.

Who changes a root holds a lock on it, which the kernel frees when the process ends. A lock alone does not do:
its file may be removed, a network file system may give it away under a process that was paused, and neither
is told to the one that holds it. So each writer also has a token, the random name of a folder of its own
(`.aside-<token>`), announced before anything else, and whatever it changes under the root is moved out of or
into that folder by one rename. Then it takes the folders of all others away, also by a rename. Of two writers
at once each announced itself before it looked, so that one at least sees the other; and a rename whose folder
is gone fails, however long the writer slept before it. Tokens never return, and no clock is asked.

What an ended writer left is removed by the next: its folder, and the release that it renamed into place if
its pointer to it never became CURRENT.
"""

import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from retrieval.release.manifest import is_release_id
from towers.errors import ConflictError
from towers.folders import sync

log = logging.getLogger(__name__)

CURRENT_FILE = "CURRENT"
_LOCK_FILE = ".lock"
_ASIDE, _REVOKED = ".aside-", "-revoked"
_NEXT_FILE = "NEXT"
"""In a writer's folder: the pointer to the release that it is about to rename into place."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who may change a root; every change is one rename, and fails once another writer took over.

    folder: its own, on the file system of the root; what lies there no reader looks at.
    descriptor: of that folder, open as long as it is the writer's: no other folder passes for it.
    """

    root: Path
    folder: Path
    descriptor: int

    def replace(self, name: str, text: str) -> None:
        """Lets the file `name` of the root hold this text; synced. Readers see the old one or the new one."""
        self._prepare(name, text)
        self._move(self.folder / name, self.root / name)

    def put(self, release_id: str) -> None:
        """Lets the release that lies in this writer's folder stand under the root, and makes it current.

        Its files are synced already. Raises ConflictError where another writer took over, and OSError where a
        release of this id stands.
        """
        self.check()
        self._prepare(_NEXT_FILE, f"{release_id}\n")
        sync(self.folder)
        sync(self.root)  # what is left of a publish is found by these names
        # The release must be on disk before the pointer to it is.
        self._move(self.folder / release_id, self.root / release_id)
        self._move(self.folder / _NEXT_FILE, self.root / CURRENT_FILE)

    def put_beside(self, release_id: str) -> None:
        """Moves a release that was written into `folder` under the root, where it is not current."""
        self.check()
        sync(self.folder)
        self._move(self.folder / release_id, self.root / release_id)

    def remove(self, release_id: str) -> None:
        """Takes a release away; killed in between, the next writer goes on with it."""
        self._move(self.root / release_id, self.folder / release_id)
        shutil.rmtree(self.folder / release_id)

    def check(self) -> None:
        """Raises ConflictError where another writer took over.

        A folder that was made again under the name of the one taken away, as by who writes into it, is none.
        """
        if not _is_still(self.folder, self.descriptor):
            raise ConflictError(
                f"{self.root}: another process took over while this one was writing, which can change "
                "nothing any more; expected one writer at a time: begin again from what is current now"
            )

    def _prepare(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        sync(path)

    def _move(self, source: Path, target: Path) -> None:
        source.rename(target)
        sync(self.root)


@contextmanager
def single_writer(root: Path) -> Iterator[Writer]:
    """The one writer of `root`, after what others left was removed.

    Raises ConflictError where another process holds the lock, or took over before the end.
    """
    with (root / _LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"{root}: another process is publishing here (it holds {lock.name}); try again "
                "when it is done"
            ) from error
        # Who removes the lock file lets another process hold one of the same name.
        if not _is_still(root / _LOCK_FILE, lock.fileno()):
            raise ConflictError(f"{root}: {lock.name} was replaced while it was taken; publish again")
        folder = root / f"{_ASIDE}{secrets.token_hex(8)}"
        folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                writer = Writer(root, folder, descriptor)
                _take_over(writer)
                yield writer
            except Exception as error:
                try:
                    writer.check()
                except ConflictError as conflict:
                    raise conflict from error
                raise
            finally:
                os.close(descriptor)
        finally:
            _clear_away(folder, root)


def _take_over(writer: Writer) -> None:
    """Takes away the folders of all other writers, and what they left."""
    for path in sorted(writer.root.glob(f"{_ASIDE}*")):
        if path == writer.folder:
            continue
        revoked = path
        if path.is_dir() and not path.name.endswith(_REVOKED):
            revoked = path.with_name(f"{path.name}{_REVOKED}")
            path.rename(revoked)
        _undo(revoked, writer.root)
        log.info("leftover of an unfinished change removed name=%s", path.name)


def _clear_away(folder: Path, root: Path) -> None:
    """The same of one's own folder at the end, which must not hide what ended it."""
    try:
        _undo(folder, root)
    except OSError as error:
        log.warning("leftover stays for the next writer name=%s error=%s", folder.name, error)


def _undo(folder: Path, root: Path) -> None:
    """Removes a writer's folder, and the release that it put under the root without making it current."""
    if not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    pointer = folder / _NEXT_FILE
    if pointer.is_file():
        # Without its line end it was cut short, before anything was renamed, and may name another release.
        text = pointer.read_text(errors="replace")
        put = text.removesuffix("\n")
        was_put = text.endswith("\n") and is_release_id(put) and not (folder / put).exists()
        if was_put and (root / put).exists() and text != _text_of(root / CURRENT_FILE):
            (root / put).rename(folder / put)
            sync(root)
    shutil.rmtree(folder)


def _text_of(path: Path) -> str | None:
    return path.read_text(errors="replace") if path.is_file() else None


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
