"""What every Recommender promises, run over all of them."""

import numpy as np
import pytest

from tests.contracts.recommenders import FACTORIES, NUM_ITEMS, Factory, World, make_world, queries_of
from towers.errors import QueryError
from towers.recommender import PAD, Queries, Rankings, Recommender

KS = (1, 5, NUM_ITEMS, NUM_ITEMS + 7)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module", params=FACTORIES, ids=lambda factory: factory.name)
def recommender(
    request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory
) -> Recommender:
    factory: Factory = request.param
    return factory.make(world, tmp_path_factory.mktemp(factory.name))


def assert_same_answer(found: Rankings, expected: Rankings) -> None:
    """Equal scores, up to the rounding of another batch's arithmetic, and equal rows where scores differ."""
    filled = expected.item_row != PAD
    np.testing.assert_array_equal(found.item_row != PAD, filled)
    np.testing.assert_allclose(found.score[filled], expected.score[filled], rtol=1e-4, atol=1e-5)
    for row, other, score in zip(found.item_row, expected.item_row, expected.score, strict=True):
        for place in np.flatnonzero(row != other):
            moved = np.flatnonzero(other == row[place])
            # Only items of almost the same score may change places, or fall off the end for one another.
            rival = score[moved[0]] if len(moved) else score[-1]
            assert rival == pytest.approx(score[place], rel=1e-4, abs=1e-5)


def test_it_is_a_recommender(recommender: Recommender) -> None:
    assert isinstance(recommender, Recommender)


@pytest.mark.parametrize("k", KS)
def test_every_place_that_an_eligible_item_can_fill_is_filled(
    recommender: Recommender, world: World, k: int
) -> None:
    rankings = recommender.rank(world.queries, k)
    assert rankings.item_row.shape == rankings.score.shape == (len(world.queries), k)
    assert rankings.item_row.dtype == np.int64
    assert rankings.score.dtype == np.float32
    for query, row in enumerate(rankings.item_row.tolist()):
        num_eligible = NUM_ITEMS - len(set(world.queries.history.items_of(query).tolist()))
        num_filled = min(k, num_eligible)
        assert all(0 <= item < NUM_ITEMS for item in row[:num_filled])
        assert row[num_filled:] == [PAD] * (k - num_filled)


@pytest.mark.parametrize("k", KS)
def test_scores_never_rise_and_are_minus_infinity_only_at_padding(
    recommender: Recommender, world: World, k: int
) -> None:
    rankings = recommender.rank(world.queries, k)
    for row, score in zip(rankings.item_row.tolist(), rankings.score.tolist(), strict=True):
        assert score == sorted(score, reverse=True)
        assert [value == -np.inf for value in score] == [item == PAD for item in row]


@pytest.mark.parametrize("k", KS)
def test_no_item_is_shown_twice_nor_what_was_watched(recommender: Recommender, world: World, k: int) -> None:
    rankings = recommender.rank(world.queries, k)
    for query, row in enumerate(rankings.item_row.tolist()):
        shown = [item for item in row if item != PAD]
        assert len(set(shown)) == len(shown)
        assert not set(shown) & set(world.queries.history.items_of(query).tolist())


def test_a_shorter_ranking_is_the_head_of_a_longer_one(recommender: Recommender, world: World) -> None:
    long, short = recommender.rank(world.queries, 20), recommender.rank(world.queries, 6)
    assert_same_answer(short, Rankings(long.item_row[:, :6], long.score[:, :6]))


def test_k_of_zero_gives_an_empty_ranking_per_query(recommender: Recommender, world: World) -> None:
    assert recommender.rank(world.queries, 0).item_row.shape == (len(world.queries), 0)


def test_a_negative_k_is_refused(recommender: Recommender, world: World) -> None:
    with pytest.raises(QueryError, match="k = -1"):
        recommender.rank(world.queries, -1)


@pytest.mark.parametrize("k", [0, 5])
def test_no_queries_give_no_rankings(recommender: Recommender, k: int) -> None:
    rankings = recommender.rank(queries_of([]), k)
    assert rankings.item_row.shape == rankings.score.shape == (0, k)


def test_a_profile_that_has_watched_everything_is_shown_nothing(recommender: Recommender) -> None:
    everything = list(range(NUM_ITEMS))
    rankings = recommender.rank(queries_of([everything, everything[1:]]), 3)
    assert rankings.item_row.tolist() == [[PAD] * 3, [0, PAD, PAD]]
    assert np.all(rankings.score[0] == -np.inf)


def test_a_new_profile_gets_a_full_answer(recommender: Recommender) -> None:
    assert np.all(recommender.rank(queries_of([[]]), 10).item_row != PAD)


def test_an_item_watched_twice_is_still_left_out(recommender: Recommender) -> None:
    row = recommender.rank(queries_of([[4, 9, 4]]), NUM_ITEMS).item_row[0]
    assert sorted(row.tolist()) == [PAD, PAD, *(item for item in range(NUM_ITEMS) if item not in (4, 9))]


def test_a_batch_is_answered_as_each_query_alone(recommender: Recommender, world: World) -> None:
    batch = recommender.rank(world.queries, 8)
    alone = [
        recommender.rank(world.queries.select(np.array([query])), 8) for query in range(len(world.queries))
    ]
    rows, scores = (
        np.concatenate([getattr(one, column) for one in alone]) for column in ("item_row", "score")
    )
    assert_same_answer(Rankings(rows, scores), batch)


def test_queries_in_another_order_get_their_own_answers(recommender: Recommender, world: World) -> None:
    order = np.random.default_rng(3).permutation(len(world.queries))
    answer = recommender.rank(world.queries, 8)
    shuffled = recommender.rank(world.queries.select(order), 8)
    assert_same_answer(shuffled, Rankings(answer.item_row[order], answer.score[order]))


def test_asking_again_gives_the_same_answer(recommender: Recommender, world: World) -> None:
    first, second = recommender.rank(world.queries, 8), recommender.rank(world.queries, 8)
    np.testing.assert_array_equal(first.item_row, second.item_row)
    np.testing.assert_array_equal(first.score, second.score)


def test_the_questions_are_not_changed_by_asking(recommender: Recommender, world: World) -> None:
    def arrays(queries: Queries) -> list[np.ndarray]:
        history = queries.history
        return [
            history.offset,
            history.item_row,
            history.time_seconds,
            history.minutes,
            queries.time_seconds,
            queries.country,
        ]

    before = [array.copy() for array in arrays(world.queries)]
    recommender.rank(world.queries, 8)
    for array, copy in zip(arrays(world.queries), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_an_item_outside_the_catalogue_is_refused(recommender: Recommender) -> None:
    with pytest.raises(QueryError, match=str(NUM_ITEMS)):
        recommender.rank(queries_of([[NUM_ITEMS]]), 5)
