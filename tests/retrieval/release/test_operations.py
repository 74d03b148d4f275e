"""Looking, pinning, going back and clearing away: with real folders, processes and signals."""

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from retrieval.release import verify
from retrieval.release.manifest import Description
from retrieval.release.operations import pin, pins, prunable, prune, roll_back, standing, unpin
from retrieval.release.store import current, open_release, publish, release_ids
from retrieval.release.verify import Verify
from retrieval.release.writer import single_writer
from tests.retrieval.release.publisher import description, write_files
from towers.errors import ConflictError, IntegrityError, ReleaseError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four releases, the last of them current."""
    for _ in range(4):
        publish(tmp_path, write_files)
    return tmp_path


def test_going_back_makes_the_parent_current_and_the_next_publish_goes_on_from_it(root: Path) -> None:
    assert roll_back(root) == "r000003"
    assert open_release(root).release_id == current(root) == "r000003"
    assert roll_back(root) == "r000002"
    info = publish(root, write_files)
    assert (info.release_id, info.manifest.parent) == ("r000005", "r000002")
    assert release_ids(root) == [f"r{number:06d}" for number in range(1, 6)]


def test_going_back_to_a_named_release_and_forward_again(root: Path) -> None:
    assert roll_back(root, "r000001") == "r000001"
    with pytest.raises(ReleaseError, match="r000001 is the first release; there is none to go back to"):
        roll_back(root)
    assert roll_back(root, "r000004") == "r000004"
    assert current(root) == "r000004"


@pytest.mark.parametrize("target", ["r000009", "../r000001", "CURRENT"])
def test_going_back_to_what_is_not_there_is_refused(root: Path, target: str) -> None:
    with pytest.raises(ReleaseError, match=r"no release .*; there are r000001, r000002, r000003, r000004"):
        roll_back(root, target)
    assert current(root) == "r000004"


def test_a_release_that_is_not_there_is_told_from_those_that_are(root: Path) -> None:
    with pytest.raises(ReleaseError, match="no release 'r000009'; there are r000001, r000002"):
        open_release(root / "r000009")


def test_a_change_over_one_release_is_refused_over_another(root: Path) -> None:
    with pytest.raises(ConflictError, match="r000004 is current; expected r000003"):
        roll_back(root, "r000001", only_over="r000003")
    assert current(root) == "r000004"
    assert roll_back(root, "r000001", only_over="r000004") == "r000001"


def test_a_damaged_release_does_not_become_current(root: Path) -> None:
    path = root / "r000003" / "b.bin"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"b\.bin: SHA-256"):
        roll_back(root)
    assert current(root) == "r000004"
    found = {one.release_id: one for one in standing(root, Verify.FULL)}
    assert "b.bin: SHA-256" in (found["r000003"].fault or "")
    assert found["r000003"].manifest is None
    assert [one.release_id for one in found.values() if one.fault] == ["r000003"]
    assert not [one for one in standing(root) if one.fault]  # sizes are as they were


def test_releases_are_shown_with_what_is_said_of_them(root: Path) -> None:
    pin(root, "r000002")
    roll_back(root)
    shown = standing(root)
    assert [one.release_id for one in shown] == release_ids(root)
    assert [one.release_id for one in shown if one.is_current] == ["r000003"]
    assert [one.release_id for one in shown if one.is_pinned] == ["r000002"]
    assert all(one.manifest is not None and one.manifest.description == description() for one in shown)


def test_clearing_away_leaves_the_current_the_pinned_and_the_newest(root: Path) -> None:
    publish(root, write_files)
    roll_back(root, "r000002")
    pin(root, "r000001")
    assert prunable(root, 2) == ("r000003",)
    assert prune(root, 2) == ("r000003",)
    assert release_ids(root) == ["r000001", "r000002", "r000004", "r000005"]
    unpin(root, "r000001")
    assert prune(root, 1) == ("r000001", "r000004")
    assert open_release(root).release_id == "r000002"
    assert publish(root, write_files).release_id == "r000006"


@pytest.mark.parametrize("keep", [0, -1])
def test_the_newest_release_always_stays(root: Path, keep: int) -> None:
    with pytest.raises(ReleaseError, match="expected 1 or more"):
        prune(root, keep)
    assert len(release_ids(root)) == 4


def test_pins_of_what_is_gone_are_forgotten_and_others_refused(root: Path) -> None:
    pin(root, "r000001")
    pin(root, "r000001")
    shutil.rmtree(root / "r000001")
    pin(root, "r000002")
    assert pins(root) == {"r000002"}
    with pytest.raises(ReleaseError, match="no release 'r000001'"):
        pin(root, "r000001")


@pytest.mark.parametrize("content", ["", "{}", '["r1"]', "[1]", "nonsense"])
def test_pins_that_are_none_stop_the_clearing(root: Path, content: str) -> None:
    (root / "PINS").write_text(content)
    with pytest.raises(IntegrityError, match="PINS"):
        prune(root, 1)
    assert len(release_ids(root)) == 4


def test_nothing_is_changed_where_nothing_was_published(tmp_path: Path) -> None:
    for change in (
        lambda: roll_back(tmp_path / "no"),
        lambda: prune(tmp_path, 1),
        lambda: pin(tmp_path, "r000001"),
    ):
        with pytest.raises(ReleaseError, match="nothing was published yet"):
            change()
    assert not (tmp_path / "no").exists()


def test_no_change_while_another_publishes(root: Path) -> None:
    with single_writer(root):
        for change in (lambda: roll_back(root), lambda: prune(root, 1), lambda: pin(root, "r000001")):
            with pytest.raises(ReleaseError, match="another process is publishing"):
                change()
    assert (current(root), len(release_ids(root)), pins(root)) == ("r000004", 4, frozenset())


def test_a_lock_file_that_was_replaced_is_no_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.flock

    def replaced(file: IO[str], how: int) -> None:
        lock(file, how)
        (root / ".lock").unlink()
        (root / ".lock").touch()

    monkeypatch.setattr(fcntl, "flock", replaced)
    with pytest.raises(ReleaseError, match="was replaced while it was taken"):
        publish(root, write_files)
    assert current(root) == "r000004"


_BACK_AND_FORTH = """
import sys
from pathlib import Path
from typing import IO
from retrieval.release.operations import prune, roll_back
from retrieval.release.store import publish
from tests.retrieval.release.publisher import write_files
root = Path(sys.argv[1])
print("begun", flush=True)
while True:
    publish(root, write_files)
    publish(root, write_files)
    roll_back(root)
    prune(root, 2)
"""


def test_a_kill_at_any_moment_leaves_a_current_release_and_the_next_change_succeeds(root: Path) -> None:
    for turn in range(4):  # an interpreter each
        process = subprocess.Popen([sys.executable, "-c", _BACK_AND_FORTH, str(root)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(0.011 * turn)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert open_release(root).release_id == current(root)
        publish(root, write_files)
        prune(root, 3)
        assert not [path.name for path in root.iterdir() if path.name.startswith(".aside")]
        assert not [one for one in standing(root, Verify.FULL) if one.fault]


def _long_file(folder: Path) -> Description:
    (folder / "long.bin").write_bytes(bytes(range(100)))
    (folder / "short.bin").write_bytes(b"short")
    return description()


def _flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_how_much_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "BLOCK_BYTES", 10)
    publish(tmp_path, _long_file)
    entry = open_release(tmp_path).manifest.files
    assert (len(entry["long.bin"].blocks), entry["short.bin"].blocks) == (10, ())
    for level in Verify:
        open_release(tmp_path, level)
    _flipped(tmp_path / "r000001" / "long.bin", 55)
    open_release(tmp_path, Verify.TRUSTED)
    with pytest.raises(IntegrityError, match=r"long\.bin"):
        open_release(tmp_path, Verify.FULL)
    caught = 0
    for _ in range(200):
        try:
            open_release(tmp_path, Verify.SAMPLED)
        except IntegrityError:
            caught += 1
    assert 20 <= caught <= 90  # two of the eight blocks in between: a quarter
    _flipped(tmp_path / "r000001" / "long.bin", 55)
    for place in (0, 99):
        _flipped(tmp_path / "r000001" / "long.bin", place)
        with pytest.raises(IntegrityError, match=r"long\.bin"):
            open_release(tmp_path, Verify.SAMPLED)
        _flipped(tmp_path / "r000001" / "long.bin", place)
    _flipped(tmp_path / "r000001" / "short.bin", 2)
    with pytest.raises(IntegrityError, match=r"short\.bin"):
        open_release(tmp_path, Verify.SAMPLED)


def test_a_manifest_without_blocks_is_looked_into_wholly(tmp_path: Path) -> None:
    publish(tmp_path, _long_file)
    folder = tmp_path / "r000001"
    document = json.loads((folder / "manifest.json").read_text())
    document["format_version"] = 2
    for entry in document["files"].values():
        del entry["blocks"]
    content = json.dumps(document).encode()
    (folder / "manifest.json").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / "manifest.sha256").write_text(f"{sha256}  manifest.json\n")
    open_release(tmp_path, Verify.SAMPLED)
    _flipped(folder / "long.bin", 55)
    with pytest.raises(IntegrityError, match=r"long\.bin: SHA-256"):
        open_release(tmp_path, Verify.SAMPLED)


def test_blocks_that_do_not_cover_the_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "BLOCK_BYTES", 10)
    publish(tmp_path, _long_file)
    monkeypatch.setattr(verify, "BLOCK_BYTES", 20)
    with pytest.raises(IntegrityError, match="the manifest has 10 blocks; expected 5"):
        open_release(tmp_path, Verify.SAMPLED)
