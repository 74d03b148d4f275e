"""The log of states: of all that change it at once each wins once, and one that slept changes nothing."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from retrieval.release.remote import ledger
from retrieval.release.remote.ledger import Held, OvertakenError, State, change, commit, head
from retrieval.release.remote.objects import Objects, open_objects
from tests.retrieval.release.remote.stores import bucket
from towers.errors import IntegrityError, ReleaseError


@pytest.fixture(params=["bucket", "folder"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return bucket() if request.param == "bucket" else open_objects(str(tmp_path))


def held(number: int) -> Held:
    sha256 = f"{number:064x}"
    return Held(sha256, {sha256: f"{number:016x}"}, was_current=True)


def with_release(state: State, number: int) -> State:
    id_ = f"r{number:06d}"
    return replace(state, releases={**state.releases, id_: held(number)}, current=id_)


def test_a_state_is_read_as_it_was_written(objects: Objects) -> None:
    assert head(objects).state == State()
    state = with_release(with_release(State(), 7), 12)
    state = replace(state, pins=frozenset({"r000007"}), cleared=frozenset({"0123456789abcdef"}))
    assert change(objects, lambda _: state) == state
    assert head(objects).state == state
    number = head(objects).number
    assert change(objects, lambda before: before) == state
    assert head(objects).number == number


def test_changes_of_eight_at_once_are_all_made_one_after_another(objects: Objects) -> None:
    def add(number: int) -> None:
        change(objects, lambda state: with_release(state, number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(24)))
    assert set(head(objects).state.releases) == {f"r{number:06d}" for number in range(24)}
    entries = [json.loads(objects.read(key) or b"") for key in sorted(objects.sizes("log"))]
    assert [entry["number"] for entry in entries] == list(range(1, 26))  # the first of all is empty
    for number, entry in enumerate(entries):
        assert len(entry["releases"]) == number
    for before, after in pairwise(entries):
        assert set(after["releases"]) - set(before["releases"]) == {after["current"]}


@pytest.mark.parametrize("num_before", [1, 2, 5])
def test_a_writer_that_slept_changes_nothing_however_long(
    objects: Objects, num_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "KEPT_STATES", 3)
    for number in range(num_before):
        change(objects, partial(with_release, number=number))
    slept = head(objects)
    for number in range(100, 110):
        change(objects, partial(with_release, number=number))
        now, keys = head(objects), set(objects.sizes("log"))
        with pytest.raises(OvertakenError):
            commit(objects, slept, with_release(slept.state, 99))
        assert head(objects) == now
        assert set(objects.sizes("log")) == keys
    assert sorted(objects.sizes("log")) == [f"log/{now.number - back:012d}.json" for back in (2, 1, 0)]


def test_a_writer_that_slept_before_the_first_state_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "KEPT_STATES", 1)
    objects, first = bucket(), True

    def changed(state: State) -> State:
        nonlocal first
        if first:  # asleep here, while others change what it found empty
            first = False
            for number in range(4):
                change(objects, partial(with_release, number=number))
        return with_release(state, 99)

    assert change(objects, changed) == head(objects).state
    assert set(head(objects).state.releases) == {*(f"r{number:06d}" for number in range(4)), "r000099"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("number", 9),
        ("current", "r000009"),
        ("current", 7),
        ("pins", ["r000009"]),
        ("pins", None),
        ("cleared", ["../../etc"]),
        ("releases", []),
        ("releases", {"../r1": {}}),
        ("manifest", "0" * 64),
        ("manifest", None),
        ("files", {"0" * 64: "../../../../etc"}),
        ("files", {"../passwd": "0" * 16}),
    ],
)
def test_a_state_that_was_not_written_so_is_refused(key: str, value: object) -> None:
    objects = bucket()
    change(objects, lambda state: with_release(state, 1))
    entry = json.loads(objects.read("log/000000000002.json") or b"")
    (entry if key in entry else entry["releases"]["r000001"])[key] = value
    objects.remove("log/000000000002.json")
    objects.create("log/000000000002.json", json.dumps(entry).encode())
    with pytest.raises(IntegrityError, match=r"^bucket://shop/service/log/000000000002\.json: "):
        head(objects)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_no_state_is_refused(content: bytes) -> None:
    objects = bucket()
    objects.create("log/000000000001.json", content)
    with pytest.raises(IntegrityError, match=r"log/000000000001\.json"):
        head(objects)


def test_a_state_of_a_later_format_is_told_to_be_one() -> None:
    objects = bucket()
    objects.create("log/000000000001.json", b'{"format_version": 2}')
    with pytest.raises(ReleaseError, match=r"format_version is 2; .* reads 1; upgrade it"):
        head(objects)
