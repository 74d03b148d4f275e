"""Whether a release's files are the ones its manifest names, looked into wholly or in part."""

import hashlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from functools import partial
from pathlib import Path

from retrieval.release.manifest import HASH_FILE, MANIFEST_FILE, FileEntry, Manifest, Seal, parse_manifest
from towers.data.privacy.sealed import SCHEME, sealed_under
from towers.errors import IntegrityError

BLOCK_BYTES = 16 << 20
"""Files longer than this have a hash for each block of so many bytes, besides the one of the whole."""

_BLOCKS_SAMPLED = 4
# Hashing holds no interpreter lock, and files wait for the disk.
_NUM_THREADS = 4


class Verify(StrEnum):
    """How much of a release is hashed before it is read; names, sizes and the manifest's hash always are."""

    FULL = "full"
    """Every byte."""
    SAMPLED = "sampled"
    """Short files whole; of each long one the first block, the last and two drawn at random."""
    TRUSTED = "trusted"
    """Nothing more: for a folder that was verified before, on a disk that is trusted since."""


def verified(folder: Path, verify: Verify = Verify.FULL) -> Manifest:
    """The manifest of a release whose files are those it names.

    Raises IntegrityError naming a file that is missing, surplus, changed or not a plain file, as far as it
    was looked into: names and sizes of all before the content of any, several files at once.
    """
    content = _read_plain(folder / MANIFEST_FILE)
    expected = _read_plain(folder / HASH_FILE)
    found = hashlib.sha256(content).hexdigest()
    if expected != f"{found}  {MANIFEST_FILE}\n".encode():
        raise IntegrityError(
            f"{folder / MANIFEST_FILE}: SHA-256 is {found}; {HASH_FILE} expects "
            f"{expected[:64].decode('ascii', errors='replace')!r}"
        )
    manifest = parse_manifest(content, folder / MANIFEST_FILE)
    surplus = {path.name for path in folder.iterdir()} - {*manifest.files, MANIFEST_FILE, HASH_FILE}
    if surplus:
        raise IntegrityError(
            f"{folder / min(surplus)}: not in the manifest; expected only the files it names"
        )
    checks = [
        check for name, entry in manifest.files.items() for check in _checks(folder / name, entry, verify)
    ]
    with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="verify") as several:
        try:
            for hashed in [several.submit(check) for check in checks]:
                hashed.result()
        except BaseException:
            several.shutdown(wait=False, cancel_futures=True)
            raise
    return manifest


def verified_file(folder: Path, manifest: Manifest, name: str) -> Path:
    """One file of a release, every byte hashed; IntegrityError where it is not the one that is named."""
    for check in _checks(folder / name, manifest.files[name], Verify.FULL):
        check()
    return folder / name


def entry_of(path: Path) -> FileEntry:
    """Size, hashes and seal of a plain file; IntegrityError where it is none."""
    _require_plain(path)
    whole, blocks, size_bytes = hashlib.sha256(), [], 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            whole.update(block)
            blocks.append(hashlib.sha256(block).hexdigest())
            size_bytes += len(block)
    key = sealed_under(path)
    return FileEntry(
        sha256=whole.hexdigest(),
        size_bytes=size_bytes,
        blocks=tuple(blocks) if len(blocks) > 1 else (),
        sealed=None if key is None else Seal(SCHEME, key),
    )


def _checks(path: Path, expected: FileEntry, verify: Verify) -> Iterator[Callable[[], None]]:
    """What is to be hashed of a file, piece by piece, once its name and size are as they must be."""
    _require_plain(path)
    size_bytes = path.stat().st_size
    if size_bytes != expected.size_bytes:
        raise IntegrityError(f"{path}: has {size_bytes} bytes; the manifest expects {expected.size_bytes}")
    if verify is Verify.TRUSTED:
        return
    if verify is Verify.FULL or not expected.blocks:
        yield partial(_check_whole, path, expected)
        return
    last = -(-expected.size_bytes // BLOCK_BYTES) - 1
    if len(expected.blocks) != last + 1:
        raise IntegrityError(f"{path}: the manifest has {len(expected.blocks)} blocks; expected {last + 1}")
    between = random.sample(range(1, last), min(_BLOCKS_SAMPLED - 2, last - 1))
    for place in (0, *sorted(between), last):
        yield partial(_check_block, path, place, expected.blocks[place])


def _check_whole(path: Path, expected: FileEntry) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.sha256:
        raise IntegrityError(f"{path}: SHA-256 is {found}; the manifest expects {expected.sha256}")


def _check_block(path: Path, place: int, expected: str) -> None:
    with path.open("rb") as file:
        file.seek(place * BLOCK_BYTES)
        found = hashlib.sha256(file.read(BLOCK_BYTES)).hexdigest()
    if found != expected:
        raise IntegrityError(f"{path}: SHA-256 of block {place} is {found}; the manifest expects {expected}")


def _read_plain(path: Path) -> bytes:
    _require_plain(path)
    return path.read_bytes()


def _require_plain(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        found = "is not a plain file" if path.is_symlink() or path.exists() else "is missing"
        raise IntegrityError(f"{path}: {found}; expected every file of a release in its folder")
