"""The profiles that are forgotten: a list that knows them again, and from which nobody reads who they are.

Whatever serves or ingests asks it. Of a profile it holds HMAC-SHA-256, keyed by a secret of the list, of the
id that it is asked by; so no id, and no hash of one that could be looked up, stands in it. Who has the list
can still try an id that he knows: it is kept as the tables are kept.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from towers.errors import IntegrityError
from towers.folders import replace_file

FORGOTTEN_FILE = "FORGOTTEN"
"""The list, in the folder of the releases."""

_FORMAT_VERSION = 1
_SECRET_BYTES = 32
_TOKEN_BYTES = 16


def forgotten_beside(tables: Path) -> Path:
    """Where the list lies for a folder of tables in an artifacts folder."""
    return tables.resolve().parent / "releases" / FORGOTTEN_FILE


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The list as it was read.

    tokens: of each id, when it was asked to be forgotten.
    """

    secret: bytes = field(default=b"", repr=False)
    tokens: Mapping[str, datetime] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, id_: object) -> bool:
        return bool(self.tokens) and isinstance(id_, str) and self.token(id_) in self.tokens

    def since(self, id_: str) -> datetime | None:
        """When an id was asked to be forgotten; None where it was not."""
        return self.tokens.get(self.token(id_)) if self.tokens else None

    def token(self, id_: str) -> str:
        """What stands for an id in this list."""
        return hmac.digest(self.secret, id_.encode(), hashlib.sha256)[:_TOKEN_BYTES].hex()

    def places(self, ids: Iterable[str | None]) -> list[int]:
        """Where in a sequence the forgotten ones stand."""
        return [place for place, id_ in enumerate(ids) if id_ in self] if self.tokens else []

    def also(self, ids: Iterable[str], when: datetime) -> "Forgotten":
        """The list with further ids; one that stands in it keeps its moment."""
        grown = self if self.secret else replace(self, secret=secrets.token_bytes(_SECRET_BYTES))
        return replace(grown, tokens={**dict.fromkeys(map(grown.token, ids), when), **grown.tokens})


def read_forgotten(path: Path) -> Forgotten:
    """The list in this file; an empty one where there is none yet. IntegrityError where it is damaged."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Forgotten()
    try:
        read = json.loads(content)
        tokens = {str(token): datetime.fromisoformat(when) for token, when in read["tokens"].items()}
        secret, version = bytes.fromhex(read["secret"]), read["format_version"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path}: {error}; expected the list that scripts/forget.py writes") from error
    if version != _FORMAT_VERSION or len(secret) != _SECRET_BYTES:
        raise IntegrityError(f"{path}: format_version is {version!r}; expected {_FORMAT_VERSION}")
    return Forgotten(secret, tokens)


def write_forgotten(path: Path, forgotten: Forgotten) -> None:
    """Puts the list in place of the one before, on disk when this returns."""
    tokens = {token: when.isoformat() for token, when in sorted(forgotten.tokens.items())}
    document = {"format_version": _FORMAT_VERSION, "secret": forgotten.secret.hex(), "tokens": tokens}
    replace_file(path, json.dumps(document, indent=1) + "\n")


def add_forgotten(path: Path, ids: Iterable[str], when: datetime) -> None:
    """Adds ids to the list in this file; of several processes at once, each waits for the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_forgotten(path, read_forgotten(path).also(ids, when))


class ForgottenFile:
    """The list as it stands at each question: a look at the file's state, and a read where that is another.

    A list that was there and is gone counts as it last was. Safe for any number of threads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reading = threading.Lock()
        self._state: tuple[int, int, int] | None = None
        self._read = Forgotten()
        self.now()

    def __contains__(self, id_: object) -> bool:
        return id_ in self.now()

    def now(self) -> Forgotten:
        """The list; IntegrityError where it is damaged."""
        state = self._look()
        if state is not None and state != self._state:
            with self._reading:
                # Looked at before it is read: a list that is replaced meanwhile is read again.
                self._read, self._state = read_forgotten(self._path), state
        return self._read

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116  # at every question: half the time of Path.stat
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
