"""One writer at a time: overtaken ones change nothing, whenever it happens, and whatever the clocks say."""

import errno
import fcntl
import os
from functools import partial
from pathlib import Path

import pytest

from benchmarks.syscalls import Call, preload, run
from retrieval.release.manifest import Description
from retrieval.release.operations import standing
from retrieval.release.store import current, open_release, publish, release_ids, release_of
from retrieval.release.verify import Verify
from retrieval.release.writer import single_writer
from tests.retrieval.release.publisher import write_files
from towers.errors import ConflictError, ReleaseError

preload("tests.retrieval.release.test_writer")


def _chain(root: Path) -> list[str]:
    """The current release, the one that it was published over, and so on."""
    release_id, found = current(root), list[str]()
    while release_id is not None:
        found.append(release_id)
        release_id = release_of(root, release_id).manifest.parent
    return found


def _names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def _calls(root: Path) -> int:
    """The calls on files that one publish makes."""
    num = 0

    def count(call: Call) -> int:
        nonlocal num
        num += call.is_below(root)
        return 0

    publish(root, write_files)
    assert not run(partial(publish, root, write_files), count).error
    return num


@pytest.mark.usefixtures("watched_calls")
def test_a_writer_overtaken_at_any_call_changes_nothing_afterwards(tmp_path: Path) -> None:
    num_calls = _calls(tmp_path / "counted")
    outcomes = set()
    for place in range(0, num_calls, 5):
        root = tmp_path / str(place)
        publish(root, write_files)
        others = list[str]()
        left = iter(range(place))

        def overtake(call: Call, root: Path = root, left: object = left, others: list[str] = others) -> int:
            if call.is_below(root) and next(left, None) is None and not others:  # type: ignore[call-overload]
                # As where its lease ran out while it slept: nobody tells it.
                (root / ".lock").unlink(missing_ok=True)
                others.append(publish(root, write_files).release_id)
            return 0

        ended = run(partial(publish, root, write_files), overtake)
        chain = _chain(root)
        assert others[0] in chain
        # What ended well is in the line of releases, before or after; what did not is not.
        if ended.error:
            assert ended.error[0] == ConflictError.__name__, ended.message
            assert len(chain) == 2
        else:
            assert len(chain) == 3
        outcomes.add((bool(ended.error), chain[0] == others[0]))
        assert release_ids(root) == sorted(chain)
        assert _names(root) == {".lock", "CURRENT", *chain}
    assert outcomes == {(True, True), (False, True), (False, False)}


def test_without_any_lock_no_release_is_lost_or_torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A file system whose locks do nothing: a second writer begins while the first writes, and so on.
    monkeypatch.setattr(fcntl, "flock", lambda file, how: None)
    publish(tmp_path, write_files)
    inner = list[str]()

    def interrupted(folder: Path) -> Description:
        write_files(folder)
        inner.append(publish(tmp_path, write_files).release_id)
        return write_files(folder)

    with pytest.raises(ConflictError, match="another process took over"):
        publish(tmp_path, interrupted)
    assert _chain(tmp_path) == [*inner, "r000001"]
    assert _names(tmp_path) == {".lock", "CURRENT", "r000001", "r000002"}


def test_a_folder_made_again_under_the_old_name_is_not_the_writers(tmp_path: Path) -> None:
    publish(tmp_path, write_files)

    def interrupted(folder: Path) -> Description:
        write_files(folder)
        (tmp_path / ".lock").unlink()
        publish(tmp_path, write_files)
        folder.mkdir(parents=True)  # as one who makes sure of a folder before writing into it
        return write_files(folder)

    with pytest.raises(ConflictError, match="another process took over"):
        publish(tmp_path, interrupted)
    assert _chain(tmp_path) == ["r000002", "r000001"]
    assert _names(tmp_path) == {".lock", "CURRENT", "r000001", "r000002"}


def test_what_was_made_from_a_release_that_is_not_current_any_more_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, write_files)
    assert publish(tmp_path, write_files, only_over="r000001").release_id == "r000002"
    with pytest.raises(ConflictError, match="r000002 is current; expected r000001"):
        publish(tmp_path, write_files, only_over="r000001")
    assert _names(tmp_path) == {".lock", "CURRENT", "r000001", "r000002"}


def test_the_error_of_a_write_is_told_as_it_is_while_the_writer_holds(tmp_path: Path) -> None:
    publish(tmp_path, write_files)
    with pytest.raises(OSError, match="a fault of its own") as caught, single_writer(tmp_path):
        raise OSError(errno.EIO, "a fault of its own")
    assert not isinstance(caught.value, ReleaseError)
    assert _names(tmp_path) == {".lock", "CURRENT", "r000001"}


@pytest.mark.usefixtures("watched_calls")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_while_all_is_cleared_away_does_not_hide_what_ended_it(
    tmp_path: Path, number: int
) -> None:
    publish(tmp_path, write_files)

    def fail(call: Call) -> int:
        is_meant = call.is_below(tmp_path) and call.name in ("fsync", "unlink", "unlinkat", "rmdir")
        return number if is_meant else 0

    ended = run(partial(publish, tmp_path, write_files), fail)
    assert ended.error[0] == ReleaseError.__name__
    assert os.strerror(number) in ended.message
    assert open_release(tmp_path).release_id == "r000001"
    assert publish(tmp_path, write_files).release_id == "r000002"
    assert _names(tmp_path) == {".lock", "CURRENT", "r000001", "r000002"}
    assert not [one for one in standing(tmp_path, Verify.FULL) if one.fault]
