"""Where remote releases lie: named objects, written whole, one kind of write only where nothing stands.

That last one, `create`, is all that keeps two writers apart; S3 (If-None-Match), Google's (ifGenerationMatch)
and Azure's stores (overwrite=False) have it, and so has a file system (a hard link). A store that has it not
is refused: by what it is where that tells, and by a trial before the first change.
"""

import re
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from towers.errors import ConfigError

FILES = "files"
"""Below it lie the folders of pushes, each under its random name; nothing else is ever cleared away."""

_SECRET = re.compile(
    r"(?i)([\w-]*(?:secret|token|signature|password|credential|key|sig)[\w-]*['\"]?\s*[=:]\s*['\"]?)"
    r"[^\s&'\",;]+"
)
_CONTAINER_SCHEMES = ("abfs", "abfss", "az", "adl")
"""Azure's URLs name the container where others have a user."""


@runtime_checkable
class Objects(Protocol):
    """Objects of one store below one prefix, by keys such as files/0a1b/c3d4; safe for threads.

    Every method raises ReleaseError, which says nothing of credentials, where the store does not answer as it
    should.
    """

    @property
    def where(self) -> str:
        """The place for people, without secrets."""
        ...

    def read(self, key: str) -> bytes | None:
        """A small object; None where there is none."""
        ...

    def create(self, key: str, content: bytes) -> None:
        """Writes a small object where none stands, whole or not at all: of several at once one succeeds.

        content: unlike what any other would write there, so that one who lost the answer to a write that
        succeeded finds it his own. Raises FileExistsError where another stands.
        """
        ...

    def put(self, key: str, path: Path) -> None:
        """Writes the object of a file; killed in between, a part of it may stand."""
        ...

    def get(self, key: str, path: Path) -> None:
        """Writes a file of the object; FileNotFoundError where there is none."""
        ...

    def blocks(self, key: str) -> Iterator[bytes]:
        """The content, piece by piece; FileNotFoundError where there is none."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Every object below, its key and size in bytes, as it is now."""
        ...

    def modified(self, key: str) -> datetime:
        """When it was written, by the clock of the store; FileNotFoundError where there is none."""
        ...

    def remove(self, key: str) -> None:
        """Removes an object; nothing where there is none."""
        ...


def open_objects(url: str) -> Objects:
    """What lies below a URL (s3://bucket/prefix, gs://…, abfs://…, file:///folder) or in a folder.

    Credentials come from where the library of the store looks for them, such as AWS_PROFILE. Raises
    ConfigError on a URL that cannot be, or whose store has no write that needs nothing to stand, and
    MissingExtraError where a library is not installed.
    """
    if "::" in url:
        raise ConfigError(f"remote: {masked(url)} is a chain of stores; expected the URL of one")
    if not url.startswith("file://") and "://" in url:
        from retrieval.release.remote.buckets import open_bucket

        return open_bucket(url)
    path = Path(url.removeprefix("file://"))
    if "://" in url and not path.is_absolute():
        raise ConfigError(f"remote: {url} names no folder; expected file:///folder, from the root")
    from retrieval.release.remote.folder import FolderObjects

    return FolderObjects(path)


def require_exclusive(objects: Objects) -> None:
    """Tries whether the store keeps two writers apart; ConfigError where both of two succeed."""
    key = f"{FILES}/{secrets.token_hex(8)}/trial"
    first, second = (secrets.token_bytes(16) for _ in range(2))
    try:
        objects.create(key, first)
        try:
            objects.create(key, second)
        except FileExistsError:
            return
        raise ConfigError(
            f"remote: {objects.where} lets a second write take the place of a first that was to stand alone; "
            "expected a store with conditional writes (If-None-Match), without which two publishers could "
            "both win"
        )
    finally:
        objects.remove(key)


def masked(url: str) -> str:
    """A URL without what may be secret: user, password, query."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if user and (":" in user or parts.scheme not in _CONTAINER_SCHEMES):
        user = "…"
    return f"{parts.scheme}://{user}{at}{host}{parts.path}" if parts.scheme else url


def without_secrets(text: str, url: str) -> str:
    """What a library said, without the secrets of the URL and without what looks like one."""
    parts = urlsplit(url)
    for secret in (parts.query, parts.password, *(parts.username or "").split(":")):
        if secret and parts.scheme not in _CONTAINER_SCHEMES:
            text = text.replace(secret, "…")
    return _SECRET.sub(r"\1…", text.replace(url, masked(url)))
