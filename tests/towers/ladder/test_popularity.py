"""Windows that move and orders that are shared, against counting and filtering one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.ladder.logs import watched
from towers.ladder import popularity
from towers.ladder.popularity import WindowCounts, rank_by_group

NUM_ITEMS = 7


@settings(deadline=None)
@given(
    log=st.lists(st.integers(0, 3), max_size=12),
    windows=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6),
)
def test_a_window_holds_what_counting_anew_finds_wherever_it_goes(
    log: list[int], windows: list[tuple[int, int]]
) -> None:
    counts = WindowCounts(np.array(log, dtype=np.int64), 4)
    for edges in windows:
        start, stop = (min(edge, len(log)) for edge in sorted(edges))
        assert counts.between(start, stop).tolist() == [log[start:stop].count(item) for item in range(4)]


@settings(deadline=None)
@given(
    asking=st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(0, NUM_ITEMS - 1), max_size=9)), max_size=8
    ),
    orders=st.lists(st.permutations(range(NUM_ITEMS)), min_size=3, max_size=3),
    k=st.integers(0, 9),
    max_places=st.integers(1, 40),
)
def test_each_query_gets_its_group_s_order_without_its_own_history(
    asking: list[tuple[int, list[int]]], orders: list[list[int]], k: int, max_places: int
) -> None:
    def leaders(group: int, num_places: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(group)
        order = np.array(orders[group], dtype=np.int64)[:num_places]
        return order, 100.0 * group - np.arange(len(order))

    asked: list[int] = []
    whole = popularity._MAX_PLACES
    popularity._MAX_PLACES = max_places
    try:
        group = np.array([group for group, _ in asking], dtype=np.int64)
        rankings = rank_by_group(watched([known for _, known in asking]), k, group, leaders)
    finally:
        popularity._MAX_PLACES = whole
    assert asked == sorted({group for group, _ in asking})
    assert rankings.item_row.shape == (len(asking), k)
    for (group_row, known), row, score in zip(
        asking, rankings.item_row.tolist(), rankings.score.tolist(), strict=True
    ):
        order = orders[group_row]
        best = [item for item in order if item not in known][:k]
        assert row == [*best, *[-1] * (k - len(best))]
        assert score[: len(best)] == [100.0 * group_row - order.index(item) for item in best]
        assert all(value == -np.inf for value in score[len(best) :])
