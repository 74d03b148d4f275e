"""From one root to a remote and on to another: whole or not at all, and only what is not there yet."""

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from retrieval.release.operations import roll_back
from retrieval.release.remote import operations as remotely
from retrieval.release.remote.ledger import change, head
from retrieval.release.remote.objects import Objects, open_objects
from retrieval.release.remote.pull import pull
from retrieval.release.remote.push import push, push_missing
from retrieval.release.store import current, open_release, release_ids, release_of
from tests.retrieval.release.remote.stores import bucket, own_of, published, told
from towers.errors import ConflictError, IntegrityError, ReleaseError


@pytest.fixture(params=["bucket", "folder"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return bucket() if request.param == "bucket" else open_objects(str(tmp_path / "remote"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with one release."""
    published(tmp_path / "root", "one")
    return tmp_path / "root"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_release_arrives_byte_for_byte_and_only_what_is_new_travels(
    objects: Objects, root: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    with pytest.raises(ReleaseError, match="nothing was pushed yet"):
        pull(objects, there)
    manifest_bytes = (root / "r000001" / "manifest.json").stat().st_size
    sent = push(root, objects)
    assert (sent.release_id, sent.is_current) == ("r000001", True)
    assert (sent.num_bytes, sent.shared_bytes) == (600 + 3 + manifest_bytes, 0)
    got = pull(objects, there)
    assert (got.release_id, got.is_current, got.num_bytes, got.shared_bytes) == ("r000001", True, 603, 0)
    assert files(there / "r000001") == files(root / "r000001")
    assert open_release(there).manifest == open_release(root).manifest

    published(root, "three")
    manifest_bytes = (root / "r000002" / "manifest.json").stat().st_size
    sent, got = push(root, objects), pull(objects, there)
    assert (sent.num_bytes, sent.shared_bytes) == (5 + manifest_bytes, 600)
    assert (got.num_bytes, got.shared_bytes) == (5, 600)
    assert files(there / "r000002") == files(root / "r000002")
    assert (there / "r000002" / "shared.bin").samefile(there / "r000001" / "shared.bin")
    assert current(there) == "r000002"
    assert not list(there.glob(".aside-*"))


def test_pushed_or_pulled_again_nothing_changes(objects: Objects, root: Path, tmp_path: Path) -> None:
    push(root, objects)
    pull(objects, tmp_path / "there")
    number = head(objects).number
    assert push(root, objects).num_bytes == 0
    assert pull(objects, tmp_path / "there").num_bytes == 0
    assert head(objects).number == number


def test_a_candidate_stands_beside_until_it_is_promoted(objects: Objects, root: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    push(root, objects)
    published(root, "try", becomes_current=False)
    assert not push(root, objects, "r000002").is_current
    assert not pull(objects, there, "r000002").is_current
    assert (current(there), release_ids(there)) == (None, ["r000002"])
    pull(objects, there)
    assert current(there) == "r000001"
    roll_back(root, "r000002")  # promoted here, and so there
    assert push(root, objects).is_current
    assert pull(objects, there).is_current
    assert current(there) == "r000002"


def test_who_pulls_follows_back_and_what_was_gone_back_from_is_not_pushed_again(
    objects: Objects, root: Path, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    push(root, objects)
    published(root, "two")
    push(root, objects)
    pull(objects, there)
    assert remotely.roll_back(objects) == "r000001"
    pull(objects, there)
    assert current(there) == "r000001"
    with pytest.raises(ConflictError, match=r"r000002 was current there and gone back from, to r000001"):
        push(root, objects)
    push_missing(root, objects)
    assert head(objects).state.current == "r000001"
    published(root, "three")
    push_missing(root, objects)
    assert head(objects).state.current == "r000003"


def test_what_another_made_stands(objects: Objects, root: Path, tmp_path: Path) -> None:
    push(root, objects)
    other = tmp_path / "other"
    published(other, "another")
    with pytest.raises(ConflictError, match=r"another r000001 stands there; expected a new id: pull, build"):
        push(other, objects)
    for own in ("b", "c"):
        published(root, own)
    push(root, objects)
    published(other, "older")
    with pytest.raises(
        ConflictError, match=r"r000003 is current there|r000003 stands there; expected a newer"
    ):
        push(other, objects)
    with pytest.raises(ConflictError, match=r"r000003 is current there; expected r000001"):
        push(root, objects, "r000002", only_over="r000001")
    published(other, "third")
    with pytest.raises(ConflictError, match=r"manifest\.json: is not that of the remote's r000003"):
        pull(objects, other)
    assert own_of(other, "r000003") == "third"
    assert (head(objects).state.current, head(objects).state.ids()) == ("r000003", ["r000001", "r000003"])


def test_one_that_became_current_meanwhile_stops_a_push(root: Path, tmp_path: Path) -> None:
    objects, other = bucket(), tmp_path / "other"
    push(root, objects)
    pull(objects, other)
    published(root, "mine")
    published(other, "theirs")
    published(other, "theirs too")
    is_first = True

    def overtaken(verb: str, key: str) -> None:
        nonlocal is_first
        if verb == "put" and is_first:
            is_first = False
            push(other, objects)

    with told(overtaken), pytest.raises(ConflictError, match="r000003 is current there; expected r000001"):
        push(root, objects)
    assert head(objects).state.ids() == ["r000001", "r000003"]


def test_of_eight_that_build_and_push_each_gets_a_number_of_its_own(tmp_path: Path) -> None:
    objects = bucket()
    published(tmp_path / "first", "first")
    push(tmp_path / "first", objects)

    def build(builder: int) -> int:
        for turn in range(40):
            root = tmp_path / f"{builder}-{turn}"  # what lost is left behind
            pull(objects, root)
            published(root, f"of {builder}")
            try:
                push(root, objects)
            except ConflictError:
                continue
            return turn
        raise AssertionError("never had a turn")

    with ThreadPoolExecutor(8) as threads:
        assert max(threads.map(build, range(8))) > 0  # they met
    entries = [json.loads(objects.read(key) or b"") for key in sorted(objects.sizes("log"))]
    currents = [entry["current"] for entry in entries]
    assert currents == [None, *(f"r{number:06d}" for number in range(1, 10))]
    for release_id in currents[1:]:
        pull(objects, tmp_path / "all", release_id)
    owns = [own_of(tmp_path / "all", release_id) for release_id in release_ids(tmp_path / "all")]
    assert owns[0] == "first"
    assert sorted(owns[1:]) == [f"of {builder}" for builder in range(8)]
    for before, after in pairwise(currents[1:]):
        assert release_of(tmp_path / "all", after).manifest.parent == before


def _key_of(objects: Objects, root: Path, name: str) -> str:
    sha256 = hashlib.sha256((root / "r000002" / name).read_bytes()).hexdigest()
    return head(objects).state.releases["r000002"].keys()[sha256]


def _written(objects: Objects, key: str, content: bytes) -> None:
    objects.remove(key)
    objects.create(key, content)


@pytest.mark.parametrize("name", ["own.bin", "shared.bin", "manifest.json"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: bytes([content[0] ^ 1]) + content[1:], r"SHA-256 is .* expects"),
        (lambda content: content[:-1], r"(has .* bytes; the manifest|SHA-256 is .*) expects"),
        (None, "is missing"),
    ],
    ids=["changed", "cut", "missing"],
)
def test_of_a_damaged_release_nothing_lands(
    name: str, damage: Callable[[bytes], bytes] | None, said: str, root: Path, tmp_path: Path
) -> None:
    objects, there = bucket(), tmp_path / "there"
    published(root, "two")
    push(root, objects)
    key = _key_of(objects, root, name)
    if damage is None:
        objects.remove(key)
    else:
        _written(objects, key, damage(objects.read(key) or b""))
    with pytest.raises(IntegrityError, match=f"{key}.*: {said}"):
        pull(objects, there)
    assert [path.name for path in there.glob("*")] in ([], [".lock"])
    shown = remotely.standing(objects, full=True)
    assert key in (shown[0].fault or "")
    if damage is None:  # what lies there is looked at, and what is damaged is sent anew
        published(root, "three")
        push(root, objects)
        assert pull(objects, there).release_id == "r000003"


@pytest.mark.parametrize("name", ["../r000009", "/etc/passwd", "..", "a/b", "manifest.json"])
def test_a_manifest_that_names_files_elsewhere_is_refused(name: str, root: Path, tmp_path: Path) -> None:
    def renamed(document: dict[str, dict[str, object]]) -> None:
        document["files"][name] = document["files"].pop("own.bin")

    _forge(root, tmp_path, renamed, "expected plain names in its folder")


def test_the_manifest_of_another_release_is_refused(root: Path, tmp_path: Path) -> None:
    def another(document: dict[str, object]) -> None:
        document["release_id"] = "r000007"

    _forge(root, tmp_path, another, "has release_id 'r000007'; expected 'r000001'")


def test_a_manifest_with_files_that_no_state_knows_is_refused(root: Path, tmp_path: Path) -> None:
    def more(document: dict[str, dict[str, object]]) -> None:
        document["files"]["more.bin"] = {"sha256": "0" * 64, "size_bytes": 1}

    _forge(root, tmp_path, more, r"names more\.bin; the state does not say where it lies")


def _forge(root: Path, tmp_path: Path, how: Callable[..., None], said: str) -> None:
    """Lets another manifest stand in a remote, with the hash that it has, and expects a pull to refuse it."""
    objects = bucket()
    push(root, objects)
    document = json.loads((root / "r000001" / "manifest.json").read_text())
    how(document)
    content = json.dumps(document).encode()
    sha256, folder = hashlib.sha256(content).hexdigest(), "f" * 16
    objects.create(f"files/{folder}/{sha256}", content)
    held = head(objects).state.releases["r000001"]
    held = replace(held, manifest=sha256, folders={**held.folders, sha256: folder})
    change(objects, lambda state: replace(state, releases={"r000001": held}))
    with pytest.raises(IntegrityError, match=said):
        pull(objects, tmp_path / "there")
    assert not (tmp_path / "there").exists()
    assert not (tmp_path / "r000009").exists()


def test_a_file_that_is_damaged_here_is_fetched_instead(root: Path, tmp_path: Path) -> None:
    objects, there = bucket(), tmp_path / "there"
    push(root, objects)
    pull(objects, there)
    (there / "r000001" / "shared.bin").write_bytes(b"Shared" * 100)
    published(root, "two")
    push(root, objects)
    assert pull(objects, there).num_bytes == 603
    assert open_release(there).release_id == "r000002"
    assert (there / "r000001" / "shared.bin").read_bytes() == b"Shared" * 100


def test_a_damaged_release_is_not_pushed(root: Path) -> None:
    objects = bucket()
    (root / "r000001" / "shared.bin").write_bytes(b"Shared" * 100)
    with pytest.raises(IntegrityError, match=r"shared\.bin: SHA-256"):
        push(root, objects)
    assert objects.sizes("files") == objects.sizes("log") == {}
    with pytest.raises(ReleaseError, match="nothing was published yet"):
        push(root / "nowhere", objects)


def test_who_is_overtaken_while_it_fetches_gets_what_took_the_place(root: Path, tmp_path: Path) -> None:
    objects, is_first = bucket(), True
    push(root, objects)
    shutil.copytree(root, tmp_path / "later")
    published(tmp_path / "later", "two")

    def overtaken(verb: str, key: str) -> None:
        nonlocal is_first
        if verb == "get" and is_first:
            is_first = False
            push(tmp_path / "later", objects)
            remotely.prune(objects, 1)

    with told(overtaken):
        assert pull(objects, tmp_path / "there").release_id == "r000002"
    assert release_ids(tmp_path / "there") == ["r000002"]
    with pytest.raises(ReleaseError, match=r"no release 'r000001'; there are r000002"):
        pull(objects, tmp_path / "there", "r000001")
