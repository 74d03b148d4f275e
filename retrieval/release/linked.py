"""Files of a release that are those of the one before: one file under two names, hashed once.

A file of a release is never changed, so that a release made from another may have the same ones. They are
hard links: nothing is copied, and a file is there as long as one release holds it. The hash of such a file is
that of the older manifest. It is not taken anew: damage done since would be hashed with the rest, and pass.
"""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from retrieval.release.manifest import MANIFEST_FILE, FileEntry, parse_manifest
from retrieval.release.verify import entry_of

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


def link(source: Path, target: Path) -> None:
    """Gives the file a second name; where the file system has no such thing, a copy."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)


def link_tree(source: Path, target: Path) -> None:
    """Gives every file of a folder a second name under another, which may be there."""

    def linked(path: str, other: str) -> None:
        link(Path(path), Path(other))

    shutil.copytree(source, target, copy_function=linked, dirs_exist_ok=True)


def entries_of(folder: Path, before: Path | None) -> dict[str, FileEntry]:
    """Size and hashes of every file of a folder.

    before: the release that it was made from; what is one file with that of the same name there has the entry
    that its manifest names. Raises IntegrityError on what is no plain file.
    """
    paths = sorted(folder.iterdir())
    known = {}
    if before is not None and any(path.lstat().st_nlink > 1 for path in paths):
        manifest = parse_manifest((before / MANIFEST_FILE).read_bytes(), before / MANIFEST_FILE)
        shared = [path.name for path in paths if _is_one(path, before, manifest.files)]
        known = {name: manifest.files[name] for name in shared}
    return {path.name: known[path.name] if path.name in known else entry_of(path) for path in paths}


def _is_one(path: Path, before: Path, files: Mapping[str, FileEntry]) -> bool:
    other = before / path.name
    return path.name in files and not path.is_symlink() and other.is_file() and path.samefile(other)
