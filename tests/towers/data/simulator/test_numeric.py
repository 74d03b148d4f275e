import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.data.simulator.numeric import (
    allocate,
    factor_grid,
    gumbel,
    offsets,
    place_in_group,
    utility_grid,
)

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


def test_sums_on_the_grid_are_exact_in_any_order() -> None:
    rng = np.random.default_rng(0)
    factor = factor_grid(rng.normal(0.0, 3.0, (1, 500)))
    taste = factor_grid(rng.normal(0.0, 3.0, (500, 1)))
    product = (factor.T * taste).ravel()
    exact = float((factor.astype(np.float64) @ taste.astype(np.float64))[0, 0])
    for _ in range(5):
        running = np.float32(0)
        for value in rng.permutation(product):
            running += value
        assert float(running) == exact
    assert float((factor @ taste)[0, 0]) == exact


def test_the_grids_are_a_64th_and_a_4096th() -> None:
    values = np.array([0.3, -1.01, 7.77])
    assert (factor_grid(values) * 64 % 1 == 0).all()
    assert (utility_grid(values) * 4096 % 1 == 0).all()
    assert np.abs(utility_grid(values) - values).max() <= 0.5 / 4096
    assert utility_grid(np.array([-np.inf]))[0] == -np.inf


def test_the_argmax_with_gumbel_noise_is_a_draw_from_the_softmax() -> None:
    utility = np.log([0.1, 0.2, 0.7])
    drawn = (utility + gumbel(np.random.default_rng(1), (20_000, 3))).argmax(axis=1)
    # Five standard errors of a share of 20,000 draws are at most 0.018.
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), [0.1, 0.2, 0.7], atol=0.018)
