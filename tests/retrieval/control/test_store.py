"""The store of controls: durable, whole, guarded by a PIN, never read as empty where it cannot be read."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.control.controls import MAX_NAMES, Controls, controls_from_json, loosens
from retrieval.control.pin import FREE_TRIES, HashedPin, wait_seconds
from retrieval.control.store import ControlsStore
from towers.errors import ControlsError, PinError

_names = st.lists(st.text(min_size=1, max_size=8), max_size=4).map(tuple)
_decided = st.fixed_dictionaries(
    {
        **dict.fromkeys(
            ("excluded_genres", "excluded_people", "excluded_items", "less_like", "removed"), _names
        ),
        "personalised": st.booleans(),
        "max_age": st.none() | st.integers(0, 99),
        "kids": st.booleans(),
    }
)


@given(decided=_decided)
@settings(max_examples=50, deadline=None)
def test_controls_are_read_back_as_they_were_written(decided: dict[str, Any]) -> None:
    controls = Controls(**decided)
    assert controls_from_json(controls.to_json()) == controls


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kids": true}',
        Controls(kids=True).to_json().replace("true", "1"),
        Controls().to_json().replace("[]", '"Horror"'),
        Controls(max_age=7).to_json().replace("7", '"7"'),
        Controls().to_json()[:-1] + ', "also": 1}',
    ],
)
def test_anything_but_whole_controls_is_refused(text: str) -> None:
    with pytest.raises(ControlsError):
        controls_from_json(text)


def test_what_is_no_decision_of_a_person_is_refused() -> None:
    with pytest.raises(ControlsError, match="1001 names; expected <= 1000"):
        Controls(excluded_items=tuple(map(str, range(MAX_NAMES + 1))))
    with pytest.raises(ControlsError, match="expected 0 to 99"):
        Controls(max_age=100)


@pytest.mark.parametrize(
    ("before", "after", "loosened"),
    [
        (Controls(), Controls(max_age=12), False),
        (Controls(max_age=12), Controls(max_age=6), False),
        (Controls(max_age=12), Controls(max_age=16), True),
        (Controls(max_age=12), Controls(), True),
        (Controls(kids=True), Controls(kids=True, max_age=7), False),  # 7 is what it was
        (Controls(kids=True), Controls(kids=True, max_age=8), True),
        (
            Controls(kids=True, max_age=5),
            Controls(max_age=5),
            True,
        ),  # no longer for kids
        (Controls(kids=True, excluded_people=("A",)), Controls(kids=True), True),
        (Controls(excluded_people=("A",)), Controls(), False),
        (Controls(kids=True, personalised=False), Controls(kids=True), False),
    ],
)
def test_a_change_that_shows_more_is_told_from_one_that_does_not(
    before: Controls, after: Controls, loosened: bool
) -> None:
    assert loosens(before, after) is loosened


def test_another_process_reads_what_was_decided(tmp_path: Path) -> None:
    store = ControlsStore.create(tmp_path / "controls.sqlite")
    store.change("ann", lambda held: replace(held, excluded_genres=("Horror",)))
    program = """
import sys
from retrieval.control.store import ControlsStore
print(ControlsStore(sys.argv[1]).of("ann").excluded_genres, ControlsStore(sys.argv[1]).of("bob"))
"""
    read = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "controls.sqlite")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert read.stdout.strip() == f"('Horror',) {Controls()}"
    assert store.of_many(["bob", "ann"]) == [Controls(), Controls(excluded_genres=("Horror",))]


def test_a_writer_that_is_killed_leaves_the_controls_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "controls.sqlite"
    ControlsStore.create(path).change("ann", lambda held: replace(held, excluded_items=("i1",)))
    program = """
import os, sys
from retrieval.control.controls import Controls
from retrieval.control.store import ControlsStore
def killed(held):
    os.kill(os.getpid(), 9)
store = ControlsStore(sys.argv[1])
store._put("ann", Controls(excluded_items=("i2",)))  # committed: what follows is not
store.change("ann", killed)
"""
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    store = ControlsStore(path)
    assert store.of("ann").excluded_items == ("i2",)
    store.change("ann", lambda held: replace(held, excluded_items=("i3",)))  # and none holds the lock
    assert store.of("ann").excluded_items == ("i3",)


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = ControlsStore.create(tmp_path / "controls.sqlite")

    def failing(held: Controls) -> Controls:
        raise KeyError("a fault of the caller's")

    with pytest.raises(KeyError):
        store.change("ann", failing)
    store.change("ann", lambda held: replace(held, personalised=False))
    assert not store.of("ann").personalised


class _Clock:
    seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


def _locked(tmp_path: Path) -> tuple[ControlsStore, _Clock]:
    clock = _Clock()
    store = ControlsStore.create(tmp_path / "controls.sqlite", now=clock)
    store.set_pin("kid", "4711")
    store.change("kid", lambda held: replace(held, kids=True))
    return store, clock


def test_only_the_pin_opens_what_a_limit_keeps_shut(tmp_path: Path) -> None:
    store, _ = _locked(tmp_path)
    for change in (
        lambda held: replace(held, kids=False),
        lambda held: replace(held, max_age=18),
        lambda _: Controls(),
    ):
        with pytest.raises(PinError, match="expected the PIN"):
            store.change("kid", change)
        with pytest.raises(PinError, match="is not the one"):
            store.change("kid", change, pin="0000")
    assert store.of("kid") == Controls(kids=True)
    assert store.change("kid", lambda held: replace(held, max_age=5)).max_age == 5  # stricter: no PIN
    assert store.change("kid", lambda held: replace(held, max_age=12), pin="4711").max_age == 12


def test_a_limit_without_a_pin_is_refused_and_so_is_another_pin_without_the_first(tmp_path: Path) -> None:
    store, _ = _locked(tmp_path)
    with pytest.raises(ControlsError, match="expected one set before"):
        store.change("bob", lambda held: replace(held, max_age=12))
    with pytest.raises(PinError, match="has one already"):
        store.set_pin("kid", "0000")
    with pytest.raises(PinError, match="4 to 12 digits"):
        store.set_pin("bob", "12a4")
    store.set_pin("kid", "123456", pin="4711")
    with pytest.raises(PinError):
        store.change("kid", lambda held: replace(held, kids=False), pin="4711")


def test_after_five_wrong_tries_even_the_pin_is_not_looked_at_until_the_wait_is_over(tmp_path: Path) -> None:
    store, clock = _locked(tmp_path)
    for _ in range(FREE_TRIES):
        with pytest.raises(PinError, match="is not the one"):
            store.set_pin("kid", "1111", pin="0000")
    again = ControlsStore(tmp_path / "controls.sqlite", now=clock)  # another process knows of them
    with pytest.raises(PinError, match="5 wrong tries in a row; expected no other for 30 seconds"):
        again.set_pin("kid", "1111", pin="4711")
    clock.seconds -= 1_000  # a clock set back shortens nothing
    with pytest.raises(PinError, match="for 30 seconds"):
        again.set_pin("kid", "1111", pin="4711")
    clock.seconds += 1_031
    again.set_pin("kid", "1111", pin="4711")
    assert [wait_seconds(num) for num in (4, 5, 6, 7, 60)] == [0, 30, 60, 120, 86_400]


def test_a_try_that_ends_in_the_middle_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = _locked(tmp_path)

    def ends(self: HashedPin, pin: str) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(HashedPin, "matches", ends)
        for _ in range(FREE_TRIES):
            with pytest.raises(KeyboardInterrupt):
                store.set_pin("kid", "1111", pin="0000")
    with pytest.raises(PinError, match="wrong tries in a row"):
        store.set_pin("kid", "1111", pin="4711")


def test_the_file_holds_no_pin_and_after_forgetting_nothing_of_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "controls.sqlite"
    store = ControlsStore.create(path)
    for number in range(200):
        store.change(f"other-{number}", lambda held: replace(held, excluded_people=("someone",)))
    store.set_pin("canary-profile", "90210777")
    store.change(
        "canary-profile", lambda held: replace(held, excluded_people=("canary-person",) * 50, kids=True)
    )
    held = path.read_bytes()
    assert b"canary-profile" in held
    assert b"canary-person" in held
    assert b"90210777" not in held
    assert store.forget("canary-profile")
    assert not store.forget("canary-profile")
    for left in tmp_path.iterdir():
        assert b"canary" not in left.read_bytes()
    assert store.of("other-7").excluded_people == ("someone",)


def test_half_of_a_character_is_an_error_of_its_kind(tmp_path: Path) -> None:
    store = ControlsStore.create(tmp_path / "controls.sqlite")
    half = "\ud800"
    with pytest.raises(ControlsError, match="surrogates not allowed"):
        store.of(half)
    with pytest.raises(ControlsError, match="surrogates not allowed"):
        store.change(half, lambda held: replace(held, removed=("i1",)))
    with pytest.raises(ControlsError, match="surrogates not allowed"):
        store.change("bob", lambda held: replace(held, excluded_people=(half,)))
    assert store.profile_ids() == []


def test_a_file_that_is_gone_or_damaged_is_an_error_and_never_an_empty_store(tmp_path: Path) -> None:
    path = tmp_path / "controls.sqlite"
    with pytest.raises(ControlsError):
        ControlsStore(path)
    assert not path.exists()
    path.write_bytes(b"no database at all" * 500)
    with pytest.raises(ControlsError):
        ControlsStore(path)
    path.unlink()
    path.touch()
    with pytest.raises(ControlsError, match="expected a store of controls"):
        ControlsStore(path)
    with pytest.raises(ControlsError, match="there already"):
        ControlsStore.create(path)
    path.unlink()
    store = ControlsStore.create(path)
    store.change("kid", lambda held: replace(held, excluded_items=("i1",)))
    store._put("bob", Controls())
    store._connection.execute("UPDATE controls SET body = '{}'")
    for read in (lambda: store.of("kid"), lambda: store.of_many(["bob", "kid"])):
        with pytest.raises(ControlsError, match="not whole"):
            read()
    assert store.of("bob") == Controls()  # whose own are not damaged
