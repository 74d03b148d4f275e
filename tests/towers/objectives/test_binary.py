from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.towers.objectives.drawn import Positions, positions, same, scores
from towers.objectives import chunked
from towers.objectives.binary import binary_cross_entropy, gbce_beta
from towers.objectives.negatives import Negatives, uncorrected


def by_hand(
    at: Positions,
    rows: list[list[int]],
    tau: float,
    beta: float,
    hard: list[list[int]],
    blocked: list[list[int]],
) -> Tensor:
    """The formula of the docstring, one term at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for p in range(len(at.query)):
        score = scores(at.query[p], at.item, tau)
        chosen, refused = -torch.log1p(torch.exp(-score)), -torch.log1p(torch.exp(score))
        targets = {int(row) for row in at.target[p] if row >= 0}
        mined = {row for row in hard[p] if row >= 0} - targets
        unwanted = [*mined, *(row for row in rows[p] if row not in targets | mined | set(blocked[p]))]
        against = torch.stack([score.sum() * 0, *(refused[row] for row in unwanted)]).sum()
        for t, row in enumerate(at.target[p].tolist()):
            if row >= 0:
                one = -beta * chosen[row] - against
                total = total + at.weight[p, t] * one / (len(unwanted) + 1)
    return total / at.weight.sum()


@given(
    num=st.integers(1, 5),
    items=st.integers(2, 8),
    targets=st.integers(1, 3),
    interests=st.sampled_from([0, 2]),
    shared=st.booleans(),
    hard=st.integers(0, 2),
    blocked=st.integers(0, 2),
    beta=st.floats(0.05, 1.0),
    tau=st.floats(0.3, 2.0),
    chunk=st.integers(1, 40),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60)
def test_value_and_gradients_equal_the_formula_whatever_the_chunk(
    num: int,
    items: int,
    targets: int,
    interests: int,
    shared: bool,
    hard: int,
    blocked: int,
    beta: float,
    tau: float,
    chunk: int,
    seed: int,
) -> None:
    at = positions(seed, num=num, items=items, dim=3, targets=targets, interests=interests)
    generator = torch.Generator().manual_seed(seed + 1)
    each = torch.randint(0, items, (num, 4), generator=generator)
    row = torch.randperm(items, generator=generator)[:4] if shared else each
    hard_row = torch.randint(-1, items, (num, hard), generator=generator)
    blocked_row = torch.randint(-1, items, (num, blocked), generator=generator)
    with mock.patch.dict(chunked._CHUNK_NUMBERS, {False: chunk}):
        found = binary_cross_entropy(
            at.query,
            at.item,
            at.target,
            at.weight,
            Negatives(row, torch.zeros(row.shape)),
            temperature=tau,
            beta=beta,
            hard_row=hard_row,
            blocked_row=blocked_row,
        )
        rows = [row.tolist()] * num if shared else row.tolist()
        same(found, by_hand(at, rows, tau, beta, hard_row.tolist(), blocked_row.tolist()), at)


def test_with_one_negative_and_one_target_it_is_torchs_own() -> None:
    at = positions(1, num=5, items=20, dim=3, targets=1)
    row = (at.target + 1).remainder(20)
    logits = torch.stack([at.query @ at.item.T]).squeeze(0)
    both = logits.gather(1, torch.cat([at.target, row], 1))
    label = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(5, 2)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(both, label)
    weight = torch.ones(5, dtype=torch.float64)
    found = binary_cross_entropy(
        at.query, at.item, at.target[:, 0], weight, uncorrected(row), temperature=1.0
    )
    same(found, expected, at)


def test_the_power_of_gbce_is_that_of_the_paper_at_both_ends() -> None:
    # 256 of 1,000 others: alpha = .256. t = 0 is the plain loss, t = 1 the sampling rate, in a straight line.
    assert gbce_beta(256, 1001, 0.0) == pytest.approx(1.0)
    assert gbce_beta(256, 1001, 1.0) == pytest.approx(0.256)
    assert gbce_beta(256, 1001, 0.75) == pytest.approx(0.25 + 0.75 * 0.256)
    assert gbce_beta(500, 101, 1.0) == 1.0


def test_at_the_optimum_of_a_calibrated_loss_scores_are_probabilities() -> None:
    """One query, items chosen with known probabilities: t = 1 finds them, t = 0 does not."""
    chosen = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    # All of the other three items are drawn with a probability of 2/3: two negatives in expectation.
    rate, found = 2 / 3, {}
    for t in (0.0, 1.0):
        beta = gbce_beta(2, 4, t)
        # Where the expected derivative is 0: beta c (1 - s) = (1 - c) rate s.
        odds = beta * chosen / ((1 - chosen) * rate)
        score = odds.log()
        query = torch.ones(4, 1, dtype=torch.float64)
        item = score[:, None].clone().requires_grad_()
        grad = torch.zeros_like(item)
        for target in range(4):
            others = [row for row in range(4) if row != target]
            for left_out in others:
                negatives = Negatives(
                    torch.tensor([row for row in others if row != left_out]), torch.zeros(2)
                )
                loss = binary_cross_entropy(
                    query[:1],
                    item,
                    torch.tensor([target]),
                    torch.ones(1, dtype=torch.float64),
                    negatives,
                    temperature=1.0,
                    beta=beta,
                )
                grad += chosen[target] / 3 * torch.autograd.grad(loss, item)[0]
        torch.testing.assert_close(grad, torch.zeros_like(grad), rtol=0, atol=1e-12)
        found[t] = torch.sigmoid(score)
    torch.testing.assert_close(found[1.0], chosen)
    assert float(found[0.0][0]) > 0.55
