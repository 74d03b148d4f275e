import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.simulator.numeric import POOL, allocate, gumbel, offsets, place_in_group, pools, repeats

relaxed = settings(deadline=None, max_examples=100)


@relaxed
@given(
    st.lists(st.tuples(st.floats(0.01, 100.0), st.integers(1, 50)), min_size=1, max_size=20),
    st.integers(0, 1),
    st.floats(0.0, 1.0),
)
def test_allocated_counts_add_up_and_stay_in_bounds(
    entries: list[tuple[float, int]], low: int, fullness: float
) -> None:
    weight = np.array([weight for weight, _ in entries])
    high = np.array([high for _, high in entries])
    least, most = low * len(entries), int(high.sum())
    total = least + int(fullness * (most - least))
    count = allocate(weight, total, low, high)
    assert count.sum() == total
    assert (count >= low).all()
    assert (count <= high).all()


def test_allocated_counts_are_proportional_where_no_bound_is_met() -> None:
    count = allocate(np.array([1.0, 2.0, 5.0]), 80, 0, np.full(3, 1000))
    assert count.tolist() == [10, 20, 50]


def test_what_a_bound_cuts_off_goes_to_the_others_in_proportion() -> None:
    count = allocate(np.array([1.0, 2.0, 97.0]), 40, 0, np.array([1000, 1000, 10]))
    assert count.tolist() == [10, 20, 10]


def test_groups_are_packed_one_after_the_other() -> None:
    count = np.array([2, 0, 3])
    assert offsets(count).tolist() == [0, 2, 2, 5]
    assert place_in_group(count).tolist() == [0, 1, 0, 1, 2]
    assert offsets(np.zeros(0, np.int64)).tolist() == [0]


@relaxed
@given(
    st.lists(
        st.lists(st.one_of(st.just(0.0), st.floats(0.001, 100.0)), min_size=3, max_size=3),
        min_size=1,
        max_size=8,
    )
)
def test_values_fill_a_pool_in_proportion_to_their_weights_to_the_nearest_places(
    weights: list[list[float]],
) -> None:
    weight = np.array(weights)
    pool = pools(np.random.default_rng(0), weight, np.array([7, 5, 9]))
    assert pool.shape == (len(weights), POOL)
    for line, row in zip(weight, pool, strict=True):
        share = line / line.sum() if line.sum() > 0 else np.full(3, 1 / 3)
        count = np.array([np.count_nonzero(row == value) for value in (7, 5, 9)])
        assert count.sum() == POOL
        assert (np.abs(count - share * POOL) < 1.001).all()
        if line.sum() > 0:
            assert not count[line == 0].any()


def test_rounding_of_a_pool_is_without_bias() -> None:
    weight = np.tile([0.3, 1023.7], (4000, 1))
    pool = pools(np.random.default_rng(0), weight, np.array([1, 0]))
    # A third of a place: there in three rows of ten; standard error 0.007.
    assert abs(pool.sum() / 4000 - 0.3) < 0.03


@relaxed
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=40))
def test_repeats_are_the_pairs_that_stood_before(pairs: list[tuple[int, int]]) -> None:
    group = np.array([pair[0] for pair in pairs], np.int64)
    value = np.array([pair[1] for pair in pairs], np.int64)
    expected = [row for row, pair in enumerate(pairs) if pair in pairs[:row]]
    assert sorted(repeats(group, value, 7).tolist()) == expected


def test_the_argmax_with_gumbel_noise_is_a_draw_from_the_softmax() -> None:
    utility = np.log([0.1, 0.2, 0.7])
    drawn = (utility + gumbel(np.random.default_rng(1), (20_000, 3))).argmax(axis=1)
    # Five standard errors of a share of 20,000 draws are at most 0.018.
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), [0.1, 0.2, 0.7], atol=0.018)
