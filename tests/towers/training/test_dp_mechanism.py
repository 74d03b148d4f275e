"""ε beside formulas that Opacus does not use, and the randomness that it rests on."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch

from towers.errors import ConfigError
from towers.training.dp.mechanism import Mechanism
from towers.training.dp.noise import drawn, secure_normal
from towers.training.dp.settings import Accountant, DPSettings


def exact_epsilon(sigma: float, num_steps: int, delta: float) -> float:
    """Of a Gaussian mechanism that everybody is in: Balle and Wang 2018, arXiv:1805.06530, theorem 8.

    So many steps are one with a noise of sigma / sqrt(steps).
    """
    mean, phi = math.sqrt(num_steps) / sigma, NormalDist().cdf

    def tail(epsilon: float) -> float:
        return phi(mean / 2 - epsilon / mean) - math.exp(epsilon) * phi(-mean / 2 - epsilon / mean)

    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if tail(middle) < delta else (middle, high)
    return high


def rdp_epsilon(sigma: float, num_steps: int, delta: float) -> float:
    """The bound by Rényi divergences, α T / 2σ², in the conversion of Mironov 2017, arXiv:1702.07476."""
    orders = np.linspace(1.01, 200, 20_000)
    return float(np.min(orders * num_steps / (2 * sigma**2) + math.log(1 / delta) / (orders - 1)))


def mechanism(**settings: object) -> Mechanism:
    dp = DPSettings(**{"noise_multiplier": 4.0, "delta": 1e-5, **settings})  # type: ignore[arg-type]
    return Mechanism.of(dp, 1000, 1)


@pytest.mark.parametrize("num_steps", [1, 30])
def test_epsilon_of_everybody_in_every_step_is_that_of_the_gaussian_mechanism(num_steps: int) -> None:
    everybody = mechanism(expected_batch_size=1000)
    exact = exact_epsilon(4.0, num_steps, 1e-5)
    assert everybody.sample_rate == 1.0
    assert exact <= everybody.epsilon(num_steps) <= exact + 0.03
    by_orders = replace(everybody, accountant=Accountant.RDP).epsilon(num_steps)
    assert exact <= by_orders <= rdp_epsilon(4.0, num_steps, 1e-5) + 1e-6


def test_few_profiles_in_a_step_spend_less_and_more_steps_more() -> None:
    few = mechanism(expected_batch_size=50, noise_multiplier=1.0)
    whole = mechanism(expected_batch_size=1000, noise_multiplier=1.0)
    assert few.steps_per_epoch == 20
    assert 0.0 == few.epsilon(0) < few.epsilon(20) < few.epsilon(40) < whole.epsilon(20)
    # The numerical bound is the tighter one.
    assert few.epsilon(40) < replace(few, accountant=Accountant.RDP).epsilon(40)


def test_the_noise_of_a_target_spends_it_and_no_more() -> None:
    made = mechanism(
        noise_multiplier=None, target_epsilon=3.0, expected_batch_size=100, accountant=Accountant.RDP
    )
    assert 2.95 < made.epsilon(made.num_steps) <= 3.0
    assert replace(made, noise_multiplier=0.9 * made.noise_multiplier).epsilon(made.num_steps) > 3.0


def test_without_noise_nothing_bounds_epsilon() -> None:
    none = mechanism(noise_multiplier=0.0)
    assert none.epsilon(1) == math.inf
    assert none.report(1, 50)["epsilon"] is None  # JSON knows no infinity


def test_delta_is_below_one_over_the_profiles() -> None:
    assert mechanism(delta=None).delta == pytest.approx(1000**-1.1)
    with pytest.raises(
        ConfigError, match=r"trainer\.dp\.delta: 0\.01 of 1000 profiles; expected at most 0\.001"
    ):
        mechanism(delta=0.01)
    with pytest.raises(ConfigError, match=r"expected_batch_size: 1001 of 1000 profiles"):
        mechanism(expected_batch_size=1001)


def test_settings_that_would_not_be_private_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected one: each decides the other"):
        DPSettings(target_epsilon=1.0, noise_multiplier=1.0)
    with pytest.raises(ConfigError, match=r"trainer\.dp\.max_grad_norm: without noise nothing is private"):
        DPSettings(max_grad_norm=0.5)


def test_secure_numbers_are_standard_normal_and_no_seed_gives_them_again() -> None:
    numbers = []
    for _ in range(2):
        torch.manual_seed(0)
        numbers.append(secure_normal(150_000))
    assert not torch.equal(*numbers)
    both = torch.cat(numbers)
    num = len(both)
    assert abs(float(both.mean())) < 6 / num**0.5
    assert abs(float(both.var()) - 1) < 6 * (2 / num) ** 0.5
    # Shares within 1, 2 and 3 standard deviations, as those of a normal law.
    for bound in (1.0, 2.0, 3.0):
        share = 2 * NormalDist().cdf(bound) - 1
        found = float((both.abs() < bound).double().mean())
        assert abs(found - share) < 6 * (share * (1 - share) / num) ** 0.5
    # Neighbours, and the parts of a draw, have nothing to do with each other.
    assert abs(float((both[1:] * both[:-1]).mean())) < 6 / num**0.5


def test_profiles_are_drawn_each_by_itself() -> None:
    draws = np.stack([drawn(40, 0.3) for _ in range(3000)])
    size = draws.sum(1)
    assert abs(size.mean() - 12.0) < 6 * (40 * 0.21 / 3000) ** 0.5
    # Binomial: a fixed size, or draws with replacement, would vary less or more.
    assert abs(size.var() / (40 * 0.21) - 1) < 6 * (2 / 3000) ** 0.5
    assert (np.abs(draws.mean(0) - 0.3) < 6 * (0.21 / 3000) ** 0.5).all()
    assert drawn(5, 1.0).all()
