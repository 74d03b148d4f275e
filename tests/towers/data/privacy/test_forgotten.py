"""The list of forgotten profiles knows them again, and nobody reads from it who they are."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from towers.data.privacy.forgotten import Forgotten, ForgottenFile, read_forgotten, write_forgotten
from towers.errors import IntegrityError

WHEN, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def test_a_list_knows_whom_it_was_told_and_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "releases" / "FORGOTTEN"
    assert "ana" not in read_forgotten(path)
    write_forgotten(path, Forgotten().also(["ana", "zoë"], WHEN))
    read = read_forgotten(path)
    assert [id_ in read for id_ in ("ana", "zoë", "ben", "", "an")] == [True, True, False, False, False]
    assert read.places(["ben", "zoë", None, "ana"]) == [1, 3]
    assert read.since("ana") == WHEN
    assert read.since("ben") is None


def test_who_is_told_twice_keeps_the_first_moment_and_stands_once() -> None:
    twice = Forgotten().also(["ana"], WHEN).also(["ana", "ben"], LATER)
    assert (len(twice), twice.since("ana"), twice.since("ben")) == (2, WHEN, LATER)


def test_nothing_in_the_list_can_be_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "FORGOTTEN"
    write_forgotten(path, Forgotten().also(["ana"], WHEN))
    content = path.read_text()
    assert "ana" not in content
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        assert hashlib.new(name, b"ana").hexdigest()[:16] not in content
    # The same profile stands for something else in another list.
    other = Forgotten().also(["ana"], WHEN)
    assert not set(other.tokens) & set(read_forgotten(path).tokens)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format_version": 1, "secret": "", "tokens": {"a": "2026-01-01"}}']
)
def test_a_damaged_list_is_an_error_and_never_an_empty_one(content: str, tmp_path: Path) -> None:
    path = tmp_path / "FORGOTTEN"
    path.write_text(content)
    with pytest.raises(IntegrityError, match="FORGOTTEN"):
        read_forgotten(path)


def test_a_file_that_is_watched_is_as_it_stands_at_each_question(tmp_path: Path) -> None:
    path = tmp_path / "FORGOTTEN"
    watched = ForgottenFile(path)
    assert "ana" not in watched
    told = Forgotten().also(["ana"], WHEN)
    write_forgotten(path, told)
    assert "ana" in watched
    assert "ben" not in watched
    write_forgotten(path, told.also(["ben"], LATER))
    assert "ben" in watched
    path.unlink()
    assert "ana" in watched  # what was forgotten does not come back because a file is lost
    path.write_text("torn")
    with pytest.raises(IntegrityError):
        "ana" in watched  # noqa: B015  # asking raises
