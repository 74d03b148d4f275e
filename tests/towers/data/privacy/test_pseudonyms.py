"""Pseudonyms are what the standard says, and nothing else can make or read them."""

import hashlib
from pathlib import Path

import pytest

from towers.data.privacy.pseudonyms import PseudonymKey, Pseudonyms, Whose, key_name, read_pseudonyms
from towers.errors import ConfigError, MissingDataError, ReleaseError

OLD, NEW = PseudonymKey(bytes(range(32))), PseudonymKey(bytes(range(1, 33)))


def hmac_by_hand(secret: bytes, content: bytes) -> bytes:
    """HMAC-SHA-256 as RFC 2104 writes it."""
    block = secret.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + content).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


def test_a_pseudonym_is_the_keyed_hash_of_the_id() -> None:
    wanted = hmac_by_hand(OLD.secret, b"profile\0" + "zoë".encode()).hex()[:32]
    name = hmac_by_hand(OLD.secret, b"name of the key").hex()[:8]
    assert OLD.pseudonym("zoë") == f"{name}-{wanted}"
    assert key_name(OLD.pseudonym("zoë")) == OLD.name == name


def test_half_of_a_character_is_nobodys_id_and_no_error() -> None:
    key = PseudonymKey(b"k" * 32)
    assert key.pseudonym("\ud800") not in {key.pseudonym(one) for one in ("", "?", "\ufffd", "\ud801")}


def test_a_household_and_a_profile_of_one_id_have_nothing_in_common() -> None:
    assert OLD.pseudonym("7") != OLD.pseudonym("7", Whose.HOUSEHOLD)


def test_no_key_shows_itself() -> None:
    assert OLD.secret.hex() not in repr(OLD)
    assert repr(OLD.secret) not in repr(Pseudonyms([OLD]))


def test_an_id_is_no_pseudonym() -> None:
    for id_ in ("p1", "", "0123abcd", "550e8400-e29b-41d4-a716-446655440000", OLD.pseudonym("a").upper()):
        assert key_name(id_) is None


def test_keys_are_read_newest_first_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"# rotated in May\n{NEW.secret.hex()}\n\n {OLD.secret.hex().upper()} \n"
    (tmp_path / "keys").write_text(text)
    monkeypatch.setenv("KEYS", text)
    for source in (str(tmp_path / "keys"), "env:KEYS"):
        assert read_pseudonyms(source).keys == [NEW, OLD]
        assert read_pseudonyms(source).newest == NEW


def test_a_line_that_is_no_key_is_named_by_its_number_and_not_shown(tmp_path: Path) -> None:
    for line in ("c0ffee" * 10, "correct horse battery staple" * 3):
        (tmp_path / "keys").write_text(f"{NEW.secret.hex()}\n{line}\n")
        with pytest.raises(ConfigError, match=r"privacy.key: .*keys:2: no key; expected 64 hex") as raised:
            read_pseudonyms(str(tmp_path / "keys"))
        assert line not in str(raised.value)
    (tmp_path / "keys").write_text(f"{NEW.secret.hex()}\n{NEW.secret.hex()}\n")
    with pytest.raises(ConfigError, match="a key twice"):
        read_pseudonyms(str(tmp_path / "keys"))


def test_where_there_is_no_key_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    for source in (str(tmp_path / "none"), "env:NO_SUCH_VARIABLE"):
        with pytest.raises(MissingDataError, match="openssl rand -hex 32"):
            read_pseudonyms(source)


def test_a_release_is_asked_under_the_key_that_it_was_made_with() -> None:
    both = Pseudonyms([NEW, OLD])
    assert both.of_release([OLD.pseudonym("a")], "r000001") == OLD
    assert both.of_release([NEW.pseudonym("a")], "r000002") == NEW
    assert both.of_release([], "r000003") == NEW
    with pytest.raises(ReleaseError, match=f"of the key {OLD.name}; expected one of {NEW.name}"):
        Pseudonyms([NEW]).of_release([OLD.pseudonym("a")], "r000001")
    with pytest.raises(ReleaseError, match="no pseudonyms"):
        both.of_release(["a"], "r000001")
