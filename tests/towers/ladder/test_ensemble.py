"""Ensembles: fusion by hand, and a blend that finds the member to trust."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import asked, watched
from towers.data.split import HeldOut
from towers.errors import ConfigError, QueryError, TrainingError
from towers.ladder.dense import rank_scores
from towers.ladder.ensemble import BlendSettings, FusionSettings, fit_blend, fit_fusion
from towers.recommender import PAD, Queries, Rankings, Recommender

NUM_ITEMS = 12


@dataclass(frozen=True, slots=True)
class Fixed:
    """Shows everyone the catalogue in one order, its own history left out."""

    order: tuple[int, ...]

    def rank(self, queries: Queries, k: int) -> Rankings:
        score = np.empty((len(queries), len(self.order)), np.float32)
        score[:, list(self.order)] = -np.arange(len(self.order), dtype=np.float32)
        return rank_scores(score, queries.history, k)


@dataclass(frozen=True, slots=True)
class Foreseeing:
    """Puts the successor of the last item watched (one row on) at the place given, all else by row."""

    place: int

    def rank(self, queries: Queries, k: int) -> Rankings:
        score = np.tile(-np.arange(NUM_ITEMS, dtype=np.float32), (len(queries), 1))
        last = queries.history.item_row[queries.history.offset[1:] - 1]
        score[np.arange(len(queries)), (last + 1) % NUM_ITEMS] = 0.5 - self.place
        return rank_scores(score, queries.history, k)


def test_fusion_sums_reciprocal_ranks() -> None:
    members = {"one": Fixed((0, 1, 2, 3)), "other": Fixed((2, 0, 3, 1))}
    rankings = fit_fusion(members).rank(asked([[], [0]]), 4)
    # Everyone: 0 at 1 and 2, 2 at 3 and 1, 1 at 2 and 4, 3 at 4 and 3. Without 0: 2 at 2 and 1, …
    assert rankings.item_row.tolist() == [[0, 2, 1, 3], [2, 1, 3, PAD]]
    assert rankings.score[0] == pytest.approx(
        [1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62 + 1 / 64, 1 / 64 + 1 / 63]
    )
    assert rankings.score[1, :3] == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 63, 1 / 63 + 1 / 62])


@hypothesis_settings(deadline=None, max_examples=50)
@given(
    orders=st.lists(st.permutations(range(7)), min_size=1, max_size=3),
    known=st.lists(st.integers(0, 6), max_size=3, unique=True),
    depth=st.integers(1, 9),
    damping=st.sampled_from([0.0, 60.0]),
    k=st.integers(0, 9),
)
def test_it_is_a_sort_by_the_fused_score_and_then_the_first_member(
    orders: list[list[int]], known: list[int], depth: int, damping: float, k: int
) -> None:
    members = {f"member {place}": Fixed(tuple(order)) for place, order in enumerate(orders)}
    rankings = fit_fusion(members, FusionSettings(damping, depth)).rank(asked([known]), k)
    score: dict[int, float] = {}
    for order in orders:
        for rank, item in enumerate([item for item in order if item not in known][:depth], start=1):
            score[item] = score.get(item, 0.0) + 1 / (damping + rank)
    fused = sorted(score, key=lambda item: (-round(score[item], 12), item))
    rest = [item for item in orders[0] if item not in known and item not in score]
    expected = [*fused, *rest][:k]
    assert sorted(rankings.item_row[0, : len(expected)].tolist()) == sorted(expected)
    for item, value in zip(rankings.item_row[0].tolist(), rankings.score[0].tolist(), strict=True):
        assert item == PAD or value == pytest.approx(score[item], rel=1e-5) if item in score else value < 0
    assert rankings.item_row[0, len(fused) : len(expected)].tolist() == expected[len(fused) :]


def questions(num_queries: int) -> HeldOut:
    """Each profile has watched one item and watches the next row next."""
    rng = np.random.default_rng(0)
    last = rng.integers(0, NUM_ITEMS, num_queries)
    return HeldOut(
        profile_row=np.arange(num_queries),
        history=watched([[item] for item in last.tolist()]),
        time_seconds=np.full(num_queries, 1_000),
        country=np.full(num_queries, ""),
        target_offset=np.arange(num_queries + 1),
        target_row=(last + 1) % NUM_ITEMS,
    )


def test_a_blend_trusts_the_member_that_was_right_though_it_puts_the_answer_second() -> None:
    members: dict[str, Recommender] = {"noise": Fixed(tuple(range(NUM_ITEMS))), "right": Foreseeing(1)}
    blend = fit_blend(members, questions(60), BlendSettings(depth=3))
    test = asked([[8], [4], [5], [10]])
    row = blend.rank(test, NUM_ITEMS).item_row
    assert row[:, 0].tolist() == [9, 5, 6, 11]
    # The fusion, which trusts both alike, does not see it.
    assert fit_fusion(members).rank(test, 1).item_row[:, 0].tolist() == [0, 0, 0, 0]


def test_a_blend_scores_by_the_logistic_regression_of_its_inputs() -> None:
    members: dict[str, Recommender] = {"noise": Fixed(tuple(range(NUM_ITEMS))), "right": Foreseeing(0)}
    blend = fit_blend(members, questions(60), BlendSettings(depth=3))
    rankings = blend.rank(asked([[8]]), 4)
    # noise lists 0, 1, 2; right lists 9, 0, 1 with scores 0.5, 0 and -1, that is 1, 2/3 and 0 of its span.
    inputs = {
        0: [1.0, 1.0, 1.0, 1 / 2, 2 / 3, 1.0],
        1: [1 / 2, 0.5, 1.0, 1 / 3, 0.0, 1.0],
        2: [1 / 3, 0.0, 1.0, 0.0, 0.0, 0.0],
        9: [0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
    }
    score = {
        item: float(np.dot(blend.log_odds.weight, line)) + blend.log_odds.bias
        for item, line in inputs.items()
    }
    assert rankings.item_row[0].tolist() == sorted(score, key=lambda item: -score[item])
    assert rankings.score[0] == pytest.approx(sorted(score.values(), reverse=True), rel=1e-4)


def test_what_no_member_lists_follows_as_the_first_has_it_below_all_others() -> None:
    members: dict[str, Recommender] = {"right": Foreseeing(0), "other": Fixed((4, 3, 2, 1, 0, *range(5, 12)))}
    fusion = fit_fusion(members, FusionSettings(depth=1))
    blend = fit_blend(members, questions(60), BlendSettings(depth=1))
    # To the fusion 4 and 9 are equal, and the row decides; the blend trusts who foresees.
    for ensemble, head in ((fusion, [4, 9]), (blend, [9, 4])):
        rankings = ensemble.rank(asked([[8]]), 13)
        assert rankings.item_row[0].tolist() == [*head, 0, 1, 2, 3, 5, 6, 7, 10, 11, PAD, PAD]
        assert np.all(np.diff(rankings.score[0, 1:11]) < 0.0)


def test_a_blend_of_members_that_never_list_an_answer_is_refused() -> None:
    held = questions(20)
    wrong = Fixed(tuple(range(NUM_ITEMS)))
    keep = np.flatnonzero(held.target_row > 3)
    held = HeldOut(
        keep,
        held.history.select(keep),
        held.time_seconds[keep],
        held.country[keep],
        np.arange(len(keep) + 1),
        held.target_row[keep],
    )
    with pytest.raises(TrainingError, match=r"blend: 0 of \d+ examples are answers"):
        fit_blend({"wrong": wrong}, held, BlendSettings(depth=2))


def test_an_ensemble_of_nobody_and_a_setting_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"fusion\.members: none"):
        fit_fusion({})
    with pytest.raises(ConfigError, match=r"blend\.members: none"):
        fit_blend({}, questions(3))
    with pytest.raises(ConfigError, match=r"fusion\.depth"):
        fit_fusion({"one": Fixed((0,))}, FusionSettings(depth=0))
    with pytest.raises(QueryError, match="k = -1"):
        fit_fusion({"one": Fixed((0,))}).rank(asked([[]]), -1)
