"""Checkpoint files: whole or not there, sealed with their own hash, and read as data alone."""

import hashlib
import os
import struct
from pathlib import Path
from typing import IO, Any

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO

from towers.errors import DISK_FULL, StorageError, TrainingError
from towers.folders import sync

_COMMENT_SIZE = struct.Struct("<H")
_PREFIX = b"sha256:"
_SEAL_BYTES = len(_PREFIX) + 2 * hashlib.sha256().digest_size
_CHUNK_BYTES = 1 << 20


class SealedCheckpoints(CheckpointIO):
    """How Lightning writes and reads every checkpoint of a training.

    A checkpoint is torch's ZIP file with the SHA-256 of all before it as the archive's comment: one file, so
    that one rename replaces both, and any reader of such files can still read it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes aside, syncs and renames: a reader finds the older file or this one.

        Raises StorageError where the disk has no room; the older file stays.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.new")
        try:
            with aside.open("w+b") as file:
                torch.save(checkpoint, file)
                _seal(file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            sync(path.parent)
        except (OSError, RuntimeError) as error:
            aside.unlink(missing_ok=True)
            if _is_disk_full(error):
                raise StorageError(
                    f"{path}: no room for a checkpoint; the one before stays: free the disk and go on with "
                    "trainer.resume=true"
                ) from error
            raise

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The content of a checkpoint: tensors and plain values, whatever is asked; nothing in it can run.

        Raises TrainingError where the file is not the one that was written; it is not parsed then.
        """
        path = Path(path)
        with path.open("rb") as file:
            _check_seal(file, path)
            file.seek(0)
            content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        return content

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)


def check_checkpoint(path: Path) -> None:
    """Raises TrainingError where the file is not whole, as it was written."""
    with path.open("rb") as file:
        _check_seal(file, path)


def _seal(file: IO[bytes]) -> None:
    """Makes the hash of a ZIP file its comment; the comment's length is the last field of what is hashed."""
    file.seek(-_COMMENT_SIZE.size, os.SEEK_END)
    file.write(_COMMENT_SIZE.pack(_SEAL_BYTES))
    digest = _digest(file, file.tell())
    file.write(_PREFIX + digest.encode())


def _check_seal(file: IO[bytes], path: Path) -> None:
    size = file.seek(0, os.SEEK_END) - _SEAL_BYTES
    found = ""
    if size > 0:
        file.seek(size)
        seal = file.read(_SEAL_BYTES)
        if seal.startswith(_PREFIX):
            found = seal.removeprefix(_PREFIX).decode("ascii", "replace")
    if not found:
        problem = "does not end with its SHA-256"
    elif (digest := _digest(file, size)) != found:
        problem = f"has the SHA-256 {digest}, but ends with {found}"
    else:
        return
    raise TrainingError(
        f"{path}: {problem}; expected a checkpoint as it was written: put back a copy, or say "
        "trainer.resume=false to train anew"
    )


def _digest(file: IO[bytes], num_bytes: int) -> str:
    """SHA-256 of the first bytes of a file; leaves the file after them."""
    digest = hashlib.sha256()
    file.seek(0)
    while num_bytes > 0 and (chunk := file.read(min(num_bytes, _CHUNK_BYTES))):
        digest.update(chunk)
        num_bytes -= len(chunk)
    return digest.hexdigest()


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether there was no room; torch's writer fails a second time over the first failure."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__context__
    return False
