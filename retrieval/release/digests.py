"""Digests of the titles of a build: 128 bits a row, by which a later look knows what is as it was.

A digest is the keyed SipHash of a row's canonical bytes (`row_bytes`). Its key are the first bytes of the
SHA-256 of the items file that it lies beside: with another file no digest fits, and nobody who supplies
titles knows the key while they choose them. Releases without the file are read as before; who wants the
digests takes them of the table.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import UInt64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from retrieval.release.row_bytes import encoded_lines
from retrieval.siphash import KEY_BYTES, siphashes
from towers.data.schema import ITEMS
from towers.errors import ReleaseError

DIGESTS_FILE = "items_digests.safetensors"

# Encoded at once by each of the threads: it stays near the cache.
_NUM_ROWS = 1 << 14
_NUM_THREADS = 2
_COLUMNS = {"columns": ", ".join(ITEMS.names)}
"""What the digests are of: those of other columns are not looked at."""


def digests(items: pa.Table, key: bytes) -> UInt64[np.ndarray, "n 2"]:
    """The digest of each line of an items table. Equal lines have equal ones, in any table and order."""
    starts = range(0, items.num_rows, _NUM_ROWS)

    def of_some(start: int) -> np.ndarray:
        lines = encoded_lines(items.slice(start, _NUM_ROWS))
        return siphashes(lines.data, lines.start, lines.length, key)

    with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="digests") as several:
        return np.concatenate([np.empty((0, 2), np.uint64), *several.map(of_some, starts)])


def key_of(items_sha256: str) -> bytes:
    """The key of the digests beside an items file of this SHA-256, as hex digits."""
    return bytes.fromhex(items_sha256)[:KEY_BYTES]


def key_beside(path: Path) -> bytes:
    """The key of the digests beside this items file."""
    with path.open("rb") as file:
        return key_of(hashlib.file_digest(file, "sha256").hexdigest())


def write_digests(folder: Path, found: UInt64[np.ndarray, "N 2"]) -> None:
    """Writes DIGESTS_FILE into a folder that exists."""
    (folder / DIGESTS_FILE).write_bytes(save({"digest": found}, metadata=_COLUMNS))


def read_digests(folder: Path) -> UInt64[np.ndarray, "N 2"] | None:
    """What `write_digests` wrote; None where there is none, or where titles had other columns then.

    Raises ReleaseError where the file holds something else.
    """
    path = folder / DIGESTS_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            if file.metadata() != _COLUMNS:
                return None
            found: np.ndarray = file.get_tensor("digest")
    except SafetensorError as error:
        raise ReleaseError(f"{path}: {error}; expected a safetensors file") from error
    if found.dtype != np.uint64 or found.ndim != 2 or found.shape[1] != 2:
        raise ReleaseError(f"{path}: holds {found.dtype} {found.shape}; expected digest uint64 (rows, 2)")
    return found
