"""The claims `publish-kill` and `publish-faults` at a small size, and that they see what they look for."""

from pathlib import Path

import pytest

from benchmarks import publish_faults, publish_kill
from benchmarks.publish_faults import Found, injected, jobs, lost
from benchmarks.publish_reading import state
from benchmarks.release_making import variants
from benchmarks.release_world import Variant
from benchmarks.syscalls import preload
from retrieval.release.store import publish

preload("benchmarks.publish_jobs")
pytestmark = pytest.mark.usefixtures("watched_calls")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Variant, ...]:
    return variants(tmp_path_factory.mktemp("variants"), 2)


def test_kills_leave_whole_releases_to_all_who_look(known: tuple[Variant, ...], tmp_path: Path) -> None:
    found = publish_kill.kills(tmp_path, known, 8)
    assert found.pop("read beside") > 0
    assert found.pop("in a change") > 0
    wrong = ("unreadable", "torn", "next publish failed", "left behind")
    assert found == {"kills": 8, "whole": 8, **dict.fromkeys(wrong, 0)}


def test_publishers_at_once_have_one_winner_a_round_whatever_their_clocks_say(
    known: tuple[Variant, ...], tmp_path: Path
) -> None:
    found = publish_kill.rounds(tmp_path, known, 3, 6)
    assert found["rounds with one winner"] == 6
    assert found["versions rise by one"]
    assert found["each over the one before"]


def test_faults_and_losses_leave_the_old_or_the_new(known: tuple[Variant, ...], tmp_path: Path) -> None:
    copied, _, back, cleared = jobs(known)
    for job, every, of in ((copied, 23, 60), (back, 29, 4), (cleared, 31, 12)):
        faults, losses = Found(), Found()
        injected(job, known, tmp_path, faults, every)
        lost(job, known, tmp_path, losses, of)
        assert (faults.faults, losses.faults) == ([], [])
        assert faults.num_cases > 5
        assert losses.num_cases > 1
        assert faults.ended["ReleaseError"] > 0
        assert faults.share == losses.share == 1


def test_a_release_that_answers_as_another_is_torn(known: tuple[Variant, ...], tmp_path: Path) -> None:
    publish(tmp_path / "root", known[0].write)
    assert state(tmp_path / "root", known) == "whole"
    (tmp_path / "root" / "CURRENT").write_text("")
    assert state(tmp_path / "root", known) == "unreadable"
    (tmp_path / "root" / "CURRENT").write_text("r000001\n")
    assert state(tmp_path / "root", known[::-1]) == "torn"


def test_a_pointer_that_is_written_in_place_is_found(known: tuple[Variant, ...], tmp_path: Path) -> None:
    found = Found()
    lost(publish_faults.Job("in place", _in_place), known, tmp_path, found)
    assert any("unreadable" in fault for fault in found.faults)


def _in_place(root: Path) -> None:
    """Goes back as one would who knows no better: CURRENT is written where it lies."""
    (root / "CURRENT").write_text("r000001\n")
