"""Releases for tests of what is done with them: built once for an export, then published again and again."""

import shutil
from pathlib import Path

from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.manifest import HASH_FILE, MANIFEST_FILE, Description
from retrieval.release.store import ReleaseInfo, current, open_release, publish
from tests.retrieval.conftest import Exported


def published(exported: Exported, root: Path, *, becomes_current: bool = True) -> ReleaseInfo:
    """A release of an export as the next of a root, by the files that its build left."""
    built = exported.model.with_name("built")
    if current(built) is None:
        build_release(exported.model, exported.tables, built, IndexSpec(), GateSettings(k=10))
    info = open_release(built)

    def write(folder: Path) -> Description:
        for path in sorted(info.folder.iterdir()):
            if path.name not in (MANIFEST_FILE, HASH_FILE):
                shutil.copyfile(path, folder / path.name)
        return info.manifest.description

    return publish(root, write, becomes_current=becomes_current)
