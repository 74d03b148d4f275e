"""Replaced folders, with real processes killed at every step of a replacement."""

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from towers.errors import ConfigError
from towers.folders import file_aside, only_one, replace_file, replace_folder


def writer(text: str, *names: str) -> "Writer":
    return Writer(text, names or ("a", "b"))


class Writer:
    """Writes its text into every file; remembers the folder it was given."""

    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        self.text, self.names = text, names
        self.folder: Path | None = None

    def __call__(self, folder: Path) -> None:
        self.folder = folder
        assert list(folder.iterdir()) == []
        for name in self.names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(self.text)


def content(folder: Path) -> dict[str, str] | None:
    if not folder.exists():
        return None
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir())


OLD, NEW = {"a": "old", "b": "old"}, {"a": "new", "b": "new"}
LEFT = [".model.lock", "model"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "model"


def test_a_folder_is_made_with_its_parents_and_replaced_as_a_whole(folder: Path) -> None:
    replace_folder(folder, writer("old", "a", "gone", "within/c"))
    assert content(folder) == {"a": "old", "gone": "old", "within/c": "old"}
    replace_folder(folder, writer("new"))
    assert content(folder) == NEW
    assert beside(folder) == LEFT


def test_a_write_that_fails_leaves_the_older_folder_and_nothing_else(folder: Path) -> None:
    replace_folder(folder, writer("old"))

    def fail(aside: Path) -> None:
        (aside / "a").write_text("new")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        replace_folder(folder, fail)
    assert content(folder) == OLD
    assert beside(folder) == LEFT


def test_a_new_folder_that_cannot_be_moved_in_brings_the_older_one_back(folder: Path) -> None:
    replace_folder(folder, writer("old"))
    event = threading.Event()

    def refuse(name: str, arguments: tuple[object, ...]) -> None:
        if event.is_set() and name == "os.rename" and str(arguments[0]).endswith(".new"):
            event.clear()
            raise PermissionError("read-only")

    sys.addaudithook(refuse)
    event.set()
    with pytest.raises(PermissionError, match="read-only"):
        replace_folder(folder, writer("new"))
    assert content(folder) == OLD
    assert beside(folder) == LEFT


def test_a_link_to_a_folder_stays_a_link(folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir()
    (tmp_path / "disk").mkdir()
    folder.symlink_to(tmp_path / "disk")
    replace_folder(folder, writer("new"))
    assert folder.is_symlink()
    assert content(tmp_path / "disk") == NEW


def test_a_file_in_the_place_of_the_folder_is_refused_and_kept(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("mine")
    with pytest.raises(ConfigError, match="model: is a file; expected a folder"):
        replace_folder(folder, writer("new"))
    assert folder.read_text() == "mine"


def test_every_file_and_every_name_is_on_disk_before_the_older_folder_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_folder(folder, writer("old"))
    synced: list[tuple[int, dict[str, str] | None]] = []
    sync = os.fsync

    def record(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, content(folder)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    replace_folder(folder, writer("new", "a", "within/b"))
    inside = {path.stat().st_ino for path in (folder, *folder.rglob("*"))}
    assert len(inside) == 4
    assert inside <= {inode for inode, at_that_time in synced if at_that_time == OLD}
    assert synced[-1] == (folder.parent.stat().st_ino, {"a": "new", "within/b": "new"})


# The audit hook sees every rename and removal before it happens: there the process dies, uncleaned.
KILLED = """
import os, sys
from pathlib import Path
from towers.folders import only_one, replace_file, replace_folder
folder, event, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = 0
def die(name, arguments):
    global seen
    seen += name == event
    if seen == count:
        os._exit(9)
def write(aside):
    (aside / "a").write_text("new")
    sys.audit("half")
    (aside / "b").write_text("new")
sys.addaudithook(die)
replace_folder(folder, write)
"""


@pytest.mark.parametrize(
    ("event", "count", "found", "left", "repaired"),
    [
        ("half", 1, OLD, [".model.new"], OLD),
        ("os.rename", 1, OLD, [".model.new"], OLD),
        ("os.rename", 2, None, [".model.new", ".model.old"], OLD),
        ("shutil.rmtree", 1, NEW, [".model.old"], NEW),
    ],
)
def test_a_kill_at_any_step_leaves_a_whole_folder_that_the_next_call_finds(
    event: str,
    count: int,
    found: dict[str, str] | None,
    left: list[str],
    repaired: dict[str, str],
    folder: Path,
) -> None:
    replace_folder(folder, writer("old"))
    command = [sys.executable, "-c", KILLED, str(folder), event, str(count)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == 9, killed.stderr
    assert content(folder) == found
    assert set(beside(folder)) - set(LEFT) == set(left)

    def look(aside: Path) -> None:
        assert content(folder) == repaired
        assert beside(folder) == sorted([*LEFT, ".model.new"])
        (aside / "a").write_text("newest")

    replace_folder(folder, look)
    assert content(folder) == {"a": "newest"}
    assert beside(folder) == LEFT


def test_of_two_writers_at_once_the_second_waits_for_the_first(folder: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()
    order = []

    def slow(aside: Path) -> None:
        inside.set()
        assert go_on.wait(60)
        order.append("slow")
        (aside / "a").write_text("slow")

    def quick(aside: Path) -> None:
        order.append("quick")
        (aside / "a").write_text("quick")

    first = threading.Thread(target=replace_folder, args=(folder, slow))
    first.start()
    assert inside.wait(60)
    second = threading.Thread(target=replace_folder, args=(folder, quick))
    second.start()
    second.join(0.2)  # long enough for one that does not wait to be caught
    go_on.set()
    first.join()
    second.join()
    assert order == ["slow", "quick"]
    assert content(folder) == {"a": "quick"}


def test_of_two_writers_of_a_file_at_once_the_second_waits_and_each_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    begun, go_on, found = threading.Event(), threading.Event(), []

    def first() -> None:
        with file_aside(path) as aside, aside.open("wb") as file:
            file.write(b"first, ")
            file.flush()
            begun.set()
            assert go_on.wait(60)
            file.write(b"and whole")

    def second() -> None:
        with file_aside(path) as aside:
            found.append(path.read_bytes())
            aside.write_bytes(b"second")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert begun.wait(60)
    threads[1].start()
    threads[1].join(0.2)
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == [b"first, and whole"]
    assert path.read_bytes() == b"second"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_writer_of_a_file_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half of a long")
    with file_aside(tmp_path / "file") as aside, aside.open("ab") as file:
        file.write(b"short")
    assert (tmp_path / "file").read_bytes() == b"short"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_held_by_one_job_at_a_time_and_freed_by_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "ladder"
    holding = (
        "import sys, time; from pathlib import Path; from towers.folders import only_one\n"
        f"with only_one(Path({str(folder)!r}), 'climb'):\n    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", holding], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="another climb is under way"), only_one(folder, "climb"):
            raise AssertionError("two hold it")
        other.kill()
        other.wait()
    with only_one(folder, "climb"):
        assert folder.is_dir()


def test_a_file_that_cannot_be_written_whole_leaves_the_older_one_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "found.json"
    replace_file(path, "old")
    # A limit on the size of a file fails a write as a full disk does: part of it is written, then OSError.
    program = (
        "import sys; from pathlib import Path; from towers.folders import replace_file;"
        "replace_file(Path(sys.argv[1]), 'new' * 10_000)"
    )
    limited = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000)),
    )
    assert "OSError: [Errno 27]" in limited.stderr
    assert path.read_text() == "old"
    replace_file(path, "new" * 10_000)
    assert path.read_text() == "new" * 10_000
    assert [each.name for each in path.parent.iterdir()] == ["found.json"]
