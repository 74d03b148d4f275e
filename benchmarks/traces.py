"""What is left of a person in a folder: every byte of every file, as it stands and as it is read."""

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.numpy import load

from retrieval.profile_store import stored_table
from towers.data.privacy.sealed import StoreKeys, sealed_under


def spellings(text: str) -> set[bytes]:
    """A text in every form in which it could lie in a file: encodings, base64, and hashes, raw and in hex."""
    found = {text.encode(name) for name in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")}
    plain = text.encode()
    for shift in range(3):  # where in its triples of bytes a base64 text has it; what shares one is cut off
        coded = base64.b64encode(bytes(shift) + plain).rstrip(b"=")
        found.add(coded[(0, 2, 3)[shift] : len(coded) - 1])
    digests = [hashlib.new(name, plain).digest() for name in ("md5", "sha1", "sha256", "sha512", "blake2b")]
    for whole in (plain, *digests):
        found |= {whole, whole.hex().encode(), whole.hex().upper().encode()}
    return found


def bytes_left(
    folder: Path,
    texts: Iterable[str],
    moments_ms: Iterable[int] = (),
    store_keys: StoreKeys | None = None,
) -> dict[str, int]:
    """By file, the bytes of a folder that tell of a person; {} where there are none.

    texts: ids, pseudonyms, searches, each in all its spellings; those of fewer than six bytes are looked for
    as they are read alone: chance would find them anywhere. moments_ms: of events that are this person's
    alone, in Unix milliseconds, as numbers of milliseconds and of seconds. store_keys: with them what is
    sealed is also looked into as it is opened; without, as it stands alone.
    """
    texts = tuple(texts)
    needles = {needle for text in texts for needle in spellings(text) if len(needle) >= 6}
    moments = {moment // unit for moment in moments_ms for unit in (1, 1000)}
    numbers = {np.int64(moment).tobytes() for moment in moments}
    left = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        pieces = [content, str(path.relative_to(folder)).encode(), *_read(path, content, store_keys)]
        num = sum(piece.count(needle) * len(needle) for piece in pieces for needle in needles | numbers)
        if num:
            left[path.relative_to(folder).as_posix()] = num
    return left


def _read(path: Path, content: bytes, store_keys: StoreKeys | None) -> Iterator[bytes]:
    """What stands in a compressed file, in pieces of bytes."""
    if path.suffix == ".parquet":
        if sealed_under(path) is None or store_keys is not None:
            for column in stored_table(path, store_keys).columns:
                yield from _values(column)
    elif path.suffix == ".safetensors":
        yield from (array.tobytes() for array in load(content).values())
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from map(archive.read, archive.namelist())


def _values(column: pa.ChunkedArray) -> Iterator[bytes]:
    """The buffers of a column without its codes: texts one after another, numbers as they lie in memory."""
    for chunk in column.chunks:
        decoded = chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk
        yield from (buffer.to_pybytes() for buffer in decoded.buffers() if buffer is not None)
