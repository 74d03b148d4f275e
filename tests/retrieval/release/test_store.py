"""Publishing, opening, and what goes wrong in between: with real files, processes and signals."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.release.manifest import Description
from retrieval.release.store import current, open_release, publish
from tests.retrieval.release.publisher import description, write_files
from towers.errors import IntegrityError, ReleaseError

PUBLISHER = [sys.executable, "-m", "tests.retrieval.release.publisher"]


def _names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def test_a_published_release_opens_from_its_root_and_from_its_folder(tmp_path: Path) -> None:
    published = publish(tmp_path / "new" / "root", write_files)
    assert published.release_id == "r000001"
    for path in (tmp_path / "new" / "root", tmp_path / "new" / "root" / "r000001"):
        opened = open_release(path)
        assert opened == published
        assert opened.manifest.description == description()
        assert opened.manifest.parent is None
        assert set(opened.manifest.files) == {"a.bin", "b.bin", "c.bin"}
        assert opened.manifest.files["a.bin"].size_bytes == 5 * 20_000
    assert _names(tmp_path / "new" / "root") == {".lock", "CURRENT", "r000001"}


def test_the_manifest_is_checked_by_the_usual_tool(tmp_path: Path) -> None:
    info = publish(tmp_path, write_files)
    checked = subprocess.run(["sha256sum", "-c", "manifest.sha256"], cwd=info.folder, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_ids_rise_and_name_their_parent(tmp_path: Path) -> None:
    for number in range(1, 4):
        info = publish(tmp_path, write_files)
        assert info.release_id == f"r{number:06d}"
        assert info.manifest.parent == (None if number == 1 else f"r{number - 1:06d}")
    assert current(tmp_path) == "r000003"
    shutil.rmtree(tmp_path / "r000003")
    assert publish(tmp_path, write_files).release_id == "r000004"


def test_there_is_nothing_to_open_before_the_first_publish(tmp_path: Path) -> None:
    assert current(tmp_path) is None
    with pytest.raises(ReleaseError, match=r"no CURRENT .* run scripts/build_index\.py"):
        open_release(tmp_path)
    with pytest.raises(ReleaseError, match="no CURRENT"):
        open_release(tmp_path / "not there")


@pytest.mark.parametrize("content", [b"", b"../elsewhere\n", b"r000001\nr000002\n", b"\xff\xfe", b"/r000001"])
def test_a_pointer_that_names_no_release_is_refused(tmp_path: Path, content: bytes) -> None:
    publish(tmp_path, write_files)
    (tmp_path / "CURRENT").write_bytes(content)
    with pytest.raises(IntegrityError, match="CURRENT: holds"):
        open_release(tmp_path)


def test_a_pointer_to_a_release_that_is_gone_is_refused(tmp_path: Path) -> None:
    shutil.rmtree(publish(tmp_path, write_files).folder)
    with pytest.raises(IntegrityError, match=r"manifest\.json: is missing.*action=roll_back"):
        open_release(tmp_path)


def test_a_release_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, write_files)
    publish(tmp_path, write_files)
    shutil.rmtree(tmp_path / "r000002")
    shutil.copytree(tmp_path / "r000001", tmp_path / "r000002")
    with pytest.raises(IntegrityError, match="release_id is 'r000001'; expected 'r000002'"):
        open_release(tmp_path)


@pytest.mark.parametrize("name", ["a.bin", "b.bin", "c.bin", "manifest.json", "manifest.sha256"])
def test_one_changed_byte_in_any_file_is_named(tmp_path: Path, name: str) -> None:
    folder = publish(tmp_path, write_files).folder
    content = bytearray((folder / name).read_bytes())
    for place in (0, len(content) // 2, len(content) - 1):
        broken = content.copy()
        broken[place] ^= 1
        (folder / name).write_bytes(broken)
        with pytest.raises(IntegrityError) as caught:
            open_release(tmp_path)
        assert name in str(caught.value)
        assert "expects" in str(caught.value)


def test_every_manifest_byte_counts(tmp_path: Path) -> None:
    folder = publish(tmp_path, write_files).folder
    content = (folder / "manifest.json").read_bytes()
    for place in range(0, len(content), 7):
        broken = bytearray(content)
        broken[place] ^= 4
        (folder / "manifest.json").write_bytes(broken)
        with pytest.raises(IntegrityError, match=r"manifest\.json: SHA-256"):
            open_release(folder)


def test_missing_surplus_cut_and_linked_files_are_named(tmp_path: Path) -> None:
    folder = publish(tmp_path, write_files).folder

    def broken(name: str, message: str) -> None:
        with pytest.raises(IntegrityError, match=message) as caught:
            open_release(tmp_path)
        assert f"{folder / name}" in str(caught.value)

    content = (folder / "b.bin").read_bytes()
    (folder / "b.bin").unlink()
    broken("b.bin", "is missing")
    (folder / "b.bin").write_bytes(content[:-1])
    broken("b.bin", f"has {len(content) - 1} bytes; the manifest expects {len(content)}")
    (folder / "b.bin").unlink()
    outside = tmp_path / "outside"
    outside.write_bytes(content)
    (folder / "b.bin").symlink_to(outside)
    broken("b.bin", "is not a plain file")
    (folder / "b.bin").unlink()
    (folder / "b.bin").write_bytes(content)
    (folder / "d.bin").write_bytes(b"")
    broken("d.bin", "not in the manifest")
    (folder / "d.bin").unlink()
    open_release(tmp_path)


def _reseal(folder: Path, change: dict[str, object]) -> None:
    """Rewrites the manifest, with a hash that fits, as one who means harm would."""
    import hashlib

    document = json.loads((folder / "manifest.json").read_text()) | change
    content = json.dumps(document).encode()
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "sub/a.bin", "..", ".", "", "a\\b", "a\x00b", "manifest.json"]
)
def test_a_manifest_that_names_a_path_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = publish(tmp_path, write_files).folder
    (tmp_path / "secret").write_bytes(b"")
    empty = {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "size_bytes": 0}
    _reseal(folder, {"files": {name: empty}})
    with pytest.raises(IntegrityError, match="expected plain names in its folder"):
        open_release(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 5}, "format_version is 5; .* reads 1, 2, 3, 4"),
        ({"kind": "magic"}, "kind is 'magic'; expected one of towers, factors, lists"),
        ({"metric": "l2"}, "metric is 'l2'"),
        ({"release_id": 7}, "release_id is 7; expected str"),
        ({"dimension": True}, "dimension is True; expected int"),
        ({"counts": {"items": 1, "profiles": 1}}, "counts: events is None; expected int"),
        ({"index": {"kind": "magic", "m": 2, "ef_construction": 1, "ef_search": 1}}, "'magic'"),
        ({"index": {"kind": "flat", "m": 0, "ef_construction": 1, "ef_search": 1}}, r"index\.m: 0"),
        ({"gates": [1]}, "gates holds other than objects"),
        ({"files": {"a.bin": {"sha256": "xyz", "size_bytes": 0}}}, "64 lower-case hex digits"),
        ({"files": []}, "files is .*; expected dict"),
    ],
)
def test_a_manifest_of_another_form_is_refused_by_key(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = publish(tmp_path, write_files).folder
    _reseal(folder, change)
    with pytest.raises(ReleaseError, match=message):
        open_release(folder)


def test_a_publish_that_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    publish(tmp_path, write_files)
    before = _names(tmp_path)

    def failing(folder: Path) -> Description:
        write_files(folder)
        raise ValueError("the writer's own fault")

    with pytest.raises(ValueError, match="the writer's own fault"):
        publish(tmp_path, failing)
    assert _names(tmp_path) == before
    assert open_release(tmp_path).release_id == "r000001"


def test_a_context_that_is_not_json_is_refused(tmp_path: Path) -> None:
    def unfit(folder: Path) -> Description:
        about = write_files(folder)
        return replace(about, context={"path": tmp_path, "nan": float("nan")})

    with pytest.raises(ReleaseError, match="expected a context of JSON values"):
        publish(tmp_path, unfit)
    assert _names(tmp_path) == {".lock"}


def test_a_full_disk_leaves_the_old_release_and_nothing_else(tmp_path: Path) -> None:
    publish(tmp_path, write_files)
    before = _names(tmp_path)
    # A limit on the size of a file fails a write as a full disk does: part of it is written, then OSError.
    limited = subprocess.run(
        [*PUBLISHER, str(tmp_path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert "ReleaseError" in limited.stderr
    assert "the publish failed: [Errno 27]" in limited.stderr
    assert _names(tmp_path) == before
    assert open_release(tmp_path).release_id == "r000001"


@pytest.mark.parametrize("stage", ["aside", "renamed", "pointer cut short", "of an older version"])
def test_what_a_killed_publish_left_is_ignored_and_then_removed(tmp_path: Path, stage: str) -> None:
    publish(tmp_path, write_files)
    published = _names(tmp_path)
    left = tmp_path / ".aside-0123456789abcdef"
    left.mkdir()
    match stage:
        case "aside":
            shutil.copytree(tmp_path / "r000001", left / "r000002")
        case "renamed":
            shutil.copytree(tmp_path / "r000001", tmp_path / "r000002")
            (left / "NEXT").write_text("r000002\n")
        case "pointer cut short":
            (left / "NEXT").write_text("r000001")
        case "of an older version":
            shutil.copytree(tmp_path / "r000001", tmp_path / ".aside-r000002")
            (tmp_path / ".aside-CURRENT").write_text("r000002\n")
    assert open_release(tmp_path).release_id == "r000001"
    info = publish(tmp_path, write_files)
    assert info.manifest.parent == "r000001"
    assert _names(tmp_path) == published | {info.release_id}
    open_release(tmp_path)
    open_release(tmp_path / "r000001")


@pytest.mark.slow
def test_a_publisher_killed_at_any_moment_leaves_the_old_or_the_new_release(tmp_path: Path) -> None:
    publish(tmp_path, write_files)
    moments = random.Random(7)
    for _ in range(12):
        with subprocess.Popen([*PUBLISHER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as publisher:
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0.0, 0.05))
            before = current(tmp_path)
            publisher.kill()
        opened = open_release(tmp_path)
        assert before is not None
        assert opened.release_id >= before
        info = publish(tmp_path, write_files)
        assert info.manifest.parent == opened.release_id
        assert not [name for name in _names(tmp_path) if name.startswith(".aside")]
        for name in _names(tmp_path) - {".lock", "CURRENT"}:
            assert open_release(tmp_path / name).release_id == name


def test_of_two_publishers_one_is_told_to_wait(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [*PUBLISHER, str(tmp_path), "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        with pytest.raises(ReleaseError, match="another process is publishing here"):
            publish(tmp_path, write_files)
        second = subprocess.run([*PUBLISHER, str(tmp_path)], capture_output=True, text=True)
        assert "another process is publishing here" in second.stderr
        assert holder.stdin is not None
        holder.stdin.close()
        assert holder.wait(20) == 0
    assert open_release(tmp_path).release_id == "r000001"
    assert publish(tmp_path, write_files).release_id == "r000002"


def test_a_reader_sees_whole_releases_while_others_are_published(tmp_path: Path) -> None:
    publish(tmp_path, write_files)
    with subprocess.Popen([*PUBLISHER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdout is not None
        publisher.stdout.readline()
        seen = [open_release(tmp_path).release_id for _ in range(100)]
        while current(tmp_path) == seen[0]:
            time.sleep(0.01)
        seen += [open_release(tmp_path).release_id for _ in range(100)]
        publisher.kill()
    assert seen == sorted(seen)
    assert len(set(seen)) > 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ReleaseError, match=f"{tmp_path}: the publish failed"):
        publish(tmp_path, write_files)
