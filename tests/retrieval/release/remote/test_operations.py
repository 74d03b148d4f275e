"""Looking, pinning, going back and clearing away in a remote."""

from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.release.remote.ledger import change, head
from retrieval.release.remote.objects import Objects, open_objects
from retrieval.release.remote.operations import (
    manifest_of,
    pin,
    promote,
    prunable,
    prune,
    roll_back,
    standing,
    unpin,
)
from retrieval.release.remote.pull import pull
from retrieval.release.remote.push import push
from retrieval.release.store import release_of
from tests.retrieval.release.remote.stores import bucket, published, told
from towers.errors import ConflictError, IntegrityError, ReleaseError


@pytest.fixture(params=["bucket", "folder"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """Four releases, the last of them current."""
    objects = bucket() if request.param == "bucket" else open_objects(str(tmp_path / "remote"))
    for own in ("one", "two", "three", "four"):
        published(tmp_path / "root", own)
        push(tmp_path / "root", objects)
    return objects


def used(objects: Objects) -> set[str]:
    return {key for held in head(objects).state.releases.values() for key in held.keys().values()}


def test_releases_are_shown_with_what_is_said_of_them(objects: Objects, tmp_path: Path) -> None:
    pin(objects, "r000002")
    roll_back(objects)
    shown = standing(objects, full=True)
    assert [one.release_id for one in shown] == [f"r00000{number}" for number in range(1, 5)]
    assert [one.release_id for one in shown if one.is_current] == ["r000003"]
    assert [one.release_id for one in shown if one.is_pinned] == ["r000002"]
    assert [one.manifest for one in shown] == [
        release_of(tmp_path / "root", one.release_id).manifest for one in shown
    ]
    assert manifest_of(objects).release_id == "r000003"
    assert manifest_of(objects, "r000001").parent is None


def test_going_back_and_forward_again(objects: Objects, tmp_path: Path) -> None:
    assert roll_back(objects) == "r000003"
    assert roll_back(objects, "r000001") == "r000001"
    with pytest.raises(ReleaseError, match="r000001 is the first release; there is none to go back to"):
        roll_back(objects)
    with pytest.raises(
        ReleaseError, match=r"no release '\.\./r1'; there are r000001, r000002, r000003, r000004"
    ):
        promote(objects, "../r1")
    assert promote(objects, "r000004") == "r000004"
    assert pull(objects, tmp_path / "there").release_id == "r000004"


def test_what_is_cut_is_not_gone_back_to_and_a_changed_byte_is_found_by_reading(objects: Objects) -> None:
    held = head(objects).state.releases["r000003"]
    own = next(
        key for key, size in objects.sizes("files").items() if size == 5 and key in held.keys().values()
    )
    objects.remove(own)
    objects.create(own, b"Three")
    assert not [one for one in standing(objects) if one.fault]  # sizes are as they were
    (damaged,) = [one for one in standing(objects, full=True) if one.fault]
    assert damaged.release_id == "r000003"
    assert f"{own} (own.bin of r000003): SHA-256" in (damaged.fault or "")
    objects.remove(own)
    with pytest.raises(IntegrityError, match=r"own\.bin of r000003\): is missing"):
        roll_back(objects)
    assert head(objects).state.current == "r000004"


def test_clearing_away_leaves_the_current_the_pinned_and_the_newest(objects: Objects, tmp_path: Path) -> None:
    roll_back(objects, "r000002")
    pin(objects, "r000001")
    assert prunable(objects, 1) == ("r000003",)
    assert prune(objects, 1) == ("r000003",)
    assert set(objects.sizes("files")) == used(objects)
    unpin(objects, "r000001")
    assert prune(objects, 1) == ("r000001",)
    assert head(objects).state.ids() == ["r000002", "r000004"]
    assert set(objects.sizes("files")) == used(objects)  # that which was pushed with r000001 among them
    assert not [one for one in standing(objects, full=True) if one.fault]
    assert pull(objects, tmp_path / "there").release_id == "r000002"
    for keep in (0, -1):
        with pytest.raises(ReleaseError, match="expected 1 or more"):
            prune(objects, keep)


def test_what_a_push_left_goes_once_nothing_came_for_long(objects: Objects) -> None:
    left = f"files/{'a' * 16}/{'b' * 64}"
    objects.create(left, b"left")
    prune(objects, 4, grace_hours=1.0)
    assert left in objects.sizes("files")
    prune(objects, 4, grace_hours=0.0)
    assert left not in objects.sizes("files")
    assert head(objects).state.cleared == {"a" * 16}
    objects.create(left, b"late")  # of the push that was taken to have ended
    prune(objects, 4, grace_hours=1.0)
    assert left not in objects.sizes("files")
    prune(objects, 4, grace_hours=1.0)
    assert head(objects).state.cleared == frozenset()


@pytest.mark.parametrize("at", ["put", "create"])
def test_a_push_whose_files_were_cleared_away_is_told_and_succeeds_again(tmp_path: Path, at: str) -> None:
    objects, is_first = bucket(), True
    published(tmp_path, "one")
    push(tmp_path, objects)
    published(tmp_path, "two")

    def cleared(verb: str, key: str) -> None:
        nonlocal is_first
        if is_first and verb == at and "trial" not in key and len(objects.sizes("files")) > 4:
            is_first = False
            prune(objects, 9, 0.0)

    with told(cleared), pytest.raises(ConflictError, match="the files of r000002 were cleared away while"):
        push(tmp_path, objects)
    assert head(objects).state.current == "r000001"
    push(tmp_path, objects)
    assert not [one for one in standing(objects, full=True) if one.fault]


def test_a_push_whose_files_are_about_to_go_is_told(tmp_path: Path) -> None:
    objects, is_first = bucket(), True
    published(tmp_path, "one")
    push(tmp_path, objects)
    published(tmp_path, "two")

    def named(verb: str, key: str) -> None:
        nonlocal is_first
        if is_first and verb == "create" and "/log/" in key:
            is_first = False  # the state that a prune writes before it removes anything
            folders = {one.split("/")[1] for one in objects.sizes("files")}
            ended = {one for held in head(objects).state.releases.values() for one in held.folders.values()}
            change(objects, lambda state: replace(state, cleared=frozenset(folders - ended)))

    with told(named), pytest.raises(ConflictError, match="the files of r000002 were cleared away while"):
        push(tmp_path, objects)
    assert head(objects).state.current == "r000001"


def test_going_back_from_what_is_current_no_more_is_refused(tmp_path: Path) -> None:
    objects, is_first = bucket(), True
    for own in ("one", "two"):
        published(tmp_path, own)
        push(tmp_path, objects)
    published(tmp_path, "three")

    def overtaken(verb: str, key: str) -> None:
        nonlocal is_first
        if is_first and verb == "create" and "/log/" in key:
            is_first = False
            push(tmp_path, objects)

    with told(overtaken), pytest.raises(ConflictError, match="r000003 became current meanwhile"):
        roll_back(objects)
    assert head(objects).state.current == "r000003"


def test_where_nothing_was_pushed_nothing_is_changed() -> None:
    objects = bucket()
    for work in (
        lambda: standing(objects),
        lambda: manifest_of(objects),
        lambda: roll_back(objects),
        lambda: pin(objects, "r000001"),
        lambda: prune(objects, 1),
    ):
        with pytest.raises(ReleaseError, match=r"nothing was pushed yet|no release 'r000001'; "):
            work()
    assert objects.sizes("log") == objects.sizes("files") == {}
