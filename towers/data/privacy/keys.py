"""Secret keys as they lie in a file or in the environment, the newest first."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from towers.errors import ConfigError, MissingDataError

_ENV = "env:"
_MIN_KEY_BYTES = 32


@runtime_checkable
class _Named(Protocol):
    @property
    def name(self) -> str: ...


K = TypeVar("K", bound=_Named)


def read_keys(source: str, key: str, key_of: Callable[[bytes], K], file: str) -> list[K]:
    """The keys that lie in a file, or with env:NAME in a variable of the environment, the newest first.

    One key a line: 64 hex digits or more, as `openssl rand -hex 32` prints them; empty lines and such as
    begin with # say nothing. key: the setting, for errors; key_of: the key of a secret; file: how one is
    called in the command that makes one. Raises MissingDataError where there is nothing, and ConfigError on a
    line that is no key, of which only the number is told.
    """
    if source.startswith(_ENV):
        text = os.environ.get(source.removeprefix(_ENV), "")
    else:
        path = Path(source)
        text = path.read_text(encoding="ascii", errors="replace") if path.is_file() else ""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    keys = [
        key_of(_secret(line, f"{key}: {source}:{number}"))
        for number, line in lines
        if line and line[0] != "#"
    ]
    if not keys:
        raise MissingDataError(
            f"{key}: no key in {source}; expected a line of 64 hex digits: "
            f"(umask 077; openssl rand -hex 32 > {file})"
        )
    if len({each.name for each in keys}) != len(keys):
        raise ConfigError(f"{key}: {source} holds a key twice; expected each once, the newest first")
    return keys


def _secret(line: str, where: str) -> bytes:
    try:
        secret = bytes.fromhex(line)
    except ValueError:
        secret = b""
    if len(secret) < _MIN_KEY_BYTES:
        raise ConfigError(f"{where}: no key; expected {2 * _MIN_KEY_BYTES} hex digits or more")
    return secret
