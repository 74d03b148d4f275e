"""Explanations, held against histories encoded again one by one, and planted causes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.attribution import MAX_ERROR, Attributor
from retrieval.control.controls import Controls
from retrieval.eligibility.rules import All, GenresAny, Not, ReleaseYearBetween
from retrieval.encoder import load_encoder
from retrieval.explain import MOST_CAUSES, Explanation
from retrieval.lists import ListAnswers, RankedLists
from retrieval.retriever import Retriever
from retrieval.terminal import explanation_lines
from tests.retrieval.conftest import Exported
from tests.retrieval.control.test_controlled import Given
from tests.retrieval.worlds import by_vectors, histories, items_table, queries, release
from towers.errors import QueryError, UnknownIdError
from towers.nets.contributions import contributions
from towers.nets.item_tower import ItemFeatureTensors
from towers.nets.two_tower import load_towers
from towers.recommender import PAD, Degraded


def _vectors(seed: int, num_items: int = 40) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((num_items, 6))
    unit: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


@given(
    watched=st.lists(st.integers(0, 39), min_size=1, max_size=12),
    row=st.integers(0, 39),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_a_cause_is_what_the_score_loses_when_the_history_is_encoded_without_it(
    watched: list[int], row: int, seed: int
) -> None:
    vectors = _vectors(seed)
    explained = Retriever(release(vectors, profiles={"ann": watched})).explain(f"i{row}", "ann")

    def score(rows: list[int]) -> float:
        return float((vectors[rows].mean(axis=0) if rows else vectors[0]) @ vectors[row])

    drops = {one: score(watched) - score([two for two in watched if two != one]) for one in set(watched)}
    assert explained.score == pytest.approx(score(watched), abs=1e-5)
    assert explained.without_history == pytest.approx(score([]), abs=1e-5)
    for cause in explained.causes:
        assert cause.drop == pytest.approx(drops[int(cause.item_id[1:])], abs=1e-5)
        assert cause.drop > 0
    named = {int(cause.item_id[1:]) for cause in explained.causes}
    if max(drops.values()) > 1e-4:
        assert max(drops[one] for one in named) == pytest.approx(max(drops.values()), abs=1e-5)
        rest = [one for one in watched if one not in named]
        assert explained.together == pytest.approx(score(watched) - score(rest), abs=1e-5)
        assert explained.together >= explained.causes[0].drop - 1e-5
    elif max(drops.values()) < -1e-5:
        assert not named
    assert len(named) <= MOST_CAUSES


def test_two_titles_of_a_kind_are_causes_together_and_hardly_alone() -> None:
    # i1 and i2 are the same vector, i3 is across; asked is one beside the two.
    vectors = np.array([[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0.1, 0]], np.float32)
    explained = Retriever(release(vectors, profiles={"ann": [1, 2, 3]})).explain("i4", "ann")
    assert {cause.item_id for cause in explained.causes} == {"i1", "i2"}
    # (1 + 1 + 0) / 3 with both, 1 / 2 without one of them, 0 without both.
    assert [cause.drop for cause in explained.causes] == pytest.approx([1 / 6, 1 / 6])
    assert explained.together == pytest.approx(2 / 3)
    assert "not the sum" in " ".join(explanation_lines(Retriever(release(vectors)), explained))


def test_what_lifts_nothing_is_never_named() -> None:
    vectors = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    explained = Retriever(release(vectors, profiles={"ann": [1, 2]})).explain("i3", "ann")
    assert explained.causes == ()
    assert explained.together == 0.0
    assert explained.num_watched == 2


def test_an_answer_that_does_not_come_from_a_history_says_so_and_names_no_title() -> None:
    retriever = Retriever(
        release(_vectors(1), profiles={"ann": [], "bob": [3]}), Given({"bob": Controls(personalised=False)})
    )
    for profile_id, reason in (
        ("ann", Degraded.EMPTY_HISTORY),
        ("nobody", Degraded.UNKNOWN_PROFILE),
        ("bob", Degraded.NOT_PERSONALISED),
    ):
        explained = retriever.explain("i3", profile_id)
        assert explained.degraded is reason
        assert explained.causes == ()
    assert retriever.explain("i3", "nobody").score == 36.0  # of 40 titles the fourth by popularity
    with pytest.raises(UnknownIdError):
        retriever.explain("zz", "ann")


def test_a_removed_title_is_never_a_cause() -> None:
    vectors = _vectors(2)
    seen = release(vectors, profiles={"ann": [4, 7], "bob": [7]})
    explained = Retriever(seen, Given({"ann": Controls(removed=("i4",))})).explain("i4", "ann")
    plain = Retriever(seen).explain("i4", "bob")
    assert explained.causes == plain.causes
    assert explained.score == plain.score
    assert all(cause.item_id != "i4" for cause in explained.causes)


def test_each_rule_says_what_it_keeps_out_and_whether_the_title_passes() -> None:
    items = items_table(
        4,
        genres=[["Horror"], ["Drama"], ["Horror", "Drama"], []],
        release_year=[1980, 1990, 2000, 2010],
    )
    served = release(_vectors(3, 4), items=items, profiles={"ann": [3, 3]})
    retriever = Retriever(served, Given({"ann": Controls(excluded_genres=("horror",))}))
    rule = All((ReleaseYearBetween(1985, 2005), Not(GenresAny(("War",)))))
    found = {
        (one.name, one.rule[:20]): (one.num_titles, one.passes)
        for one in retriever.explain("i2", "ann", rule=rule).filters
    }
    assert found == {
        ("rule", '{"release_year_betwe'): (2, True),
        ("rule", '{"not": {"genres_any'): (0, True),
        ("excluded_genres", ""): (2, False),
        ("watched", ""): (1, True),
    }
    assert not retriever.explain("i2", "ann").eligible
    assert retriever.explain("i1", "ann", rule=rule).eligible
    assert not retriever.explain("i3", "ann").eligible  # watched
    assert "not shown" in " ".join(explanation_lines(retriever, retriever.explain("i2", "ann")))


def test_a_release_of_lists_is_explained_by_the_lists_of_single_titles_and_tagged() -> None:
    # Profiles ann; the country ""; titles 0 to 4: who watched 0 is shown 3 then 4, who watched 1 is shown 4.
    rows = [[4, 3], [2, PAD], [3, 4], [4, PAD], [PAD, PAD], [PAD, PAD], [PAD, PAD]]
    served = release(_vectors(4, 5), profiles={"ann": [0, 1]})
    lists = RankedLists(np.array(rows, np.int32), np.zeros((7, 2), np.float32), np.arange(5))
    retriever = Retriever(replace(served, answers=ListAnswers(lists, served.profiles)))
    explained = retriever.explain("i3", "ann")
    assert [cause.item_id for cause in explained.causes] == ["i0"]
    assert explained.degraded is Degraded.NOT_PRECOMPUTED
    assert retriever.explain("i2", "ann").causes == ()
    assert {cause.item_id for cause in retriever.explain("i4", "ann").causes} == {"i0", "i1"}
    with pytest.raises(QueryError, match="answers without towers"):
        retriever.explain("i3", "ann", metadata=True)


def test_contributions_add_up_to_what_the_tower_sums(exported: Exported) -> None:
    from towers.data.dataset import read_dataset
    from towers.data.signals.settings import SignalSettings

    towers = load_towers(exported.model)
    items = read_dataset(exported.tables, SignalSettings()).items
    encoded = ItemFeatureTensors(towers.encoder.encode(items))
    tower = towers.pairs()[0].items
    with torch.no_grad():
        torch.testing.assert_close(
            contributions(tower, encoded).summed(), tower.summed(encoded), equal_nan=True
        )


@pytest.mark.parametrize("dimension", [16, 8])
@pytest.mark.parametrize("interests", [False, True])
def test_attributions_add_up_to_the_score_that_is_served(
    exported: Exported, exported_interests: Exported, dimension: int, interests: bool
) -> None:
    from retrieval.release.files import read_vectors
    from towers.data.dataset import read_dataset
    from towers.data.signals.settings import SignalSettings
    from towers.evaluation.cut import cut

    given_ = exported_interests if interests else exported
    items = read_dataset(given_.tables, SignalSettings()).items
    vectors = read_vectors(Path(given_.model, "items.safetensors"))[0]
    encoder = load_encoder(given_.model, vectors, dimension)
    query = encoder.encode(queries([1, 4, 7]))[0]
    attributor = Attributor(encoder.towers, items, dimension)
    searched = cut(vectors, dimension)
    for row in (0, 5, len(items) - 1):
        found = attributor.attribute(row, query)
        assert found.score == pytest.approx(float((np.atleast_2d(query) @ searched[row]).max()), abs=1e-5)
        assert found.error <= MAX_ERROR
        assert sum(one.share for one in found.shares) == pytest.approx(
            found.score - found.average, abs=MAX_ERROR
        )
        assert {"item_id", "genres", "cast"} <= {one.column for one in found.shares}


def test_the_moment_of_the_question_stays_when_the_newest_event_is_left_out() -> None:
    vectors = _vectors(5)
    served = release(vectors, profiles={"ann": [3, 4]})
    asked = []
    encoder = by_vectors(served).encoder
    plain = encoder.encode

    def recorded(these: object) -> np.ndarray:
        asked.extend(these.time_seconds.tolist())  # type: ignore[attr-defined]
        return plain(these)  # type: ignore[arg-type]

    encoder.encode = recorded  # type: ignore[assignment]
    Retriever(served).explain("i9", "ann")
    assert set(asked) == {int(histories([3, 4]).time_seconds[-1])}


def test_an_explanation_holds_no_profile() -> None:
    explained = Retriever(release(_vectors(6), profiles={"canary-profile": [3, 4]})).explain(
        "i9", "canary-profile"
    )
    assert isinstance(explained, Explanation)
    assert "canary" not in repr(explained)
