import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.towers.objectives.drawn import Positions, positions
from towers.objectives.log_q import Draws, log_expected_count, log_inclusion, uniform_draws
from towers.objectives.matryoshka import prefix
from towers.objectives.negatives import (
    Negatives,
    counted,
    distinct,
    draw,
    draw_uniform,
    per_position,
    popularity,
    stratified,
    uncorrected,
)
from towers.objectives.sampled_softmax import classic_log_weight, sampled_softmax
from towers.objectives.softmax import full_softmax

CPU = torch.device("cpu")
NUM_ITEMS, TAU = 100, 0.4
IN_BATCH = popularity(torch.arange(1.0, NUM_ITEMS + 1) ** 2, 1.0)


def test_inclusion_and_expected_count_are_those_of_every_possible_draw() -> None:
    """Two in-batch draws by popularity and one uniform one: all 27 outcomes of three items, by hand."""
    popular, anything = [0.5, 0.3, 0.2], 1 / 3
    included, expected = [0.0] * 3, [0.0] * 3
    for a, b, c in itertools.product(range(3), repeat=3):
        chance = popular[a] * popular[b] * anything
        for row in range(3):
            included[row] += chance * (row in (a, b, c))
            expected[row] += chance * [a, b, c].count(row)
    draws = [Draws(torch.tensor(popular), 2), uniform_draws(3, 1, CPU)]
    rows = torch.arange(3)
    torch.testing.assert_close(log_inclusion(draws, rows).exp().tolist(), included, rtol=1e-6, atol=0)
    torch.testing.assert_close(log_expected_count(draws, rows).exp().tolist(), expected, rtol=1e-6, atol=0)


def test_a_rare_items_inclusion_keeps_its_digits() -> None:
    draws = [Draws(torch.tensor([1e-12, 1.0 - 1e-12], dtype=torch.float64), 1000)]
    assert log_inclusion(draws, torch.tensor([0])).exp().item() == pytest.approx(1e-9, rel=1e-6)
    assert log_inclusion(draws, torch.tensor([1])).item() == 0.0


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
def test_draws_follow_their_probabilities_and_never_take_what_has_none(power: float) -> None:
    count = torch.tensor([4.0, 0.0, 1.0, 16.0, 0.0])
    raised = torch.tensor([4.0**power, 0.0, 1.0, 16.0**power, 0.0], dtype=torch.float64)
    probability = popularity(count, power)
    torch.testing.assert_close(probability, raised / raised.sum())
    rows = draw(probability, [200, 100], torch.Generator().manual_seed(0))
    found = torch.bincount(rows.flatten(), minlength=5) / rows.numel()
    # Five standard deviations of 20,000 draws are below .018.
    torch.testing.assert_close(found.double(), probability, rtol=0, atol=0.018)
    assert not found[[1, 4]].any()


def test_the_same_generator_draws_the_same() -> None:
    first, again, other = (torch.Generator().manual_seed(seed) for seed in (7, 7, 8))
    rows = [draw(IN_BATCH, [3, 4], generator) for generator in (first, again, other)]
    rows += [draw_uniform(9, [3, 4], generator) for generator in (first, again, other)]
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
    assert torch.equal(rows[3], rows[4])
    assert not torch.equal(rows[3], rows[5])


# A planted world: six profiles who like rare items, 80 others of the batch that come by popularity, and 30
# negatives drawn uniformly. The mean gradient over many such batches is compared with the full softmax's.
DRAWS = [Draws(IN_BATCH, 80), uniform_draws(NUM_ITEMS, 30, CPU)]


def planted() -> Positions:
    at = positions(0, num=6, items=NUM_ITEMS, dim=4, targets=1)
    target = 3 * torch.arange(6)[:, None]
    item = prefix(at.item.detach(), 4)
    query = prefix(at.query.detach() + 2 * item[target[:, 0]], 4)
    return Positions(
        query.requires_grad_(), item.requires_grad_(), target, torch.ones(6, 1, dtype=torch.float64)
    )


AT = planted()


def gradient(loss: Tensor) -> Tensor:
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, (AT.query, AT.item))])


def error(mean: Tensor) -> float:
    """How far a mean gradient is from the full softmax's, relative to its length."""
    full = gradient(full_softmax(AT.query, AT.item, AT.target, AT.weight, temperature=TAU))
    return float((mean - full).norm() / full.norm())


def mean_error(sample: Callable[[Tensor], Negatives], shift: Tensor | None = None) -> float:
    """The error of the mean gradient of 300 batches."""
    generator, gradients = torch.Generator().manual_seed(1), []
    for _ in range(300):
        row = torch.cat([draw(IN_BATCH, [80], generator), draw_uniform(NUM_ITEMS, [30], generator)])
        loss = sampled_softmax(
            AT.query,
            AT.item,
            AT.target,
            AT.weight,
            sample(row),
            temperature=TAU,
            own_log_weight=shift,
        )
        gradients.append(gradient(loss))
    return error(torch.stack(gradients).mean(0))


def divided_by_temperature(row: Tensor) -> Negatives:
    right = distinct(row, DRAWS)
    return Negatives(right.row, right.log_weight / TAU)


def negated(row: Tensor) -> Negatives:
    right = distinct(row, DRAWS)
    return Negatives(right.row, -right.log_weight)


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("corrected", [distinct, counted])
def test_the_right_correction_gives_the_gradient_of_the_full_softmax(
    corrected: Callable[[Tensor, list[Draws]], Negatives],
) -> None:
    """Within 3 %: the noise of 300 batches and the bias of a ratio together are 1.6 %."""
    assert mean_error(lambda row: corrected(row, DRAWS)) < 0.03


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize("wrong", [divided_by_temperature, negated, uncorrected])
def test_a_wrong_correction_gives_another_gradient(wrong: Callable[[Tensor], Negatives]) -> None:
    assert mean_error(wrong) > 0.1


@pytest.mark.usefixtures("shapes_unchecked")
def test_a_positive_corrected_like_a_negative_gives_another_gradient() -> None:
    shift = classic_log_weight(DRAWS, AT.target)
    assert mean_error(lambda row: counted(row, DRAWS), shift) > 0.06


@pytest.mark.usefixtures("shapes_unchecked")
def test_strata_give_the_gradient_of_the_full_softmax_with_their_correction_and_not_without() -> None:
    # Four strata of 4, 10, 26 and 60 items; some of all are in the first too.
    item = torch.arange(NUM_ITEMS)
    stratum = (item >= 4).long() + (item >= 14) + (item >= 40)
    in_two = item[5::25]
    row, member = torch.cat([item, in_two]), torch.cat([stratum, torch.zeros_like(in_two)])
    probability = stratified(row, member, 0.0)
    assert probability.max() > 4 * probability.min()
    draws, generator = [Draws(probability, 60)], torch.Generator().manual_seed(5)
    right, wrong = list[Tensor](), list[Tensor]()
    for batch in range(300):
        drawn = draw(probability, [60], generator)
        samples = [(distinct(drawn, draws), right)]
        if batch % 5 == 0:  # fewer batches show what is wrong
            samples.append((uncorrected(drawn), wrong))
        for negatives, found in samples:
            loss = sampled_softmax(AT.query, AT.item, AT.target, AT.weight, negatives, temperature=TAU)
            found.append(gradient(loss))
    assert error(torch.stack(right).mean(0)) < 0.03
    assert error(torch.stack(wrong).mean(0)) > 0.1


def test_the_bias_falls_with_the_number_of_negatives_each_position_draws() -> None:
    generator, errors = torch.Generator().manual_seed(2), []
    for num, repeats in ((8, 4000), (128, 500)):
        row = draw_uniform(NUM_ITEMS, [6 * repeats, num], generator)
        loss = sampled_softmax(
            AT.query.repeat(repeats, 1),
            AT.item,
            AT.target.repeat(repeats, 1),
            AT.weight.repeat(repeats, 1),
            per_position(row, uniform_draws(NUM_ITEMS, num, CPU)),
            temperature=TAU,
        )
        errors.append(error(gradient(loss)))
    assert errors[1] < errors[0] / 3


def test_of_items_that_nearly_every_batch_has_distinct_negatives_are_less_noisy_than_counted_ones() -> None:
    generator = torch.Generator().manual_seed(3)
    popular = popularity(torch.arange(1.0, 13) ** 2, 1.0)
    draws = [Draws(popular, 39), uniform_draws(12, 8, CPU)]
    # How many of the four most popular items there are, as the weights of a sample have it.
    estimates = []
    for _ in range(400):
        row = torch.cat([draw(popular, [39], generator), draw_uniform(12, [8], generator)])
        samples = [corrected(row, draws) for corrected in (distinct, counted)]
        estimates.append([float(sample.log_weight[sample.row >= 8].exp().sum()) for sample in samples])
    found = torch.tensor(estimates)
    torch.testing.assert_close(found.mean(0), torch.tensor([4.0, 4.0]), rtol=0.03, atol=0)
    assert found[:, 0].std() < 0.4 * found[:, 1].std()
