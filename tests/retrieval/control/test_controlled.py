"""Answers keep to what a profile decided, in every question it can ask, and across releases."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.batch import recommend_all
from retrieval.control.controls import Controls
from retrieval.control.store import ControlsStore
from retrieval.control.view import LESS_LIKE
from retrieval.ranking import Ranking
from retrieval.release.read import Release
from retrieval.retriever import Retriever
from tests.retrieval.worlds import items_table, release
from towers.data.histories import Histories
from towers.errors import ControlsError
from towers.recommender import Degraded

NUM_ITEMS, NUM_PROFILES = 60, 12
GENRES, PEOPLE = ("Horror", "Comedy", "War", "Drama"), ("Ann Lee", "Bo Ek", "Cy Dane")
CERTIFICATES = ("TV-Y", "TV-Y7", "PG-13", "R", None)


class Given:
    """Controls by profile, or an error."""

    def __init__(self, controls: dict[str, Controls], *, readable: bool = True) -> None:
        self._controls, self._readable = controls, readable

    def of(self, profile_id: str) -> Controls:
        if not self._readable:
            raise ControlsError("a disk that fails")
        return self._controls.get(profile_id, Controls())

    def of_many(self, profile_ids: Sequence[str]) -> list[Controls]:
        return list(map(self.of, profile_ids))


def _drawn() -> tuple[list[dict[str, Any]], np.ndarray, dict[str, list[int]]]:
    """Titles with genres, casts and certificates as plain rows, their vectors, and what profiles watched."""
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = [
        {
            "item_id": f"i{row}",
            "genres": [one for one in GENRES if rng.random() < 0.4] or None,
            "cast": [one for one in PEOPLE if rng.random() < 0.3],
            "maturity": CERTIFICATES[rng.integers(len(CERTIFICATES))],
        }
        for row in range(NUM_ITEMS)
    ]
    vectors = rng.standard_normal((NUM_ITEMS, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    profiles: dict[str, list[int]] = {
        f"p{one}": rng.choice(NUM_ITEMS, rng.integers(0, 8), replace=False).tolist()
        for one in range(NUM_PROFILES)
    }
    return rows, vectors.astype(np.float32), profiles


ROWS, VECTORS, _PROFILES = _drawn()


@cache
def world() -> Release:
    """A release of them; made when it is first asked for: who only collects the tests compiles nothing."""
    columns = {name: [row[name] for row in ROWS] for name in ("genres", "cast", "maturity")}
    return release(VECTORS, items=items_table(NUM_ITEMS, **columns), profiles=_PROFILES)


AGES = {"TV-Y": 0, "TV-Y7": 7, "PG-13": 13, "R": 17}

_ids = st.lists(st.integers(0, NUM_ITEMS + 2).map(lambda row: f"i{row}"), max_size=3).map(tuple)
# Made controls of in the tests: the type checks of this suite draw random numbers, which a strategy must not.
_decided = st.fixed_dictionaries(
    {
        "excluded_genres": st.lists(st.sampled_from(["horror", "COMEDY", "War", "none"]), max_size=2).map(
            tuple
        ),
        "excluded_people": st.lists(st.sampled_from(["ann lee", "Bo Ek"]), max_size=1).map(tuple),
        "excluded_items": _ids,
        "less_like": _ids,
        "removed": _ids,
        "personalised": st.booleans(),
        "max_age": st.none() | st.sampled_from([0, 7, 13, 18]),
        "kids": st.booleans(),
    }
)


def _forbidden(controls: Controls) -> set[str]:
    """The ids that these controls forbid: a plain reading of the rows, without a rule or a bitmap."""
    limit = 7 if controls.kids and controls.max_age is None else controls.max_age
    genres = {one.lower() for one in controls.excluded_genres}
    people = {one.lower() for one in controls.excluded_people}
    forbidden = {*controls.excluded_items, *controls.less_like}
    for disliked in controls.less_like:
        row = int(disliked[1:])
        if row < NUM_ITEMS:
            likeness = VECTORS @ VECTORS[row]
            likeness[row] = -np.inf
            nearest = np.argsort(-likeness)[: min(LESS_LIKE, NUM_ITEMS // 10)]
            forbidden |= {f"i{near}" for near in nearest.tolist()}
    for title in ROWS:
        old_enough = limit is None or AGES.get(str(title["maturity"]), 99) <= limit
        has_genre = genres & {one.lower() for one in title["genres"] or ()}
        has_person = people & {one.lower() for one in title["cast"]}
        if has_genre or has_person or not old_enough:
            forbidden.add(str(title["item_id"]))
    return forbidden


@given(decided=_decided, profile=st.integers(0, NUM_PROFILES), seed=st.integers(0, 9))
@settings(max_examples=120, deadline=None)
def test_no_question_is_answered_with_what_a_profile_decided_against(
    decided: dict[str, Any], profile: int, seed: int
) -> None:
    controls = Controls(**decided)
    named = f"p{profile}"  # the last is unknown to the release
    retriever = Retriever(world(), Given({named: controls}))
    forbidden = _forbidden(controls)
    every = retriever.recommend(named, k=NUM_ITEMS)
    answers = [
        every.item_id,
        retriever.recommend(named, history=["i1", "i2"], k=NUM_ITEMS).item_id,
        retriever.similar(f"i{seed}", NUM_ITEMS, profile_id=named).item_id,
        retriever.search("title", profile_id=named, k=NUM_ITEMS).item_id,
        retriever.search(f"title {seed}", profile_id=named, k=5).item_id,
        retriever.search("without horror", profile_id=named, k=NUM_ITEMS).item_id,
        retriever.search("xqzw vv", profile_id=named, k=NUM_ITEMS).item_id,
        retriever.suggest("ti", NUM_ITEMS, profile_id=named),
    ]
    for answer in answers:
        assert not set(answer) & forbidden
    # And nothing else is kept from it: complete but for what it watched.
    watched = set()
    if controls.personalised and profile < NUM_PROFILES:
        hidden = {*controls.removed, *controls.less_like}
        rows = world().profiles.history.items_of(profile).tolist()
        watched = {f"i{row}" for row in rows} - hidden
    assert set(every.item_id) == {str(row["item_id"]) for row in ROWS} - forbidden - watched


@given(decided=st.lists(_decided, min_size=NUM_PROFILES, max_size=NUM_PROFILES))
@settings(max_examples=15, deadline=None)
def test_a_batch_answers_each_profile_as_it_is_answered_alone(
    decided: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    of = {f"p{one}": Controls(**each) for one, each in enumerate(decided)}
    retriever = Retriever(world(), Given(of))
    path = tmp_path_factory.mktemp("batch") / "all.parquet"
    recommend_all(retriever, path, 9)
    for line in pq.read_table(path).to_pylist():
        alone = retriever.recommend(line["profile_id"], k=9)
        assert tuple(line["item_id"]) == alone.item_id
        np.testing.assert_array_equal(np.array(line["score"], np.float32), alone.score)
        assert line["degraded"] == alone.degraded


def test_a_removed_title_counts_as_if_it_had_never_been_watched() -> None:
    vectors = VECTORS
    seen = release(vectors, profiles={"ann": [3, 9, 4, 3], "bob": [9, 4], "cyd": [3]})
    retriever = Retriever(seen, Given({"ann": Controls(removed=("i3",)), "cyd": Controls(removed=("i3",))}))
    assert retriever.history("ann") == ("i9", "i4")
    asks: list[Callable[[str], Ranking]] = [
        lambda who: retriever.recommend(who, k=60),
        lambda who: retriever.search("title", profile_id=who, k=60),
    ]
    for ask in asks:
        removed, never = ask("ann"), ask("bob")
        assert removed.item_id == never.item_id
        assert removed.score.tobytes() == never.score.tobytes()
        assert removed.degraded is never.degraded
    assert "i3" in retriever.recommend("ann", k=60).item_id
    assert retriever.recommend("cyd").degraded is Degraded.EMPTY_HISTORY


class _Unreadable:
    """Stands in a release for what is stored of profiles; reading it fails."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} of a stored profile was read")

    def __contains__(self, one: object) -> bool:
        raise AssertionError("a stored profile was looked up")


def test_without_personalisation_no_profile_is_read_and_all_of_a_country_are_answered_alike() -> None:
    stored = replace(world().profiles)
    for name in ("profiles", "history", "country", "features"):
        object.__setattr__(stored, name, _Unreadable())
    off = Given({"ann": Controls(personalised=False), "bob": Controls(personalised=False)})
    retriever = Retriever(replace(world(), profiles=stored), off)
    asks: list[Callable[[str], Ranking]] = [
        lambda who: retriever.recommend(who, country="FR", k=20),
        lambda who: retriever.recommend(who, history=["i1"] if who == "ann" else [], country="FR", k=20),
        lambda who: retriever.search("title", profile_id=who, country="FR", k=20),
        lambda who: retriever.similar("i4", 20, profile_id=who),
    ]
    for ask in asks:
        one, other = ask("ann"), ask("bob")
        assert one.item_id == other.item_id
        assert one.score.tobytes() == other.score.tobytes()
        assert one.degraded is other.degraded
        assert len(one) == 20
    assert retriever.recommend("ann", country="FR").degraded is Degraded.NOT_PERSONALISED
    assert retriever.suggest("ti", 5, profile_id="ann") == retriever.suggest("ti", 5, profile_id="bob")
    with pytest.raises(AssertionError, match="looked up"):  # the stand-in would be noticed
        retriever.recommend("cyd", country="FR")


def test_in_a_batch_a_profile_without_personalisation_is_answered_as_nobody_of_its_kind_would_tell() -> None:
    features = pa.table({"age": pa.array(range(NUM_PROFILES), pa.int32())})
    known = replace(world().profiles, features=features, country=np.array(["FR"] * NUM_PROFILES))
    of = {"p3": Controls(personalised=False)}
    retriever = Retriever(replace(world(), profiles=known), Given(of))
    asked = retriever.questions(2, 5, views=retriever.views(2, 5))
    assert asked.country.tolist() == ["FR", "", "FR"]
    assert asked.profiles is not None
    assert asked.profiles["age"].to_pylist() == [2, None, 4]
    assert asked.history.lengths[1] == 0
    assert asked.time_seconds[1] == world().profiles.as_of_seconds


@pytest.mark.parametrize(
    "ask",
    [
        lambda retriever: retriever.recommend("p1"),
        lambda retriever: retriever.recommend("nobody-yet"),
        lambda retriever: retriever.similar("i1", profile_id="p1"),
        lambda retriever: retriever.search("title", profile_id="p1"),
        lambda retriever: retriever.search("xqzw", profile_id="p1"),
        lambda retriever: retriever.suggest("ti", profile_id="p1"),
        lambda retriever: retriever.history("p1"),
        lambda retriever: retriever.views(0, 3),
    ],
)
def test_where_controls_cannot_be_read_there_is_no_answer(ask: object) -> None:
    with pytest.raises(ControlsError):
        ask(Retriever(world(), Given({}, readable=False)))  # type: ignore[operator]


def test_a_file_that_is_damaged_while_it_serves_ends_the_answers(tmp_path: Path) -> None:
    path = tmp_path / "controls.sqlite"
    store = ControlsStore.create(path)
    store.set_pin("p1", "4711")
    store.change("p1", lambda held: replace(held, kids=True))
    retriever = Retriever(world(), store)
    kids = set(retriever.recommend("p1", k=NUM_ITEMS).item_id)
    assert kids
    assert not kids & _forbidden(Controls(kids=True))
    with path.open("r+b") as file:
        file.seek(0)
        file.write(b"\0" * path.stat().st_size)
    with pytest.raises(ControlsError):
        retriever.recommend("p1")


def test_controls_hold_in_the_release_that_comes_next(tmp_path: Path) -> None:
    store = ControlsStore.create(tmp_path / "controls.sqlite")
    store.change("p1", lambda held: replace(held, excluded_genres=("Horror",), removed=("i2",)))
    newer = release(VECTORS[::-1].copy(), items=world().catalogue.table, profiles={"p1": [2, 5]})
    for served in (world(), replace(newer, release_id="r000002")):
        answer = Retriever(served, store).recommend("p1", k=NUM_ITEMS)
        assert not set(answer.item_id) & _forbidden(Controls(excluded_genres=("Horror",)))
    assert "i2" in answer.item_id


def test_less_like_a_title_moves_answers_away_from_it() -> None:
    # Two blocks of titles; the profile watched both, and wants less of one.
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(2, 6), 50, axis=0) + 0.1 * rng.standard_normal((100, 6))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    served = release(vectors, profiles={"ann": [0, 1, 50]})
    before = Retriever(served).recommend("ann", k=20)
    after = Retriever(served, Given({"ann": Controls(less_like=("i0", "i1"))})).recommend("ann", k=20)
    share = [np.mean([int(one[1:]) < 50 for one in answer.item_id]) for answer in (before, after)]
    assert share[0] > 0.5
    assert share[1] == 0.0


def test_a_history_loses_events_line_by_line() -> None:
    history = Histories(
        np.array([0, 2, 2, 5]), np.array([4, 1, 4, 2, 4]), np.arange(5), np.arange(5, dtype=np.float32)
    )
    kept = history.only(np.array([True, False, False, True, True]))
    assert kept.offset.tolist() == [0, 1, 1, 3]
    assert kept.item_row.tolist() == [4, 2, 4]
    assert kept.time_seconds.tolist() == [0, 3, 4]
