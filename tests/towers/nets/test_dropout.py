"""Dropout by bytes beside what it must be on average, and where it must do nothing."""

import pytest
import torch

from towers.nets.dropout import Dropout


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
def test_the_share_is_dropped_and_the_mean_stays(share: float) -> None:
    torch.manual_seed(0)
    dropout = Dropout(share)
    num = 400_003  # no whole number of eight bytes
    found = dropout(torch.ones(num))
    kept = found > 0
    of_all = float((~kept).double().mean())
    assert of_all == pytest.approx(share, abs=1 / 512 + 4 * (share * (1 - share) / num) ** 0.5)
    assert float(found.double().mean()) == pytest.approx(1.0, abs=4 * (share / (1 - share) / num) ** 0.5)
    assert len(set(found[kept].tolist())) == 1
    # Neighbours within a word of eight bytes are dropped apart from each other.
    pairs = (~kept[:-1] & ~kept[1:]).double().mean()
    assert float(pairs) == pytest.approx(of_all**2, abs=0.004)


def test_the_gradient_is_that_of_what_was_kept() -> None:
    entries = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    found = Dropout(0.5)(entries)
    (gradient,) = torch.autograd.grad(found.sum(), entries)
    torch.testing.assert_close(gradient * entries, found)
    assert {round(value, 6) for value in gradient.flatten().tolist()} == {0.0, 2.0}


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_nothing_is_dropped_outside_of_training_nor_at_a_share_of_zero(share: float) -> None:
    entries = torch.randn(100)
    dropout = Dropout(share).train(share == 0.0)
    assert torch.equal(dropout(entries), entries)


def test_draws_follow_the_seed_and_empty_tables_pass() -> None:
    dropout = Dropout(0.5)
    torch.manual_seed(5)
    first, second = dropout(torch.ones(999)), dropout(torch.ones(999))
    torch.manual_seed(5)
    assert torch.equal(dropout(torch.ones(999)), first)
    assert not torch.equal(first, second)
    assert dropout(torch.ones(0, 4)).shape == (0, 4)
