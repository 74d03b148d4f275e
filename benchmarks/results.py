"""Results of a claim that takes hours, kept as they are made: broken off, it goes on from there."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import BENCH
from benchmarks.measurement import commit
from towers.folders import replace_file


@dataclass(frozen=True, slots=True)
class Kept:
    """Results of one claim at one commit; nothing is kept of changes that are not committed.

    commit: that of the tree now, or None, or another version of what measures; asked again before a result is
    kept, as the tree may have changed.
    """

    claim: str
    commit: Callable[[], str | None] = commit
    bench: Path = BENCH

    def get(self, name: str) -> dict[str, Any] | None:
        """What was kept under this name at this commit."""
        path = self._path(name, self.commit())
        if path is None or not path.is_file():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def put(self, name: str, found: dict[str, Any], begun_at: str | None) -> None:
        """Keeps a result that was begun at a commit, if that is the commit still."""
        path = self._path(name, begun_at)
        if path is not None and self.commit() == begun_at:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, json.dumps(found, allow_nan=False))

    def _path(self, name: str, of: str | None) -> Path | None:
        if of is None or of.endswith("-dirty"):
            return None
        return self.bench / f"{self.claim}-results" / of / f"{name}.json"
