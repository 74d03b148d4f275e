"""Where remote releases lie: what every store must do, and which are refused.

TOWERS_TEST_REMOTE: the URL of a real store (s3://bucket/prefix) that is to do the same; skipped without.
"""

import os
import secrets
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrieval.release.remote.objects import Objects, masked, open_objects, require_exclusive
from tests.retrieval.release.remote.stores import Fault, MemoryBucket, bucket, failing, told
from towers.errors import ConfigError, MissingExtraError, ReleaseError


@pytest.fixture(params=["bucket", "folder", "file_url", "real"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    match request.param:
        case "bucket":
            return bucket()
        case "folder":
            return open_objects(str(tmp_path / "not" / "there"))
        case "file_url":
            return open_objects(f"file://{tmp_path}/shared")
        case _:
            url = os.environ.get("TOWERS_TEST_REMOTE")
            if url is None:
                pytest.skip("TOWERS_TEST_REMOTE is not set; expected the URL of a real store")
            return open_objects(f"{url}/{secrets.token_hex(8)}")


def test_an_empty_store_holds_nothing(objects: Objects, tmp_path: Path) -> None:
    assert objects.read("log/1") is None
    assert objects.sizes("files") == {}
    objects.remove("log/1")
    with pytest.raises(FileNotFoundError):
        objects.get("files/a/b", tmp_path / "got")
    with pytest.raises(FileNotFoundError):
        list(objects.blocks("files/a/b"))
    with pytest.raises(FileNotFoundError):
        objects.modified("files/a/b")


def test_what_is_written_is_read_listed_and_removed(objects: Objects, tmp_path: Path) -> None:
    content = bytes(range(256)) * 9_000
    (tmp_path / "file").write_bytes(content)
    objects.put("files/a/one", tmp_path / "file")
    objects.create("files/a/two", b"two")
    objects.create("log/1", b"")
    assert objects.sizes("files") == {"files/a/one": len(content), "files/a/two": 3}
    assert objects.sizes("log") == {"log/1": 0}
    assert objects.sizes("fil") == {}
    assert b"".join(objects.blocks("files/a/one")) == content
    objects.get("files/a/one", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == content
    assert objects.read("files/a/two") == b"two"
    assert abs(objects.modified("files/a/two") - datetime.now(UTC)) < timedelta(hours=1)
    objects.remove("files/a/one")
    assert objects.sizes("files") == {"files/a/two": 3}


def test_of_eight_that_create_one_object_one_succeeds(objects: Objects) -> None:
    def create(writer: int) -> int | None:
        try:
            objects.create("log/1", b"%d" % writer * 1000)
        except FileExistsError:
            return None
        return writer

    for _ in range(5):
        with ThreadPoolExecutor(8) as threads:
            (winner,) = [one for one in threads.map(create, range(8)) if one is not None]
        assert objects.read("log/1") == b"%d" % winner * 1000
        objects.remove("log/1")
    require_exclusive(objects)
    assert objects.sizes("files") == {}


def test_a_store_where_both_of_two_creates_succeed_is_refused() -> None:
    bucket()
    careless = open_objects("careless://shop/service")
    with pytest.raises(ConfigError, match=r"^remote: careless://shop/service lets a second write take the"):
        require_exclusive(careless)
    assert not MemoryBucket.stored


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("local:///srv/releases", r"LocalFileSystem has no write that fails where an object stands"),
        ("simplecache::bucket://shop/service", "is a chain of stores"),
        ("bucket://", "names no bucket"),
        ("nowhere://shop/service", "Protocol not known: nowhere; expected such as s3://bucket/prefix"),
        ("file://srv/releases", "names no folder; expected file:///folder"),
    ],
)
def test_what_can_be_no_remote_is_refused_when_it_is_named(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^remote: .*{said}"):
        open_objects(url)


@pytest.mark.parametrize(("module", "said"), [("fsspec", r"\[objectstore\]"), ("s3fs", "Install s3fs")])
def test_a_library_that_is_missing_is_named(module: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=said):
        open_objects("s3://shop/service")


def test_a_file_system_without_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuses)
    with pytest.raises(ReleaseError, match=r"cannot be written: .*Operation not permitted"):
        require_exclusive(open_objects(str(tmp_path)))
    assert open_objects(str(tmp_path)).sizes("files") == {}


def test_who_loses_the_answer_to_a_create_finds_it_his_own() -> None:
    objects = bucket()
    with failing(Fault(0, is_after=True)):
        objects.create("log/1", b"mine")
    assert objects.read("log/1") == b"mine"
    with failing(Fault(0)), pytest.raises(FileExistsError):
        objects.create("log/1", b"other")


def test_a_create_is_tried_again_where_a_store_answers_that_another_tries_too() -> None:
    objects = bucket()
    with failing(Fault(0)):
        objects.create("log/1", b"mine")
    assert objects.read("log/1") == b"mine"

    def never(verb: str, key: str) -> None:
        if verb == "create":
            raise OSError("409 ConditionalRequestConflict")

    with told(never), pytest.raises(ReleaseError, match=r"log/2: cannot be written: .*409 Cond"):
        objects.create("log/2", b"mine")
    assert objects.read("log/2") is None


_SECRET_URL = "bucket://key:hush@shop/service?sig=hush2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (_SECRET_URL, "bucket://…@shop/service"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("abfs://box@account.dfs.core.windows.net/a", "abfs://box@account.dfs.core.windows.net/a"),
        ("https://hush@host/a", "https://…@host/a"),
        ("/srv/releases", "/srv/releases"),
    ],
)
def test_secrets_of_a_url_are_not_shown(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_no_error_tells_a_secret(tmp_path: Path) -> None:
    objects = open_objects(_SECRET_URL)

    def says_all(verb: str, key: str) -> None:
        raise RuntimeError(f"{_SECRET_URL}: aws_secret_access_key=hush3 was refused for hush2")

    (tmp_path / "file").touch()
    calls: tuple[Callable[[], object], ...] = (
        lambda: objects.read("a"),
        lambda: objects.create("a", b"a"),
        lambda: objects.put("a", tmp_path / "file"),
        lambda: objects.get("a", tmp_path / "file"),
        lambda: list(objects.blocks("a")),
        lambda: objects.sizes("a"),
        lambda: objects.modified("a"),
        lambda: objects.remove("a"),
    )
    with told(says_all):
        for call in calls:
            with pytest.raises(ReleaseError, match="RuntimeError") as caught:
                call()
            assert "hush" not in str(caught.value)
            assert caught.value.__suppress_context__
