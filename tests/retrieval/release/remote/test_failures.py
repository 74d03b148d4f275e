"""A store that fails, loses answers or sees its writer die, at each call in turn: old or new, and whole."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from retrieval.release.remote.ledger import State, head
from retrieval.release.remote.objects import Objects, open_objects
from retrieval.release.remote.operations import prune, roll_back
from retrieval.release.remote.pull import pull
from retrieval.release.remote.push import push
from retrieval.release.store import current, open_release, release_ids
from tests.retrieval.release.remote.stores import Fault, MemoryBucket, bucket, failing, own_of, published
from towers.errors import ReleaseError

FAULTS = [(False, False), (False, True), (True, True)]  # killed before a call is killed after the last
NAMES = [f"{'killed' if kill else 'failed'} {'after' if after else 'before'}" for kill, after in FAULTS]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three releases, pushed but for the last."""
    root = tmp_path / "root"
    objects = bucket()
    for own in ("one", "two"):
        published(root, own)
        push(root, objects)
    published(root, "three")
    return root


def _each(work: Callable[[], object], is_kill: bool, is_after: bool) -> Iterator[Exception | None]:
    """Does the work again and again from the same store, each call failing in turn; gives what it raised."""
    before, at = dict(MemoryBucket.stored), 0
    while True:
        MemoryBucket.stored.clear()
        MemoryBucket.stored.update(before)
        fault, raised = Fault(at, is_kill, is_after), None
        with failing(fault):
            try:
                work()
            except ReleaseError as error:
                raised = error
        yield raised
        if fault.num_calls <= at:
            assert at > 3
            return
        at += 1


@pytest.mark.parametrize(("is_kill", "is_after"), FAULTS, ids=NAMES)
def test_a_push_that_fails_anywhere_leaves_the_old_or_the_new_and_succeeds_again(
    root: Path, is_kill: bool, is_after: bool
) -> None:
    objects, olds, news = open_objects("bucket://shop/service"), 0, 0
    for raised in _each(lambda: push(root, objects), is_kill, is_after):
        state, _ = _whole(objects)
        assert (state.current, state.ids()[-1]) in (("r000002", "r000002"), ("r000003", "r000003"))
        assert raised is not None or is_kill or state.current == "r000003"
        olds, news = olds + (state.current == "r000002"), news + (state.current == "r000003")
        push(root, objects)
        prune(objects, 9, 0.0)
        state, keys = _whole(objects)
        assert (state.current, state.ids()) == ("r000003", release_ids(root))
        assert set(objects.sizes("files")) == keys
    assert olds > 3
    assert news > 1


@pytest.mark.parametrize(("is_kill", "is_after"), FAULTS, ids=NAMES)
def test_a_pull_that_fails_anywhere_leaves_the_old_and_succeeds_again(
    root: Path, tmp_path: Path, is_kill: bool, is_after: bool
) -> None:
    objects, there, news = open_objects("bucket://shop/service"), tmp_path / "there", 0
    pull(objects, tmp_path / "old")
    push(root, objects)

    def pulled() -> None:
        if there.exists():
            shutil.rmtree(there)
        shutil.copytree(tmp_path / "old", there)
        pull(objects, there)

    for raised in _each(pulled, is_kill, is_after):
        found = open_release(there).release_id
        assert found in ("r000002", "r000003")
        assert raised is not None or is_kill or found == "r000003"
        pull(objects, there)
        assert (current(there), own_of(there, "r000003")) == ("r000003", "three")
        assert sorted(path.name for path in there.iterdir()) == [".lock", "CURRENT", "r000002", "r000003"]
        news += found == "r000003"
    assert news == 1  # nothing is asked of the store once all is there


@pytest.mark.parametrize(("is_kill", "is_after"), FAULTS, ids=NAMES)
def test_going_back_and_clearing_away_that_fail_anywhere_leave_what_stands_whole(
    root: Path, is_kill: bool, is_after: bool
) -> None:
    objects = open_objects("bucket://shop/service")
    push(root, objects)

    def changes() -> None:
        roll_back(objects, "r000002")
        prune(objects, 1, 0.0)

    for raised in _each(changes, is_kill, is_after):
        state, _ = _whole(objects)
        assert state.current in ("r000002", "r000003")
        assert raised is not None or is_kill or "r000001" not in state.releases
        if state.current == "r000003":
            roll_back(objects, "r000002")
        assert prune(objects, 1, 0.0) == (("r000001",) if "r000001" in state.releases else ())
        state, keys = _whole(objects)
        assert (state.current, state.ids()) == ("r000002", ["r000002", "r000003"])
        assert set(objects.sizes("files")) == keys


def _whole(objects: Objects) -> tuple[State, set[str]]:
    """What stands, and the keys of its files, each of them there with the content that its name says."""
    state = head(objects).state
    keys = {key for held in state.releases.values() for key in held.keys().values()}
    for key in keys:
        assert hashlib.sha256(objects.read(key) or b"").hexdigest() == key.split("/")[-1]
    return state, keys
