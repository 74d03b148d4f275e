"""Calls of the kernel, seen and failed."""

import errno
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from benchmarks.syscalls import KILL, Call, Ended, preload, run

preload("tests.benchmarks.test_syscalls")
pytestmark = pytest.mark.usefixtures("watched_calls")


def _job(folder: Path) -> None:
    (folder / "below").mkdir()
    os.chdir(folder)
    with Path("below/a").open("w") as file:
        file.write("text")
        file.flush()
        os.fsync(file.fileno())
    Path("below/a").rename(folder / "b")
    descriptor = os.open(folder, os.O_RDONLY)
    os.unlink("b", dir_fd=descriptor)


def _by_another_program(folder: Path) -> None:
    """A library that is not Python's own."""
    subprocess.run(["cp", folder / "from", folder / "to"], check=True)


def test_what_a_job_does_is_seen_with_the_paths_that_it_is_about(tmp_path: Path) -> None:
    seen: list[tuple[str, tuple[str, ...]]] = []

    def see(call: Call) -> int:
        if call.is_below(tmp_path) and call.name in ("mkdir", "write", "fsync", "rename", "unlinkat"):
            seen.append((call.name, tuple(path.removeprefix(f"{tmp_path}/") for path in call.paths)))
        return 0

    assert run(partial(_job, tmp_path), see) == Ended()
    assert seen == [
        ("mkdir", ("below",)),
        ("write", ("below/a",)),
        ("fsync", ("below/a",)),
        ("rename", ("below/a", "b")),
        ("unlinkat", ("b",)),
    ]


def test_a_call_that_is_failed_is_not_made_and_the_job_is_told(tmp_path: Path) -> None:
    ended = run(partial(_job, tmp_path), lambda call: errno.ENOSPC if call.name == "rename" else 0)
    assert ended.error[:2] == ("OSError", "Exception")
    assert os.strerror(errno.ENOSPC) in ended.message
    assert (tmp_path / "below" / "a").read_text() == "text"


def test_a_job_may_be_killed_between_two_calls(tmp_path: Path) -> None:
    ended = run(partial(_job, tmp_path), lambda call: KILL if call.name == "rename" else 0)
    assert ended == Ended(killed=True)
    assert (tmp_path / "below" / "a").exists()


def test_calls_of_other_programs_that_a_job_starts_are_seen_too(tmp_path: Path) -> None:
    (tmp_path / "from").write_text("text")

    def fail(call: Call) -> int:
        return errno.EACCES if call.is_below(tmp_path / "to") and call.name.startswith("open") else 0

    assert run(partial(_by_another_program, tmp_path), fail).error[0] == "CalledProcessError"
    assert not (tmp_path / "to").exists()
