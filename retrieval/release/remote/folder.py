"""Objects as files of a folder, on this machine or on a disk that several share."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from retrieval.release.remote.objects import FILES
from towers.errors import ReleaseError
from towers.folders import sync

_BLOCK_BYTES = 1 << 20


class FolderObjects:
    """The files below a folder; what is written is synced, its name too.

    One that is to stand alone gets its name by a hard link, which fails where there is such a name and brings
    the whole content with it. A file system without links is refused by the error of the first.
    """

    def __init__(self, folder: Path) -> None:
        """The folder is made with the first object."""
        self._folder = folder

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._folder)

    def read(self, key: str) -> bytes | None:
        """See `Objects`."""
        with self._told(key, "read"), suppress(FileNotFoundError, NotADirectoryError):
            return (self._folder / key).read_bytes()
        return None

    def create(self, key: str, content: bytes) -> None:
        """See `Objects`; killed in between, a folder of no push is left, which `prune` clears away."""
        aside = self._folder / FILES / secrets.token_hex(8) / "aside"
        with self._told(key, "written"):
            try:
                _write(aside, content)
                _make(self._folder / key)
                os.link(aside, self._folder / key)
                sync((self._folder / key).parent)
            finally:
                _remove(aside)

    def put(self, key: str, path: Path) -> None:
        """See `Objects`."""
        try:
            with self._told(key, "written"):
                _write(self._folder / key, path)
        except FileNotFoundError as error:
            raise ReleaseError(
                f"{path}: {error.strerror}; expected a file that stays while it is sent"
            ) from error

    def get(self, key: str, path: Path) -> None:
        """See `Objects`."""
        with path.open("wb") as file:
            for block in self.blocks(key):
                file.write(block)

    def blocks(self, key: str) -> Iterator[bytes]:
        """See `Objects`."""
        with self._told(key, "read"), (self._folder / key).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Objects`."""
        found = {}
        with self._told(folder, "listed"):
            for above, _, names in os.walk(self._folder / folder, onerror=_unless_gone):
                for path in (Path(above) / name for name in names):
                    with suppress(FileNotFoundError):  # removed meanwhile
                        found[path.relative_to(self._folder).as_posix()] = path.stat().st_size
        return found

    def modified(self, key: str) -> datetime:
        """See `Objects`."""
        with self._told(key, "read"):
            return datetime.fromtimestamp((self._folder / key).stat().st_mtime, UTC)

    def remove(self, key: str) -> None:
        """See `Objects`."""
        with self._told(key, "removed"):
            _remove(self._folder / key)

    @contextmanager
    def _told(self, key: str, what: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise ReleaseError(f"{self._folder / key}: cannot be {what}: {error}") from error


def _write(path: Path, content: bytes | Path) -> None:
    """Writes what is given, or what a file holds, where nothing stands; synced, and its name too."""
    _make(path)
    with path.open("xb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                while block := source.read(_BLOCK_BYTES):
                    file.write(block)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def _make(path: Path) -> None:
    """Makes the folders above a path, each one's name on disk."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in made:
        sync(folder.parent)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(OSError):  # others lie there
        path.parent.rmdir()
