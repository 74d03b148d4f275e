"""Downloads of pinned zip archives over https: resumable, capped, checked, put in place as a whole.

Beside the folder to be stands, while it lasts, one `.part` file. It holds what has arrived, so that a broken
download goes on where it stopped, and it is the lock that lets one process at a time work on that folder.
"""

import fcntl
import hashlib
import http.client
import logging
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from towers.data.unpack import unpack
from towers.errors import DownloadError

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 60  # without a byte
_CHUNK_BYTES = 1 << 18
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file on the web: its https address, its pinned SHA-256, the folder in it, and caps in bytes."""

    url: str
    sha256: str
    folder: str
    max_bytes: int
    max_unpacked_bytes: int


def download(archive: Archive, folder: Path, is_complete: Callable[[Path], bool]) -> None:
    """Puts the archive's folder at `folder`, all of it or nothing; does nothing where that is complete.

    A download that breaks keeps its `.part` file beside `folder`, and the next one goes on from there.
    Raises DownloadError where the address or a redirect is not https, the archive has no pinned hash, is too
    large, is not what its hash says, or would write outside of its folder; and where `folder` holds
    something else, which is never overwritten.
    """
    _require_https(archive.url)
    if not _SHA256.fullmatch(archive.sha256):
        raise DownloadError(f"{archive.url}: no pinned SHA-256; expected 64 hex digits; it is not downloaded")
    folder = folder.resolve()  # "." has no name to stand beside
    try:
        _download(archive, folder, is_complete)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{folder}: {error}; expected a place that can be written, with room for the archive"
        ) from error


def _download(archive: Archive, folder: Path, is_complete: Callable[[Path], bool]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}-{archive.sha256[:12]}.part")
    with _locked(part) as stream:
        if is_complete(folder):
            stream.truncate(0)
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DownloadError(
                f"{folder}: holds something, but not the whole of {archive.folder}; nothing is overwritten; "
                "move it away, or name another folder"
            )
        _fetch(archive, stream)
        try:
            unpack(stream, archive.folder, folder, archive.max_unpacked_bytes)
        except DownloadError:
            stream.truncate(0)  # it would fail in the same way again
            raise
        num_bytes = _size(stream)
        stream.truncate(0)
    log.info("downloaded archive url=%s folder=%s num_bytes=%d", archive.url, folder, num_bytes)


@contextmanager
def _locked(part: Path) -> Iterator[BufferedRandom]:
    """The part file, open for appending, and this process's alone; an empty one is removed at the end."""
    while True:
        with part.open("a+b") as stream:
            _lock(stream, part)
            if not _is_at(stream, part):
                continue  # who held the lock has finished and removed the file: this lock is on nothing
            try:
                yield stream
            finally:
                if _size(stream) == 0:
                    part.unlink()
            return


def _lock(stream: BufferedRandom, part: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("found another process downloading, waiting for it part=%s", part)
        fcntl.flock(stream, fcntl.LOCK_EX)


def _is_at(stream: BufferedRandom, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _size(stream: BufferedRandom) -> int:
    return stream.seek(0, os.SEEK_END)


def _fetch(archive: Archive, stream: BufferedRandom) -> None:
    """Completes the part file until it is what the pinned hash says; else empties it and raises."""
    resumed = _size(stream) > 0
    if resumed and _sha256(stream) == archive.sha256:
        return
    _receive_all(archive, stream)
    found = _sha256(stream)
    if resumed and found != archive.sha256:
        # What was there from before may have been of another file: once more, from the first byte.
        log.warning("discarded a resumed download with a wrong hash url=%s", archive.url)
        stream.truncate(0)
        _receive_all(archive, stream)
        found = _sha256(stream)
    if found != archive.sha256:
        num_bytes = _size(stream)
        stream.truncate(0)
        raise DownloadError(
            f"{archive.url}: SHA-256 of the {num_bytes} bytes is {found}; expected {archive.sha256}; "
            "nothing was kept"
        )


def _sha256(stream: BufferedRandom) -> str:
    stream.seek(0)
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _receive_all(archive: Archive, stream: BufferedRandom) -> None:
    """Asks for the rest, again after every break, as long as each request brings the file further."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context()), _HttpsOnly()
    )
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(archive.url.rpartition("/")[2], total=None)

        def show(num_bytes: int, total: int | None) -> None:
            bar.update(task, completed=num_bytes, total=total)

        furthest = _size(stream)
        while (fault := _receive(archive, stream, opener, show)) is not None:
            if _size(stream) <= furthest:
                raise DownloadError(
                    f"{archive.url}: the connection broke after {_size(stream)} bytes ({fault}); those are "
                    "kept: run it again to go on from there"
                )
            furthest = _size(stream)


def _receive(
    archive: Archive,
    stream: BufferedRandom,
    opener: urllib.request.OpenerDirector,
    show: Callable[[int, int | None], None],
) -> str | None:
    """One request for what is missing, appended to the part file; None when that is all, else what broke."""
    with _respond(archive, stream, opener) as response:
        have = _size(stream)
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        _check_size(archive, stream, total or 0)
        show(have, total)
        while True:
            try:
                chunk = response.read(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                return str(error) or type(error).__name__
            if not chunk:
                return None if total is None or have == total else f"{total - have} bytes are missing"
            have += len(chunk)
            _check_size(archive, stream, have)
            stream.write(chunk)
            show(have, total)


def _respond(
    archive: Archive, stream: BufferedRandom, opener: urllib.request.OpenerDirector
) -> http.client.HTTPResponse:
    """The answer whose body goes on where the part file ends; emptied where the server starts from zero."""
    have = _size(stream)
    headers = {"User-Agent": "two-tower-retrieval"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response: http.client.HTTPResponse = opener.open(
            urllib.request.Request(archive.url, headers=headers), timeout=_TIMEOUT_SECONDS
        )
    except DownloadError:
        raise  # of a redirect; it is an OSError too
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            stream.truncate(0)  # more is here than the server has: it is not the same file
            return _respond(archive, stream, opener)
        raise DownloadError(
            f"{archive.url}: HTTP {error.code} {error.reason}; expected the archive"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{archive.url}: {error}; expected a server there; check the network") from error
    if not have or response.status != http.HTTPStatus.PARTIAL_CONTENT:
        stream.truncate(0)
        return response
    answered = response.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.fullmatch(answered)
    if found is None or int(found[1]) != have:
        response.close()
        raise DownloadError(
            f"{archive.url}: asked for bytes from {have}, was sent {answered!r}; expected those"
        )
    return response


def _check_size(archive: Archive, stream: BufferedRandom, num_bytes: int) -> None:
    if num_bytes > archive.max_bytes:
        stream.truncate(0)
        raise DownloadError(
            f"{archive.url}: {num_bytes} bytes or more; expected at most {archive.max_bytes}; none was kept"
        )


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects as the standard library does, unless one leads away from https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: Any,  # the answer; the standard library's own annotation of it is not what it passes
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request to follow a redirect with; DownloadError where it is not https."""
        try:
            _require_https(newurl)
        except DownloadError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_https(url: str) -> None:
    if not url.lower().startswith("https://"):
        raise DownloadError(f"{url}: refused; expected an https:// address")
