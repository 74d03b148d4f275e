import contextlib
import hashlib
import io
import os
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.towers.data.https_site import Page, Site, serving, trust
from towers.data.download import Archive, download
from towers.errors import DownloadError

RATINGS = os.urandom(40_000)  # does not compress, so that the archive has bytes enough to be cut in
FILES = {"ml-x/ratings.csv": RATINGS, "ml-x/deep/readme.txt": b"read me"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def site(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("SSL_CERT_FILE", str(trust(authority, tmp_path)))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(authority) as site:
        yield site


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "movies"


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def publish(site: Site, body: bytes, path: str = "/ml-x.zip") -> Archive:
    site.pages[path] = Page(body)
    return Archive(site.url(path), hashlib.sha256(body).hexdigest(), "ml-x", 100_000, 1_000_000)


def is_complete(folder: Path) -> bool:
    return (folder / "ratings.csv").is_file()


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir()) if folder.parent.exists() else []


def assert_in_place(folder: Path) -> None:
    assert (folder / "ratings.csv").read_bytes() == RATINGS
    assert (folder / "deep" / "readme.txt").read_bytes() == b"read me"
    assert beside(folder) == ["movies"]


def test_a_download_puts_the_whole_folder_in_place_and_leaves_nothing_beside_it(
    site: Site, folder: Path
) -> None:
    download(publish(site, zipped(FILES)), folder, is_complete)
    assert_in_place(folder)
    assert site.asked == [("/ml-x.zip", None)]


def test_a_complete_folder_is_not_downloaded_again(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    download(archive, folder, is_complete)
    download(archive, folder, is_complete)
    assert len(site.asked) == 1
    assert_in_place(folder)


def test_an_empty_folder_is_filled(site: Site, folder: Path) -> None:
    folder.mkdir(parents=True)
    download(publish(site, zipped(FILES)), folder, is_complete)
    assert_in_place(folder)


def test_the_working_folder_itself_can_be_filled(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    download(publish(site, zipped(FILES)), Path(), is_complete)
    monkeypatch.chdir(folder.parent)
    assert_in_place(folder)


def test_a_folder_that_holds_something_else_is_never_overwritten(site: Site, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(DownloadError, match="nothing is overwritten"):
        download(publish(site, zipped(FILES)), folder, is_complete)
    assert (folder / "thesis.txt").read_text() == "years of work"
    assert site.asked == []
    assert beside(folder) == ["movies"]


def test_a_wrong_hash_leaves_nothing_behind(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    site.pages["/ml-x.zip"].body = zipped({"ml-x/ratings.csv": b"forged"})
    with pytest.raises(DownloadError, match=rf"SHA-256 .* expected {archive.sha256}"):
        download(archive, folder, is_complete)
    assert beside(folder) == []


@pytest.mark.parametrize("says_length", [True, False])
def test_an_archive_over_its_cap_is_given_up_and_leaves_nothing_behind(
    site: Site, folder: Path, says_length: bool
) -> None:
    archive = publish(site, zipped({"ml-x/ratings.csv": os.urandom(200_000)}))
    site.pages["/ml-x.zip"].says_length = says_length
    with pytest.raises(DownloadError, match="expected at most 100000"):
        download(archive, folder, is_complete)
    assert beside(folder) == []


def test_a_cut_line_is_taken_up_again_where_it_broke(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    site.pages["/ml-x.zip"].breaks = [10_000, 5_000]
    download(archive, folder, is_complete)
    assert_in_place(folder)
    assert [asked for _, asked in site.asked] == [None, "bytes=10000-", "bytes=15000-"]


def test_a_download_that_failed_goes_on_from_its_part_file_the_next_time(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    site.pages["/ml-x.zip"].breaks = [10_000, 0]
    with pytest.raises(DownloadError, match="broke after 10000 bytes"):
        download(archive, folder, is_complete)
    (part,) = folder.parent.iterdir()
    assert part.read_bytes() == site.pages["/ml-x.zip"].body[:10_000]

    site.asked.clear()
    download(archive, folder, is_complete)
    assert_in_place(folder)
    assert site.asked == [("/ml-x.zip", "bytes=10000-")]


def test_a_server_that_ignores_ranges_is_read_from_the_start(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    site.pages["/ml-x.zip"].breaks = [10_000]
    site.pages["/ml-x.zip"].serves_ranges = False
    download(archive, folder, is_complete)
    assert_in_place(folder)


def test_a_server_that_always_breaks_at_one_point_is_given_up(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    site.pages["/ml-x.zip"].breaks = [10_000] * 50
    site.pages["/ml-x.zip"].serves_ranges = False
    with pytest.raises(DownloadError, match="run it again"):
        download(archive, folder, is_complete)
    assert len(site.asked) == 2


@pytest.mark.parametrize("num_bytes", [500, 90_000])
def test_a_part_file_of_something_else_is_replaced(site: Site, folder: Path, num_bytes: int) -> None:
    archive = publish(site, zipped(FILES))
    folder.parent.mkdir()
    folder.with_name(f".movies-{archive.sha256[:12]}.part").write_bytes(os.urandom(num_bytes))
    download(archive, folder, is_complete)
    assert_in_place(folder)


def test_a_part_file_that_is_already_whole_is_not_asked_for(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    folder.parent.mkdir()
    folder.with_name(f".movies-{archive.sha256[:12]}.part").write_bytes(site.pages["/ml-x.zip"].body)
    download(archive, folder, is_complete)
    assert site.asked == []
    assert_in_place(folder)


def test_what_a_killed_process_had_unpacked_is_thrown_away(site: Site, folder: Path) -> None:
    leftover = folder.with_name(".movies.unpacking") / "ml-x"
    leftover.mkdir(parents=True)
    (leftover / "ratings.csv").write_bytes(b"half")
    download(publish(site, zipped(FILES)), folder, is_complete)
    assert_in_place(folder)


def test_an_address_that_is_not_https_is_refused(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    plain = Archive(archive.url.replace("https", "http"), archive.sha256, "ml-x", 100_000, 100_000)
    with pytest.raises(DownloadError, match="expected an https:// address"):
        download(plain, folder, is_complete)
    assert beside(folder) == []


def test_a_redirect_away_from_https_is_refused(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    site.pages["/ml-x.zip"].location = f"http://127.0.0.1:{site.server_port}/plain.zip"
    with pytest.raises(DownloadError, match=r"^http://\S+ refused; expected an https:// address$"):
        download(archive, folder, is_complete)
    assert site.asked == [("/ml-x.zip", None)]
    assert beside(folder) == []


def test_a_redirect_within_https_is_followed_and_keeps_the_range(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    site.pages["/mirror.zip"] = Page(site.pages["/ml-x.zip"].body, breaks=[10_000])
    site.pages["/ml-x.zip"].location = site.url("/mirror.zip")
    download(archive, folder, is_complete)
    assert_in_place(folder)
    assert site.asked[-1] == ("/mirror.zip", "bytes=10000-")


def test_an_archive_without_a_pinned_hash_is_refused(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    with pytest.raises(DownloadError, match="no pinned SHA-256"):
        download(Archive(archive.url, "", "ml-x", 100_000, 100_000), folder, is_complete)
    assert site.asked == []


def test_an_address_that_is_not_there_is_named_with_the_servers_answer(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    del site.pages["/ml-x.zip"]
    with pytest.raises(DownloadError, match=r"ml-x\.zip: HTTP 404"):
        download(archive, folder, is_complete)
    assert beside(folder) == []


def test_a_certificate_of_an_unknown_authority_is_refused(
    site: Site, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(trust(trustme.CA(), stranger)))
    with pytest.raises(DownloadError, match="CERTIFICATE_VERIFY_FAILED"):
        download(publish(site, zipped(FILES)), folder, is_complete)
    assert beside(folder) == []


def with_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("ml-x/ratings.csv")
        link.create_system = 3
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def with_repeated_member() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ml-x/ratings.csv", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("ml-x/ratings.csv", b"two")
    return buffer.getvalue()


def with_encrypted_member() -> bytes:
    body = bytearray(zipped({"ml-x/ratings.csv": b"1"}))
    body[6] |= 1  # general purpose flag, bit 0, in the local header and in the central directory
    body[body.index(b"PK\x01\x02") + 8] |= 1
    return bytes(body)


def packed_otherwise(compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("ml-x/ratings.csv", RATINGS)
    whole = buffer.getvalue()
    return whole[:100] + bytes(100) + whole[200:]  # whose own decoder would complain in its own words


def with_damaged_member() -> bytes:
    whole = zipped({"ml-x/ratings.csv": RATINGS})
    return whole[:20_000] + bytes(100) + whole[20_100:]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (zipped({"ml-x/ratings.csv": b"1", "../evil": b"2"}), "leads outside"),
        (zipped({"ml-x/ratings.csv": b"1", "ml-x/../../evil": b"2"}), "leads outside"),
        (zipped({"ml-x/ratings.csv": b"1", "/evil": b"2"}), "leads outside"),
        (zipped({"ml-x/ratings.csv": b"1", "..\\evil": b"2"}), "leads outside"),
        (zipped({"ml-x/ratings.csv": b"1", "C:/evil": b"2"}), "leads outside"),
        (with_link(), "link or a device"),
        (with_repeated_member(), "stands twice"),
        (with_encrypted_member(), "is encrypted"),
        (packed_otherwise(zipfile.ZIP_LZMA), "packed by method 14"),
        (packed_otherwise(zipfile.ZIP_BZIP2), "packed by method 12"),
        (
            zipped({"ml-x/ratings.csv": b"1", "ml-x/ratings.csv/a": b"2"}),
            "inside the file 'ml-x/ratings.csv'",
        ),
        (zipped({"ml-x/a/b/c": b"1", "ml-x/a": b"2"}), "inside the file 'ml-x/a'"),
        (with_damaged_member(), "expected a whole, readable zip archive"),
        (zipped({"ml-x/ratings.csv": bytes(2_000_000)}), "expected at most 1000000"),
        (zipped({"other/ratings.csv": b"1"}), "no folder ml-x/"),
        (b"<html>not a zip at all</html>", "expected a whole, readable zip archive"),
    ],
)
def test_an_unsafe_or_broken_archive_is_refused_whole(
    site: Site, folder: Path, body: bytes, complaint: str
) -> None:
    with pytest.raises(DownloadError, match=complaint):
        download(publish(site, body), folder, is_complete)
    assert beside(folder) == []
    assert sorted(path.name for path in folder.parent.parent.iterdir()) == ["authority.pem", "data"]


def test_a_member_with_a_second_name_is_never_written_under_it(site: Site, folder: Path) -> None:
    # The Unicode Path field, 0x7075: version, CRC-32 of the first name, the other name. Python reads it since
    # 3.12 and then refuses the archive; before, the first name is the only one.
    name, other = b"ml-x/a.txt", b"../../evil.txt"
    content = struct.pack("<BL", 1, zlib.crc32(name)) + other
    member = zipfile.ZipInfo(name.decode())
    member.extra = struct.pack("<HH", 0x7075, len(content)) + content
    buffer = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(member, b"1")
    with contextlib.suppress(DownloadError):
        download(publish(site, buffer.getvalue()), folder, is_complete)
    assert list(folder.parent.parent.rglob("evil.txt")) == []


def test_a_place_that_cannot_be_written_is_a_download_error(site: Site, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / "file").write_text("in the way")
    archive = publish(site, zipped(FILES))
    with pytest.raises(DownloadError, match="expected a place that can be written"):
        download(archive, folder.parent / "file" / "ml-x", is_complete)


PROGRAM = """
import logging, sys
from pathlib import Path
from towers.data.download import Archive, download
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
url, sha256, folder = sys.argv[1:]
archive = Archive(url, sha256, "ml-x", 100_000, 1_000_000)
download(archive, Path(folder), lambda folder: (folder / "ratings.csv").is_file())
"""


def test_of_two_processes_at_once_one_downloads_and_the_other_waits_for_it(site: Site, folder: Path) -> None:
    archive = publish(site, zipped(FILES))
    answer = threading.Event()
    site.pages["/ml-x.zip"].wait_for = answer
    command = [sys.executable, "-u", "-c", PROGRAM, archive.url, archive.sha256, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert site.was_asked.wait(timeout=60)  # the first one is in the middle of its download
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert "found another process downloading" in second.stdout.readline()
            answer.set()
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(site.asked) == 1
    assert_in_place(folder)
