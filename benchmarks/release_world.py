"""Small real releases that answer differently, and what each of them answers.

Each is of towers of its own (`release_making`), gated and published as any other; to publish it again is to
copy its files. A reader that is given one by mistake, or a mixture, answers otherwise. Loads no torch: who
publishes one begins in no time.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from retrieval.release.manifest import HASH_FILE, MANIFEST_FILE, Description
from retrieval.release.verify import verified


@dataclass(frozen=True, slots=True)
class Variant:
    """A release to be published again and again. answers: item ids, best first, by profile."""

    folder: Path
    number: int
    answers: Mapping[str, list[str]]

    def write(self, folder: Path) -> Description:
        """Puts its files into a folder; what `publish` calls."""
        for path in sorted(self.folder.iterdir()):
            if path.name not in (MANIFEST_FILE, HASH_FILE):
                shutil.copyfile(path, folder / path.name)
        return description(self.folder)


@cache
def description(folder: Path) -> Description:
    """What a release says of itself; read once."""
    return verified(folder).description


def memory() -> Path | None:
    """A folder in memory, where there is one: what is killed or failed is the same, and sooner."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else None
