"""Zip archives from elsewhere, unpacked without trusting what they say: no path leaves the folder."""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from towers.errors import DownloadError
from towers.folders import sync


def unpack(stream: BinaryIO, inner: str, folder: Path, max_bytes: int) -> None:
    """Puts the archive's folder `inner` at `folder`, which is absent or empty: all of it, or nothing.

    It is written aside, synced and renamed into place. Raises DownloadError on a member with an absolute
    path, a "..", a backslash or a drive, on links and other special files, on members that are encrypted,
    repeated, damaged, packed by other than deflate or inside another file, on more than max_bytes unpacked,
    and where `inner` is not in the archive.
    """
    aside = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            _check(members, folder.name, max_bytes)
            written = [_extract(archive, member, aside) for member in members]
        if not (aside / inner).is_dir():
            raise DownloadError(f"{folder.name}: the archive has no folder {inner}/; expected one")
        for parent in {path.parent for path in written}:
            sync(parent)
        (aside / inner).rename(folder)
        sync(folder.parent)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DownloadError(f"{folder.name}: {error}; expected a whole, readable zip archive") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check(members: list[zipfile.ZipInfo], where: str, max_bytes: int) -> None:
    """Refuses the whole archive for one member that is not a plain file or folder inside it."""
    seen: set[PurePosixPath] = set()
    files: set[PurePosixPath] = set()
    for member in members:
        # filename is cut at a NUL and has its separators changed; what was written is orig_filename.
        name = member.orig_filename
        path = PurePosixPath(name)
        # From Python 3.12 on a member's extra field may give it another filename than the one checked here.
        if member.filename != name:
            raise DownloadError(
                f"{where}: archive member {name!r} also calls itself {member.filename!r}; expected one name"
            )
        if path.is_absolute() or ".." in path.parts or any(c in name for c in "\\:\0") or not path.parts:
            raise DownloadError(f"{where}: archive member {name!r} leads outside; expected a path within")
        if path in seen:
            raise DownloadError(f"{where}: archive member {name!r} stands twice; expected it once")
        seen.add(path)
        if not member.is_dir():
            files.add(path)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DownloadError(
                f"{where}: archive member {name!r} is a link or a device; expected plain files"
            )
        if member.flag_bits & 1:
            raise DownloadError(f"{where}: archive member {name!r} is encrypted; expected plain files")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DownloadError(
                f"{where}: archive member {name!r} is packed by method {member.compress_type}; expected "
                "stored or deflated"
            )
    for path in seen:
        if inside := files.intersection(path.parents):
            raise DownloadError(
                f"{where}: archive member {str(path)!r} lies inside the file {str(min(inside))!r}; expected "
                "files in folders"
            )
    num_bytes = sum(member.file_size for member in members)  # no member yields more than it says
    if num_bytes > max_bytes:
        raise DownloadError(
            f"{where}: the archive unpacks to {num_bytes} bytes; expected at most {max_bytes}"
        )


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    """Writes one member below the folder and gives its path."""
    path = folder.joinpath(*PurePosixPath(member.orig_filename).parts)
    if member.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, path.open("xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    return path
