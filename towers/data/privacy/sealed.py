"""Files encrypted at rest: sealed under a key and for one place, opened whole, unchanged and there alone.

    magic and version   8 bytes
    name of the key     4 bytes
    salt                32 bytes, random, of this file alone
    commitment          32 bytes, by which the key is known to be the one
    parts               of 1 MiB, the last one shorter or as long, each with its tag of 16 bytes

The master key encrypts nothing itself: each file has a key of its own, drawn from it and the salt by HKDF, so
that no nonce has to be random and none returns: that of a part is its number and whether it is the last
(STREAM). Under one key no more is encrypted than one file, whose parts are far below what GCM allows: 64 GiB
each, 2^32 of them. What is bound to each part beside its place in the file is the header and the place that
the file was sealed for, such as its release and name.

GCM alone lets one file be opened under two keys, each giving another content; the commitment does not.

Sources: AES-GCM, NIST SP 800-38D; HKDF, RFC 5869; STREAM, Hoang et al., CRYPTO 2015, eprint 2015/189; on
commitment, Albertini et al., USENIX Security 2022, eprint 2020/1456.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from towers.data.privacy.extra import cryptography
from towers.data.privacy.keys import read_keys
from towers.errors import IntegrityError, StoreKeyError

SCHEME = "hkdf-sha256/aes-256-gcm-stream/1"
"""What a manifest says of how a file is sealed."""
PART_BYTES = 1 << 20

_MAGIC = b"TTRSEAL\x01"
_NAME_BYTES, _SALT_BYTES, _COMMITMENT_BYTES, _KEY_BYTES, _TAG_BYTES, _NUMBER_BYTES = 4, 32, 32, 32, 16, 11
_HEADER_BYTES = len(_MAGIC) + _NAME_BYTES + _SALT_BYTES + _COMMITMENT_BYTES


@dataclass(frozen=True, slots=True)
class StoreKey:
    """One secret key for what is stored; `name` says which it is and tells nothing about it."""

    secret: bytes = field(repr=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hmac.digest(self.secret, b"name of the store key", hashlib.sha256)
        object.__setattr__(self, "name", digest[:_NAME_BYTES].hex())


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """Keys, the newest first: that one seals, any of them opens."""

    keys: Sequence[StoreKey]

    @property
    def newest(self) -> StoreKey:
        """The key of what is sealed from now on."""
        return self.keys[0]


def read_store_keys(source: str | None, key: str = "store_key") -> StoreKeys | None:
    """The keys that lie in a file, or with env:NAME in the environment, as `read_keys`; None where none is.

    Raises MissingExtraError too, before any work, where nothing could be sealed or opened with them.
    """
    if source is None:
        return None
    cryptography("hazmat.primitives.ciphers.aead")
    return StoreKeys(read_keys(source, key, StoreKey, "store.key"))


def sealed_under(path: Path) -> str | None:
    """The name of the key that a file is sealed under; None where it is not sealed. Nothing is decrypted."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header.startswith(_MAGIC):
        return None
    return header[len(_MAGIC) :][:_NAME_BYTES].hex()


def write_sealed(path: Path, content: Any, key: StoreKey, place: Sequence[str]) -> None:
    """Writes a file that holds this content, any buffer of bytes, sealed for a place.

    What is in clear stays in memory: no byte of it touches the disk.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    cipher, commitment = _drawn(key, salt)
    header = _MAGIC + bytes.fromhex(key.name) + salt + commitment
    bound = _bound(header, place)
    view = memoryview(content).cast("B")
    num_parts = max(1, -(-len(view) // PART_BYTES))
    with path.open("wb") as file:
        file.write(header)
        for part in range(num_parts):
            clear = view[part * PART_BYTES : (part + 1) * PART_BYTES]
            file.write(cipher.encrypt(_nonce(part, num_parts), clear, bound))


def read_sealed(path: Path, keys: StoreKeys | None, place: Sequence[str]) -> bytearray:
    """The content of a sealed file, no byte of which is given before all of it proved unchanged.

    Raises StoreKeyError where the key that it names is not there, and IntegrityError where it is cut short,
    changed, or was sealed for another place.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        body_bytes = size_bytes - len(header)
        if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC) or body_bytes < _TAG_BYTES:
            raise IntegrityError(f"{path}: {size_bytes} bytes that are not those of a whole sealed file")
        salt = header[len(_MAGIC) + _NAME_BYTES :][:_SALT_BYTES]
        key = _key_of(path, header[len(_MAGIC) :][:_NAME_BYTES].hex(), keys)
        cipher, commitment = _drawn(key, salt)
        if not hmac.compare_digest(commitment, header[-_COMMITMENT_BYTES:]):
            raise IntegrityError(
                f"{path}: its first bytes are not those that the store key {key.name} wrote; expected the "
                "file as it was sealed, and the key of this name that sealed it"
            )
        bound, invalid = _bound(header, place), cryptography("exceptions").InvalidTag
        num_parts = -(-body_bytes // (PART_BYTES + _TAG_BYTES))
        clear = bytearray()
        for part in range(num_parts):
            try:
                clear += cipher.decrypt(_nonce(part, num_parts), file.read(PART_BYTES + _TAG_BYTES), bound)
            except (invalid, ValueError) as error:
                raise IntegrityError(
                    f"{path}: part {part + 1} of {num_parts} is not as the store key {key.name} sealed it; "
                    f"expected a file that is unchanged, whole, and was sealed for {' '.join(place)}"
                ) from error
    return clear


def _key_of(path: Path, name: str, keys: StoreKeys | None) -> StoreKey:
    if keys is None:
        raise StoreKeyError(
            f"{path}: is sealed under the store key {name}, and no key was given; expected store_key=… of a "
            "script, or store_keys of Retriever.open"
        )
    for key in keys.keys:
        if key.name == name:
            return key
    held = ", ".join(key.name for key in keys.keys)
    raise StoreKeyError(
        f"{path}: is sealed under the store key {name}; expected one of {held}: keep an old key as long as a "
        "release that it sealed is there"
    )


def _drawn(key: StoreKey, salt: bytes) -> tuple[Any, bytes]:
    """The cipher of one file, and the commitment to the key: 512 bits by HKDF, half for each."""
    hkdf = cryptography("hazmat.primitives.kdf.hkdf").HKDF
    sha256 = cryptography("hazmat.primitives.hashes").SHA256
    drawn = hkdf(sha256(), _KEY_BYTES + _COMMITMENT_BYTES, salt, SCHEME.encode()).derive(key.secret)
    cipher = cryptography("hazmat.primitives.ciphers.aead").AESGCM(drawn[:_KEY_BYTES])
    return cipher, drawn[_KEY_BYTES:]


def _bound(header: bytes, place: Sequence[str]) -> bytes:
    """What each part is bound to: the header, and each word of the place behind its length."""
    words = [word.encode() for word in place]
    return header + b"".join(len(word).to_bytes(4, "big") + word for word in words)


def _nonce(part: int, num_parts: int) -> bytes:
    return part.to_bytes(_NUMBER_BYTES, "big") + bytes([part == num_parts - 1])
