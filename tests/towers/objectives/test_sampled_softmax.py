import math
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.objectives.drawn import Positions, positions, same, sampled_by_hand
from towers.objectives import chunked
from towers.objectives.log_q import uniform_draws
from towers.objectives.negatives import Negatives, uncorrected
from towers.objectives.sampled_softmax import classic_log_weight, sampled_softmax
from towers.objectives.softmax import full_softmax

CPU = torch.device("cpu")


def shared_negatives(seed: int, items: int, num: int) -> Negatives:
    generator = torch.Generator().manual_seed(seed)
    row = torch.randperm(items, generator=generator)[:num]
    return Negatives(row, torch.randn(len(row), generator=generator, dtype=torch.float64))


def each_their_own(seed: int, items: int, num: int, count: int) -> Negatives:
    generator = torch.Generator().manual_seed(seed)
    row = torch.randint(0, items, (num, count), generator=generator)
    return Negatives(row, torch.randn(num, count, generator=generator, dtype=torch.float64))


def lists(negatives: Negatives, num: int) -> tuple[list[list[int]], list[list[float]]]:
    row, log_weight = negatives.row.tolist(), negatives.log_weight.tolist()
    return (row, log_weight) if negatives.row.ndim == 2 else ([row] * num, [log_weight] * num)


@given(
    num=st.integers(1, 6),
    items=st.integers(1, 9),
    dim=st.integers(1, 4),
    targets=st.integers(1, 4),
    interests=st.sampled_from([0, 1, 3]),
    count=st.integers(1, 9),
    shared=st.booleans(),
    compete=st.booleans(),
    hard=st.integers(0, 3),
    blocked=st.integers(0, 3),
    classic=st.booleans(),
    tau=st.floats(0.05, 2.0),
    chunk=st.integers(1, 60),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=120)
def test_value_and_gradients_equal_the_formula_whatever_the_chunk(
    num: int,
    items: int,
    dim: int,
    targets: int,
    interests: int,
    count: int,
    shared: bool,
    compete: bool,
    hard: int,
    blocked: int,
    classic: bool,
    tau: float,
    chunk: int,
    seed: int,
) -> None:
    at = positions(seed, num=num, items=items, dim=dim, targets=targets, interests=interests)
    negatives = shared_negatives(seed, items, count) if shared else each_their_own(seed, items, num, count)
    generator = torch.Generator().manual_seed(seed + 1)
    hard_row = torch.randint(-1, items, (num, hard), generator=generator)
    blocked_row = torch.randint(-1, items, (num, blocked), generator=generator)
    # One shift for each item, so that a target that repeats has the same wherever it stands.
    lift = torch.randn(items, generator=generator, dtype=torch.float64)[at.target.clamp(min=0)]
    with mock.patch.dict(chunked._CHUNK_NUMBERS, {False: chunk}):
        found = sampled_softmax(
            at.query,
            at.item,
            at.target,
            at.weight,
            negatives,
            temperature=tau,
            own_log_weight=lift if classic else None,
            targets_compete=compete,
            hard_row=hard_row,
            blocked_row=blocked_row,
        )
        expected = sampled_by_hand(
            at,
            *lists(negatives, num),
            tau,
            shift=lift if classic else None,
            compete=compete,
            hard=hard_row.tolist(),
            blocked=blocked_row.tolist(),
        )
        same(found, expected, at)


def test_with_every_item_as_a_negative_it_is_the_full_softmax() -> None:
    at = positions(3, num=7, items=11, dim=4, targets=3)
    everything = Negatives(torch.arange(11), torch.zeros(11))
    found = sampled_softmax(at.query, at.item, at.target, at.weight, everything, temperature=0.2)
    same(found, full_softmax(at.query, at.item, at.target, at.weight, temperature=0.2), at)


def test_a_weight_for_each_position_is_one_for_its_single_target() -> None:
    at = positions(4, num=6, items=9, dim=3, targets=1)
    negatives = shared_negatives(4, 9, 5)
    one = sampled_softmax(at.query, at.item, at.target, at.weight, negatives, temperature=0.3)
    flat = sampled_softmax(at.query, at.item, at.target[:, 0], at.weight[:, 0], negatives, temperature=0.3)
    same(flat, one, at)


def test_its_gradient_is_that_of_the_weighted_loss_of_the_paper() -> None:
    """Khrylchenko et al. 2025, section 3.3: n draws, Q' without the positive, and sg(1 - P)."""
    at = positions(5, num=4, items=12, dim=3, targets=1)
    at = Positions(at.query, at.item, at.target, torch.ones(4, 1, dtype=torch.float64))
    generator = torch.Generator().manual_seed(5)
    rows = torch.stack(
        [torch.randint(1, 12, (6,), generator=generator).add(int(row)).remainder(12) for row in at.target]
    )  # six draws each, none of them the positive: uniform over the eleven others
    tau, n, log_q = 0.4, 6, -math.log(11)
    paper = torch.zeros((), dtype=torch.float64)
    for p in range(4):
        score = at.query[p] @ at.item.T / tau
        positive, corrected = score[at.target[p, 0]], score[rows[p]] - log_q
        of_positive = positive.exp() / (positive.exp() + corrected.exp().sum() / n)
        paper = paper - (1 - of_positive).detach() * (positive - torch.logsumexp(corrected, 0)) / 4
    negatives = Negatives(rows, torch.full((4, 6), -log_q - math.log(n), dtype=torch.float64))
    found = sampled_softmax(at.query, at.item, at.target, at.weight, negatives, temperature=tau)
    for one, other in zip(
        torch.autograd.grad(found, (at.query, at.item)),
        torch.autograd.grad(paper, (at.query, at.item)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_the_classic_form_does_not_change_by_a_constant_added_to_log_q() -> None:
    at = positions(6, num=5, items=8, dim=3, targets=2)
    negatives = shared_negatives(6, 8, 6)
    shift = classic_log_weight([uniform_draws(8, 6, CPU)], at.target)
    shift = torch.where(at.target >= 0, shift + 0.3 * at.target, 0.0)
    losses = [
        sampled_softmax(
            at.query,
            at.item,
            at.target,
            at.weight,
            Negatives(negatives.row, negatives.log_weight + constant),
            temperature=0.3,
            own_log_weight=shift + constant,
        )
        for constant in (0.0, 2.5)
    ]
    same(losses[0], losses[1], at)


def test_classic_in_batch_is_the_corrected_batch_softmax_of_yi() -> None:
    """Column j of the batch is the target of position j, each with s - log p_j, the positive among them."""
    at = positions(7, num=6, items=6, dim=4, targets=1)
    target = torch.tensor([[3], [0], [5], [1], [2], [4]])  # all distinct, as in the paper's matrix
    at = Positions(at.query, at.item, target, at.weight)
    p = torch.tensor([0.3, 0.1, 0.2, 0.05, 0.25, 0.1], dtype=torch.float64)
    logits = at.query @ at.item[target[:, 0]].T / 0.5 - p[target[:, 0]].log()
    of_each = torch.nn.functional.cross_entropy(logits, torch.arange(6), reduction="none")
    expected = (at.weight[:, 0] * of_each).sum() / at.weight.sum()
    found = sampled_softmax(
        at.query,
        at.item,
        target,
        at.weight,
        Negatives(torch.arange(6), -p.log()),
        temperature=0.5,
        own_log_weight=-p.log()[target],
    )
    same(found, expected, at)


def test_a_copy_of_the_positive_is_not_a_negative() -> None:
    at = positions(8, num=1, items=3, dim=2, targets=1)
    only_itself = uncorrected(at.target[:, 0].repeat(5))
    found = sampled_softmax(at.query, at.item, at.target, at.weight, only_itself, temperature=0.05)
    assert found.item() == 0.0
    assert not any(grad.any() for grad in torch.autograd.grad(found, (at.query, at.item)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shared", [True, False])
def test_a_masked_negative_counts_for_nothing_however_high_its_score(
    dtype: torch.dtype, shared: bool
) -> None:
    query = torch.tensor([[1.0, 0.0]], dtype=dtype, requires_grad=True)
    item = torch.tensor([[0.01, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype=dtype, requires_grad=True)
    row = torch.tensor([1, 2]) if shared else torch.tensor([[1, 2]])
    loss = sampled_softmax(
        query,
        item,
        torch.tensor([[0]]),
        torch.ones(1, 1, dtype=dtype),
        Negatives(row, torch.zeros(row.shape)),
        temperature=1e-3,
        blocked_row=torch.tensor([[1]]),
    )
    (grad,) = torch.autograd.grad(loss, item)
    # Scores 10 and 0 are left; item 1 would have had 1000, and all of the softmax.
    assert loss.item() == pytest.approx(math.log1p(math.exp(-10)), rel=2e-2)
    assert not grad[1].any()


def test_no_positions_give_no_loss_and_no_gradient() -> None:
    item = torch.randn(5, 4, requires_grad=True)
    nothing = torch.zeros(0, 2, dtype=torch.int64)
    negatives = Negatives(torch.arange(3), torch.zeros(3))
    loss = sampled_softmax(torch.zeros(0, 4), item, nothing, torch.zeros(0, 2), negatives, temperature=0.1)
    (grad,) = torch.autograd.grad(loss, item)
    assert loss.item() == 0.0
    assert not grad.any()


def test_a_position_without_any_target_leaves_the_others_as_they_are() -> None:
    at = positions(9, num=3, items=7, dim=3, targets=2)
    target, weight = at.target.clone(), at.weight.clone()
    target[1], weight[1] = -1, 0.0
    negatives = Negatives(torch.arange(7), torch.zeros(7))
    with_it = sampled_softmax(at.query, at.item, target, weight, negatives, temperature=0.2)
    kept = [0, 2]
    without = sampled_softmax(at.query[kept], at.item, target[kept], weight[kept], negatives, temperature=0.2)
    same(with_it, without, at)


def test_under_autocast_scores_are_those_of_the_wider_type() -> None:
    at = positions(10, num=4, items=6, dim=3, targets=2)
    query, item = at.query.detach().float().requires_grad_(), at.item.detach().float().requires_grad_()
    negatives = Negatives(torch.arange(6), torch.zeros(6))
    plain = sampled_softmax(query, item, at.target, at.weight.float(), negatives, temperature=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        found = sampled_softmax(query, item, at.target, at.weight.float(), negatives, temperature=0.1)
        torch.testing.assert_close(torch.autograd.grad(found, item), torch.autograd.grad(plain, item))
    torch.testing.assert_close(found, plain, rtol=0, atol=0)
