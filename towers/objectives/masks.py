"""Which negatives of a position count for nothing: its own targets, drawn by accident, and its history.

A masked score is minus infinity, not a large constant: the exponential of it is 0 in every type, whatever the
temperature, and so is its gradient.
"""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


def slots(row: Int64[Tensor, " M"], num_items: int) -> Int64[Tensor, " N1"]:
    """Where each of the items stands among M distinct rows, (N + 1,); M where it does not.

    The last entry is that of row -1, "none", which stands nowhere.
    """
    slot = torch.full((num_items + 1,), len(row), dtype=torch.int64, device=row.device)
    slot[row] = torch.arange(len(row), device=row.device)
    return slot


def blocked_shared(
    slot: Int64[Tensor, " N1"], blocked_row: Int64[Tensor, "P X"], num_negatives: int
) -> Bool[Tensor, "P M"]:
    """Which of the negatives that all positions share each position must not see; rows of -1 block nothing.

    O(P·X) beside the mask itself: `slot` is of `slots`, and the rows behind it are distinct.
    """
    blocked = torch.zeros(len(blocked_row), num_negatives + 1, dtype=torch.bool, device=blocked_row.device)
    return blocked.scatter_(1, slot[blocked_row], True)[:, :-1]


def blocked_each(
    negative_row: Int64[Tensor, "P M"], blocked_row: Int64[Tensor, "P X"]
) -> Bool[Tensor, "P M"]:
    """The same for negatives of each position's own, which may repeat; never holding positions × M × X."""
    blocked = torch.zeros_like(negative_row, dtype=torch.bool)
    for row in blocked_row.unbind(1):
        blocked |= negative_row == row[:, None]
    return blocked


def first_of_each(row: Int64[Tensor, "P A"]) -> Bool[Tensor, "P A"]:
    """Where a row stands for the first time in its line; rows of -1 never do."""
    same = row[:, :, None] == row[:, None, :]
    return (row >= 0) & ~same.tril(-1).any(2)
