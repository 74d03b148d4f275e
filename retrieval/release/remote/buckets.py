"""Objects of a store that fsspec knows: the only importer of fsspec, and only where a URL asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.release.remote.objects import masked, without_secrets
from towers.errors import ConfigError, MissingExtraError, ReleaseError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_BLOCK_BYTES = 8 << 20
_TRIES = 3
"""S3 answers 409 to one of two conditional writes at once, although neither is there yet: try again."""


def open_bucket(url: str) -> "BucketObjects":
    """The objects below a URL of fsspec; see `objects.open_objects`."""
    try:
        from fsspec import AbstractFileSystem
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError(
            f"remote: {masked(url)} needs fsspec and the library of its store (s3fs, gcsfs or adlfs): "
            "pip install 'two-tower-retrieval[objectstore]' s3fs"
        ) from error
    try:
        # A listing that was kept would show what is no more, or hide what is there since.
        system, base = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtraError(f"remote: {masked(url)}: {without_secrets(str(error), url)}") from error
    except Exception as error:  # whatever a store's library raises on settings it cannot work with
        said = without_secrets(str(error), url)
        raise ConfigError(f"remote: {masked(url)}: {said}; expected such as s3://bucket/prefix") from None
    if not base.strip("/"):
        raise ConfigError(f"remote: {masked(url)} names no bucket; expected such as s3://bucket/prefix")
    # fsspec's own, which most of its file systems have: a look, and then a write that asks for nothing.
    if getattr(system.pipe_file, "__func__", None) is AbstractFileSystem.pipe_file:
        raise ConfigError(
            f"remote: {masked(url)}: {type(system).__name__} has no write that fails where an object stands; "
            "expected a store with conditional writes, such as s3://, gs:// or abfs://, or a shared disk as "
            "file:///folder"
        )
    return BucketObjects(system, base.rstrip("/"), url)


class BucketObjects:
    """Objects through an fsspec file system whose `pipe_file(mode="create")` is one conditional request."""

    def __init__(self, system: "AbstractFileSystem", base: str, url: str) -> None:
        """base: bucket and prefix as the file system spells them. url: as it was given, secrets and all."""
        self._system, self._base, self._url = system, base, url

    @property
    def where(self) -> str:
        """The URL without its secrets."""
        return masked(self._url)

    def read(self, key: str) -> bytes | None:
        """See `Objects`."""
        try:
            with self._told(key, "read"):
                return bytes(self._system.cat_file(self._path(key)))
        except FileNotFoundError:
            return None

    def create(self, key: str, content: bytes) -> None:
        """See `Objects`.

        A write whose answer was lost is sent again by the libraries themselves, and then refused by what it
        wrote before; so who is refused, or gets any other error, looks whose the object is.
        """
        for last in [False] * (_TRIES - 1) + [True]:
            try:
                with self._told(key, "written"):
                    self._system.pipe_file(self._path(key), content, mode="create")
                return
            except (FileExistsError, FileNotFoundError, ReleaseError) as error:
                found = self.read(key)
                if found == content:
                    return
                if found is not None:
                    raise FileExistsError(f"{self.where}/{key}") from None
                if last:
                    raise ReleaseError(f"{self.where}/{key}: cannot be written: {error}") from None

    def put(self, key: str, path: Path) -> None:
        """See `Objects`."""
        try:
            with self._told(key, "written"):
                self._system.put_file(str(path), self._path(key))
        except FileNotFoundError as error:
            raise ReleaseError(
                f"{self.where}: {without_secrets(str(error), self._url)}; expected a bucket and a file "
                "that are there"
            ) from None

    def get(self, key: str, path: Path) -> None:
        """See `Objects`."""
        with self._told(key, "read"):
            self._system.get_file(self._path(key), str(path))

    def blocks(self, key: str) -> Iterator[bytes]:
        """See `Objects`."""
        with self._told(key, "read"), self._system.open(self._path(key), "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block

    def sizes(self, folder: str) -> dict[str, int]:
        """See `Objects`."""
        try:
            with self._told(folder, "listed"):
                found = self._system.find(self._path(folder), detail=True)
                return {
                    name.removeprefix(f"{self._base}/"): int(about["size"] or 0)
                    for name, about in found.items()
                }
        except FileNotFoundError:
            return {}

    def modified(self, key: str) -> datetime:
        """See `Objects`."""
        with self._told(key, "read"):
            when: datetime = self._system.modified(self._path(key))
            return when if when.tzinfo else when.replace(tzinfo=UTC)

    def remove(self, key: str) -> None:
        """See `Objects`."""
        try:
            with self._told(key, "removed"):
                self._system.rm_file(self._path(key))
        except FileNotFoundError:
            return

    def _path(self, key: str) -> str:
        return f"{self._base}/{key}"

    @contextmanager
    def _told(self, key: str, what: str) -> Iterator[None]:
        """Tells any error of the store's library as a ReleaseError, but for what is there or is not.

        Each library has a tree of its own; what it raised is not chained, as it may hold what signs requests.
        """
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:
            said = without_secrets(str(error), self._url)
            raise ReleaseError(
                f"{self.where}/{key}: cannot be {what}: {type(error).__name__}: {said}"
            ) from None
