"""What may lie on a disk: by hand for small jobs, and that every sync of a publish is there for something."""

from functools import partial
from pathlib import Path

import pytest

from benchmarks.crash_states import Names, Sync, crash_states, lay_out, recorded
from benchmarks.syscalls import preload
from retrieval.release.store import open_release, publish
from tests.retrieval.release.publisher import description
from towers.errors import ReleaseError
from towers.folders import replace_file

preload("tests.benchmarks.test_crash_states")
pytestmark = pytest.mark.usefixtures("watched_calls")

Tree = dict[str, bytes | None]


def _trees(done: object) -> list[Tree]:
    return [tree for _, tree in crash_states(done)]  # type: ignore[arg-type]


def _write(folder: Path) -> None:
    (folder / "a").write_bytes(b"1234")


def _write_and_rename(folder: Path) -> None:
    (folder / "b").write_bytes(b"new!")
    (folder / "b").rename(folder / "a")


def test_an_unsynced_file_is_there_or_not_whole_cut_or_empty(tmp_path: Path) -> None:
    done = recorded(partial(_write, tmp_path), tmp_path)
    assert not done.ended.error
    trees = _trees(done)
    assert trees[0] == {}
    assert {tree["a"] for tree in trees[1:]} == {b"", b"12", b"1234", bytes(4)}


def test_a_rename_of_what_was_not_synced_may_lose_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old!")
    trees = _trees(recorded(partial(_write_and_rename, tmp_path), tmp_path))
    assert {"a": b"old!"} in trees
    assert {"a": b"old!", "b": b"new!"} in trees
    assert {"a": b"new!"} in trees
    assert {"a": b""} in trees  # the famous file of no length
    assert {} not in trees


def test_a_file_replaced_as_it_should_be_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old!")
    trees = _trees(recorded(partial(replace_file, tmp_path / "a", "new!"), tmp_path))
    assert {tree["a"] for tree in trees} == {b"old!", b"new!"}
    assert trees[-1] == {"a": b"new!"}


def write_files(folder: Path) -> object:
    """Two small files."""
    for name in ("a.bin", "b.bin"):
        (folder / name).write_bytes(name.encode() * 10)
    return description()


def _is_whole(tree: Tree, folder: Path) -> bool:
    folder.mkdir()
    lay_out(tree, folder)
    try:
        return open_release(folder / "root").release_id in ("r000001", "r000002")
    except ReleaseError:
        return False


def test_every_sync_of_a_publish_is_needed_and_all_together_are_enough(tmp_path: Path) -> None:
    root = tmp_path / "world" / "root"
    publish(root, write_files)  # type: ignore[arg-type]
    done = recorded(partial(publish, root, write_files), tmp_path / "world")  # type: ignore[arg-type]
    assert not done.ended.error
    syncs = {place: step for place, step in enumerate(done.steps) if isinstance(step, Sync)}
    number = iter(range(10**9))

    def torn(lost: list[int]) -> bool:
        # Of trees that differ in what no reader looks at, one will do.
        seen = {
            tuple((path, content) for path, content in tree.items() if ".aside" not in path)
            for _, tree in crash_states(done, lost=lost)
        }
        return not all(_is_whole(dict(tree), tmp_path / str(next(number))) for tree in seen)

    assert not torn([])
    renamed = [
        place for place, step in enumerate(done.steps) if isinstance(step, Names) and len(step.named) > 1
    ]
    assert len(renamed) == 2  # into its place; and CURRENT
    before, between = [place for place in syncs if place < renamed[0]], list(syncs)[-2]
    contents = [place for place in before if Path(syncs[place].path).parent.name == "r000002"]
    folder = [place for place in before if Path(syncs[place].path).name == "r000002"]
    pointer = [place for place in before if Path(syncs[place].path).name == "NEXT"]
    assert [len(each) for each in (contents, folder, pointer)] == [4, 1, 1]
    for place in (*contents, *folder, *pointer, between):
        assert torn([place]), syncs[place].path


@pytest.mark.parametrize("is_first", [True, False])
def test_the_first_publish_leaves_nothing_or_a_whole_release(tmp_path: Path, is_first: bool) -> None:
    world = tmp_path / "world"
    world.mkdir()
    if not is_first:
        publish(world / "root", write_files)  # type: ignore[arg-type]
    done = recorded(partial(publish, world / "root", write_files), world)  # type: ignore[arg-type]
    *_, (_, last) = crash_states(done)
    pointers = {tree.get("root/CURRENT") for tree in _trees(done)}
    assert pointers == {None if is_first else b"r000001\n", b"r000001\n" if is_first else b"r000002\n"}
    assert last["root/CURRENT"] == (b"r000001\n" if is_first else b"r000002\n")
