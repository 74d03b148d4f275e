import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.objectives.masks import blocked_each, blocked_shared, first_of_each, slots


@given(items=st.integers(1, 9), num=st.integers(1, 4), blocked=st.integers(0, 4), seed=st.integers(0, 999))
def test_a_negative_is_masked_where_its_row_is_blocked_and_nowhere_else(
    items: int, num: int, blocked: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    row = torch.randperm(items, generator=generator)[: (items + 1) // 2]
    blocked_row = torch.randint(-1, items, (num, blocked), generator=generator)
    expected = [[int(j) in line for j in row] for line in blocked_row.tolist()]
    assert blocked_shared(slots(row, items), blocked_row, len(row)).tolist() == expected
    assert blocked_each(row.expand(num, -1), blocked_row).tolist() == expected


def test_a_row_counts_where_it_first_stands_and_no_row_never_does() -> None:
    row = torch.tensor([[3, 3, -1, 2, 3], [-1, -1, 0, 1, 0]])
    expected = [[True, False, False, True, False], [False, False, True, True, False]]
    assert first_of_each(row).tolist() == expected
