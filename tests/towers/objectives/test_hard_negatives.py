import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.objectives.hard_negatives import HardNegativeSettings, exact_search, hard_negatives

# One query along the first axis: an item's score is its first number.
QUERY = torch.tensor([[1.0, 0.0]])
ITEM = torch.tensor([[score, 1.0] for score in (0.80, 0.99, 0.77, 0.75, 0.60, 0.50, -0.20)])


def mined(**settings: int | float) -> list[int]:
    chosen = HardNegativeSettings(**settings)  # type: ignore[arg-type]
    rows = hard_negatives(QUERY, ITEM, torch.tensor([[0]]), exact_search(ITEM), chosen)
    return [int(row) for row in rows[0]]


def test_what_scores_nearly_as_high_as_the_positive_is_taken_for_an_unseen_positive() -> None:
    # 95 % of .80 is .76: items 1 (.99) and 2 (.77) are left out, and the positive itself.
    assert mined(num=3) == [3, 4, 5]
    # 99 % is .792, so only item 1 is.
    assert mined(num=3, share=0.99) == [2, 3, 4]


def test_a_margin_below_the_positive_is_kept_clear() -> None:
    assert mined(num=3, margin=0.15) == [4, 5, 6]


def test_ranks_are_counted_before_the_filter() -> None:
    # Best first: 1, 0, 2, 3, 4, 5, 6. Ranks 4 to 6 are items 4 and 5.
    assert mined(num=3, skip=4, depth=6) == [4, 5, -1]


def test_the_history_and_the_other_targets_are_no_negatives() -> None:
    rows = hard_negatives(
        QUERY,
        ITEM,
        torch.tensor([[0, 4, -1]]),
        exact_search(ITEM),
        HardNegativeSettings(num=2),
        history_row=torch.tensor([[3, -1]]),
    )
    assert rows.tolist() == [[5, 6]]


def test_a_position_without_a_positive_has_none() -> None:
    rows = hard_negatives(QUERY, ITEM, torch.tensor([[-1]]), exact_search(ITEM), HardNegativeSettings(num=2))
    assert rows.tolist() == [[-1, -1]]


@given(
    seed=st.integers(0, 2**16), share=st.floats(0.5, 1.0), margin=st.floats(0.0, 0.5), skip=st.integers(0, 5)
)
def test_they_are_those_that_brute_force_finds(seed: int, share: float, margin: float, skip: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, item = torch.randn(4, 3, generator=generator), torch.randn(15, 3, generator=generator)
    positive = torch.randint(0, 15, (4, 2), generator=generator)
    settings = HardNegativeSettings(num=4, skip=skip, depth=12, share=share, margin=margin)
    found = hard_negatives(query, item, positive, exact_search(item), settings)
    for p in range(4):
        score = (item * query[p]).sum(1).tolist()
        wanted = score[int(positive[p, 0])]
        ranked = sorted(range(15), key=lambda row: -score[row])[skip:12]
        kept = [
            row
            for row in ranked
            if row not in positive[p].tolist()
            and score[row] < wanted - (1 - share) * abs(wanted) - 1e-6 * (share == 1)
            and score[row] <= wanted - margin
        ]
        assert [row for row in found[p].tolist() if row >= 0] == kept[:4]


def test_an_index_that_finds_less_gives_less() -> None:
    settings = HardNegativeSettings(num=3, depth=4)
    rows = hard_negatives(
        QUERY, ITEM, torch.tensor([[0]]), lambda query, k: torch.tensor([[5, -1, -1, -1]]), settings
    )
    assert rows.tolist() == [[5, -1, -1]]
