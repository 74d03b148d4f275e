"""Sealed files are what the standards say, and open nowhere else, cut, changed, or without their key."""

import hashlib
import hmac
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from towers.data.privacy import sealed
from towers.data.privacy.pseudonyms import PseudonymKey
from towers.data.privacy.sealed import (
    StoreKey,
    StoreKeys,
    read_sealed,
    read_store_keys,
    sealed_under,
    write_sealed,
)
from towers.errors import ConfigError, IntegrityError, MissingDataError, MissingExtraError, StoreKeyError

OLD, NEW = StoreKey(bytes(range(32))), StoreKey(bytes(range(1, 65)))
PLACE = ("r000001", "profiles.parquet")
PART = 64


@pytest.fixture(autouse=True)
def _short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "PART_BYTES", PART)


def drawn_by_hand(secret: bytes, salt: bytes) -> bytes:
    """64 bytes by HKDF-SHA-256 as RFC 5869 writes it."""
    info = b"hkdf-sha256/aes-256-gcm-stream/1"
    drawn = hmac.digest(salt, secret, hashlib.sha256)
    first = hmac.digest(drawn, info + b"\x01", hashlib.sha256)
    return first + hmac.digest(drawn, first + info + b"\x02", hashlib.sha256)


def sealed_by_hand(content: bytes, key: StoreKey, salt: bytes) -> bytes:
    """The file as the head of the module draws it."""
    drawn = drawn_by_hand(key.secret, salt)
    name = hmac.digest(key.secret, b"name of the store key", hashlib.sha256)[:4]
    header = b"TTRSEAL\x01" + name + salt + drawn[32:]
    bound = header + b"\0\0\0\x07r000001" + b"\0\0\0\x10profiles.parquet"
    parts = [content[start : start + PART] for start in range(0, len(content), PART)] or [b""]
    body = b""
    for number, part in enumerate(parts):
        nonce = number.to_bytes(11, "big") + (b"\x01" if number == len(parts) - 1 else b"\0")
        body += AESGCM(drawn[:32]).encrypt(nonce, part, bound)
    return header + body


@pytest.mark.parametrize("length", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 3 * PART + 5])
def test_a_file_is_what_the_standards_say_and_reads_back(length: int, tmp_path: Path) -> None:
    content, path = bytes(range(256))[:length], tmp_path / "file"
    write_sealed(path, content, NEW, PLACE)
    written = path.read_bytes()
    salt = written[12:44]
    assert written == sealed_by_hand(content, NEW, salt)
    assert read_sealed(path, StoreKeys([OLD, NEW]), PLACE) == content
    path.write_bytes(sealed_by_hand(content, OLD, b"\x07" * 32))
    assert read_sealed(path, StoreKeys([NEW, OLD]), PLACE) == content
    assert sealed_under(path) == OLD.name
    path.write_bytes(content)
    assert sealed_under(path) is None


def test_the_same_sealed_twice_has_neither_salt_nor_key_stream_in_common(tmp_path: Path) -> None:
    for name in "ab":
        write_sealed(tmp_path / name, bytes(1000), NEW, PLACE)
    first, second = ((tmp_path / name).read_bytes() for name in "ab")
    assert first[:12] == second[:12]
    for start in range(12, len(first) - 16, 16):
        assert first[start : start + 16] != second[start : start + 16]


def test_a_file_with_any_byte_changed_or_cut_off_or_added_is_refused(tmp_path: Path) -> None:
    content, path = bytes(range(150)), tmp_path / "file"
    write_sealed(path, content, NEW, PLACE)
    whole = path.read_bytes()
    part = PART + 16
    first, second = whole[76 : 76 + part], whole[76 + part : 76 + 2 * part]
    others = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(len(whole))]
    others += [whole[:length] for length in range(len(whole))]
    others += [whole + b"\0", whole + first, whole[:76] + second + first + whole[76 + 2 * part :]]
    for other in others:
        path.write_bytes(other)
        with pytest.raises((IntegrityError, StoreKeyError)):
            read_sealed(path, StoreKeys([NEW, OLD]), PLACE)
    path.write_bytes(whole)
    assert read_sealed(path, StoreKeys([NEW, OLD]), PLACE) == content


@pytest.mark.parametrize(
    "place",
    [
        ("r000002", "profiles.parquet"),
        ("r000001", "others.parquet"),
        ("r000001profiles", ".parquet"),
        ("r000001",),
        ("r000001", "profiles.parquet", ""),
    ],
)
def test_a_file_opens_in_no_other_place(place: tuple[str, ...], tmp_path: Path) -> None:
    write_sealed(tmp_path / "file", b"content", NEW, PLACE)
    with pytest.raises(IntegrityError, match=f"part 1 of 1 is not as the store key {NEW.name} sealed it"):
        read_sealed(tmp_path / "file", StoreKeys([NEW]), place)


def test_without_its_key_the_error_names_the_one_that_is_missing_and_those_that_are_there(
    tmp_path: Path,
) -> None:
    write_sealed(tmp_path / "file", b"content", OLD, PLACE)
    with pytest.raises(StoreKeyError, match=f"under the store key {OLD.name}, and no key was given"):
        read_sealed(tmp_path / "file", None, PLACE)
    with pytest.raises(StoreKeyError, match=f"under the store key {OLD.name}; expected one of {NEW.name}"):
        read_sealed(tmp_path / "file", StoreKeys([NEW]), PLACE)


def test_another_key_of_the_same_name_is_told_from_the_one_that_sealed(tmp_path: Path) -> None:
    write_sealed(tmp_path / "file", b"content", OLD, PLACE)
    other = StoreKey(NEW.secret)
    object.__setattr__(other, "name", OLD.name)
    with pytest.raises(IntegrityError, match=f"not those that the store key {OLD.name} wrote"):
        read_sealed(tmp_path / "file", StoreKeys([other]), PLACE)


def test_keys_are_read_as_those_of_pseudonyms_and_have_other_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text(f"# newest\n{NEW.secret.hex()}\n{OLD.secret.hex()}\n")
    monkeypatch.setenv("KEYS", (tmp_path / "keys").read_text())
    for source in (str(tmp_path / "keys"), "env:KEYS"):
        keys = read_store_keys(source)
        assert keys == StoreKeys([NEW, OLD])
        assert NEW.secret.hex() not in repr(keys)
        assert repr(NEW.secret) not in repr(keys)
    assert PseudonymKey(NEW.secret).name != NEW.name
    assert read_store_keys(None) is None
    with pytest.raises(MissingDataError, match=r"^store_key: no key in nowhere; .* > store\.key"):
        read_store_keys("nowhere")
    (tmp_path / "keys").write_text("c0ffee")
    with pytest.raises(ConfigError, match=r"^store_key: .*keys:1: no key; expected 64 hex digits"):
        read_store_keys(str(tmp_path / "keys"))


def test_without_the_library_the_error_names_the_extra_before_any_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(NEW.secret.hex())
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(MissingExtraError, match=r"expected the extra `privacy`"):
        read_store_keys(str(tmp_path / "keys"))
    assert read_store_keys(None) is None
