"""Stores for tests: an object store in memory that can fail at any call, and small releases to push there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import fsspec

from retrieval.release.manifest import Description
from retrieval.release.remote.objects import Objects, open_objects
from retrieval.release.store import ReleaseInfo, publish
from tests.retrieval.release.publisher import description

Hook = Callable[[str, str], None]
"""Told of a call: its verb, and the key."""


def _nothing(verb: str, key: str) -> None:
    pass


class MemoryBucket(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """Objects in memory under bucket://name/…; `pipe_file(mode="create")` is one step, as in a real store.

    stored: of all buckets, content and when it was written. before, after: hooks around the effect of every
    call: what raises there fails the call, or loses its answer.
    """

    protocol = "bucket"
    cachable = False
    stored: ClassVar[dict[str, tuple[bytes, datetime]]] = {}
    before: ClassVar[Hook] = staticmethod(_nothing)
    after: ClassVar[Hook] = staticmethod(_nothing)
    _lock = threading.RLock()

    @contextmanager
    def _call(self, verb: str, path: str) -> Iterator[str]:
        key = self._strip_protocol(path)
        type(self).before(verb, key)
        with self._lock:
            yield key
        type(self).after(verb, key)

    def _content(self, key: str) -> bytes:
        if key not in self.stored:
            raise FileNotFoundError(key)
        return self.stored[key][0]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        with self._call("create", path) as key:
            if mode == "create" and key in self.stored:
                raise FileExistsError(key)
            self.stored[key] = (value, datetime.now(UTC))

    def put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> None:
        with self._call("put", rpath) as key:
            self.stored[key] = (Path(lpath).read_bytes(), datetime.now(UTC))

    def cat_file(self, path: str, *_: Any, **__: Any) -> bytes:
        with self._call("read", path) as key:
            return self._content(key)

    def get_file(self, rpath: str, lpath: str, *_: Any, **__: Any) -> None:
        with self._call("get", rpath) as key:
            Path(lpath).write_bytes(self._content(key))

    def _open(self, path: str, *_: Any, **__: Any) -> BytesIO:
        with self._call("open", path) as key:
            return BytesIO(self._content(key))

    def find(self, path: str, *_: Any, **__: Any) -> dict[str, dict[str, Any]]:
        with self._call("list", path) as key:
            under = {name: one for name, one in self.stored.items() if name.startswith(f"{key}/")}
            return {name: {"name": name, "size": len(content)} for name, (content, _) in under.items()}

    def modified(self, path: str) -> datetime:
        with self._call("modified", path) as key:
            self._content(key)
            return self.stored[key][1]

    def rm_file(self, path: str) -> None:
        with self._call("remove", path) as key:
            self._content(key)
            del self.stored[key]


class CarelessBucket(MemoryBucket):
    """The same, as a store that knows nothing of conditions: each write takes the place of what was there."""

    protocol = "careless"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        super().pipe_file(path, value)


for kind in (MemoryBucket, CarelessBucket):
    fsspec.register_implementation(kind.protocol, kind, clobber=True)


class Killed(BaseException):
    """The end of the process at a call: nothing it did after that has an effect."""


@dataclass
class Fault:
    """Fails the call of this number, counted from 0: once, or it and all that follow.

    is_kill: ends the process there. is_after: the call had its effect, and the answer was lost.
    """

    at: int
    is_kill: bool = False
    is_after: bool = False
    num_calls: int = 0

    def __call__(self, verb: str, key: str) -> None:
        self.num_calls += 1
        if self.is_kill and self.num_calls > self.at:
            raise Killed
        if self.num_calls == self.at + 1:
            raise TimeoutError("the store did not answer")


@contextmanager
def failing(fault: Fault) -> Iterator[None]:
    name = "after" if fault.is_after else "before"
    setattr(MemoryBucket, name, staticmethod(fault))
    try:
        yield
    except Killed:
        pass
    finally:
        setattr(MemoryBucket, name, staticmethod(_nothing))


@contextmanager
def told(hook: Hook) -> Iterator[None]:
    """Calls the hook before each call."""
    MemoryBucket.before = staticmethod(hook)
    try:
        yield
    finally:
        MemoryBucket.before = staticmethod(_nothing)


def bucket() -> Objects:
    """An empty bucket."""
    MemoryBucket.stored.clear()
    return open_objects("bucket://shop/service")


def published(root: Path, own: str, *, becomes_current: bool = True) -> ReleaseInfo:
    """The next release of a root: one file that all have, one of its own, and an empty one."""

    def write(folder: Path) -> Description:
        (folder / "shared.bin").write_bytes(b"shared" * 100)
        (folder / "own.bin").write_text(own)
        (folder / "empty.bin").touch()
        return description()

    return publish(root, write, becomes_current=becomes_current)


def own_of(root: Path, release_id: str) -> str:
    """What `published` gave a release of a root."""
    return (root / release_id / "own.bin").read_text()
