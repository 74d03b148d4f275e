import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.data.days import SECONDS_PER_DAY
from towers.errors import ConfigError
from towers.nets.ages import Ticks, TitleAges

FIRST_DAY = 19_675
TODAY = FIRST_DAY * SECONDS_PER_DAY
KNOTS = np.array([-63, -31, -15, -7, -3, -1, 0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2047, 4095, 8191])
YEARS = 20 * 365


def made(num_ticks: int = 9, days: int = 64) -> TitleAges:
    torch.manual_seed(0)
    ages = TitleAges(Ticks.over(TODAY, TODAY + days * SECONDS_PER_DAY, num_ticks), 4)
    torch.nn.init.normal_(ages.kappa)
    return ages


def of_age(ages: TitleAges, days: np.ndarray) -> np.ndarray:
    """κ of ages in days, linear in the logarithm of a day more."""
    scaled = np.sign(days) * np.log2(1 + np.abs(days))
    values = ages.kappa.detach().double().numpy()
    found: np.ndarray = np.interp(scaled, np.sign(KNOTS) * np.log2(1 + np.abs(KNOTS)), values)
    return found


@given(first=st.integers(0, 2**33), span=st.integers(0, 2**31), num=st.integers(2, 64))
def test_the_ticks_reach_a_quarter_of_the_span_past_the_last_event(first: int, span: int, num: int) -> None:
    ticks = Ticks.over(first, first + span, num)
    assert ticks.start_seconds == first
    assert 1.25 * span <= ticks.end_seconds - first <= 1.25 * span + 1
    expected = np.linspace(ticks.start_seconds, ticks.end_seconds, num) / SECONDS_PER_DAY
    np.testing.assert_allclose(ticks.days().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(("num", "end"), [(1, TODAY + 1), (2, TODAY), (2, TODAY - 1)])
def test_ticks_that_are_none_are_refused(num: int, end: int) -> None:
    with pytest.raises(ConfigError, match=rf"^ages: {num} ticks from {TODAY} to {end}; expected 2 or more"):
        Ticks(TODAY, end, num)


def test_the_inner_product_is_the_value_of_the_age_at_a_tick_and_linear_between_two() -> None:
    ages = made()
    step = 10.0
    np.testing.assert_allclose(ages.ticks.days().numpy(), FIRST_DAY + step * np.arange(9), atol=2e-3)
    released = np.array([-3000.0, -40.0, 0.0, 12.5, 33.0, 79.0, 400.0])
    asked = np.array([0.0, 10.0, 13.0, 40.0, 64.0, 71.5, 80.0])
    title = ages(torch.from_numpy(FIRST_DAY + released).float(), torch.zeros(7, 4)).detach()
    question = ages.ticks.shares(torch.from_numpy((TODAY + asked * SECONDS_PER_DAY).astype(np.int64)))
    found = (question @ title.T).numpy()
    below = np.floor(asked / step) * step
    share = (asked - below) / step
    for row, (tick, part) in enumerate(zip(below, share, strict=True)):
        expected = (1 - part) * of_age(ages, tick - released) + part * of_age(ages, tick + step - released)
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_a_moment_is_of_two_ticks_and_past_the_ends_of_the_end() -> None:
    ticks = Ticks(TODAY, TODAY + 100, 11)
    asked = torch.tensor([0, TODAY, TODAY + 7, TODAY + 10, TODAY + 100, TODAY + 101, 2**40])
    found = ticks.shares(asked)
    torch.testing.assert_close(found.sum(1), torch.ones(7))
    expected = torch.zeros(7, 11)
    expected[[0, 1], 0] = 1.0
    expected[2, 0], expected[2, 1], expected[3, 1] = 0.3, 0.7, 1.0
    expected[4:, 10] = 1.0
    torch.testing.assert_close(found, expected)


def test_a_title_without_a_moment_has_no_age_and_teaches_none() -> None:
    ages = made()
    known = ages(torch.full((3,), torch.nan), torch.ones(3, 4))
    assert (known == 0).all()
    known.sum().backward()
    assert ages.kappa.grad is not None
    assert (ages.kappa.grad == 0).all()
    assert ages.size.weight.grad is not None
    assert (ages.size.weight.grad == 0).all()


def test_features_say_how_large_the_value_of_an_age_is_and_never_its_sign() -> None:
    ages = made()
    torch.nn.init.normal_(ages.size.weight)
    total = torch.stack([torch.zeros(4), torch.randn(4)])
    plain, sized = ages(torch.full((2,), float(FIRST_DAY)), total).detach()
    ratio = sized / plain
    torch.testing.assert_close(ratio, ratio[0].expand(9))
    assert float(ratio[0]) == pytest.approx(float(torch.exp(ages.size(total)[1]).detach()), rel=1e-5)


def test_the_gradient_of_a_value_is_how_much_of_it_each_title_and_tick_read() -> None:
    ages = made()
    days = FIRST_DAY + torch.tensor([-3000.0, -40.0, 0.0, 12.5, 33.0, 79.0, 9000.0])
    weight = torch.randn(7, 9)
    found = torch.autograd.grad((ages(days, torch.zeros(7, 4)) * weight).sum(), ages.kappa)[0]
    step = 1e-2
    for row in range(len(KNOTS)):
        moved = []
        for by in (step, -step):
            with torch.no_grad():
                ages.kappa[row] += by
                moved.append(float((ages(days, torch.zeros(7, 4)).double() * weight).sum()))
                ages.kappa[row] -= by
        assert float(found[row]) == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-3)


def test_three_hours_count_in_a_log_of_twenty_years() -> None:
    ages = made(32, YEARS)
    days = FIRST_DAY + torch.tensor([0.0, 0.125])
    first, later = ages(days, torch.zeros(2, 4)).detach().numpy()
    tick = ages.ticks.days().double().numpy() - FIRST_DAY
    np.testing.assert_allclose(later - first, of_age(ages, tick - 0.125) - of_age(ages, tick), atol=1e-5)


def test_what_is_learned_of_the_days_of_the_log_holds_after_it() -> None:
    """Titles come out every day; on each day of the log, those of three days before are asked for."""
    ages = TitleAges(Ticks.over(TODAY, TODAY + 60 * SECONDS_PER_DAY, 76), 4)
    released = torch.arange(-10, 90)
    days, total = FIRST_DAY + released.float(), torch.zeros(100, 4)
    day = torch.arange(61)
    asked = ages.ticks.shares(TODAY + day * SECONDS_PER_DAY)
    optimiser = torch.optim.Adam([ages.kappa], lr=0.3)
    for _ in range(150):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(10.0 * asked @ ages(days, total).T, day - 3 + 10)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    after = ages.ticks.shares(torch.tensor([TODAY + 72 * SECONDS_PER_DAY]))
    best = int((after @ ages(days, total).T).argmax())
    assert float(released[best]) == 72 - 3


@pytest.mark.parametrize(("days", "later"), [(186, 14), (186, 62), (2_000, 180)])
def test_a_log_that_grows_moves_little_of_what_age_says(days: int, later: int) -> None:
    # κ falls with the logarithm of the age, and what is to come is worth little: as premieres teach it.
    rng = np.random.default_rng(days + later)
    released = torch.from_numpy(FIRST_DAY + rng.uniform(-2 * days, days, 500)).float()
    asked = torch.from_numpy((TODAY + rng.uniform(0.5, 1.0, 200) * days * SECONDS_PER_DAY).astype(np.int64))
    best = []
    for span in (days, days + later):
        ages = TitleAges(Ticks.over(TODAY, TODAY + span * SECONDS_PER_DAY, 16), 4)
        with torch.no_grad():
            ages.kappa.copy_(torch.tensor([-3.0] * 6 + [-0.5 * place for place in range(14)]))
        value = ages.ticks.shares(asked) @ ages(released, torch.zeros(500, 4)).detach().T
        best.append(value.topk(50).indices)
    kept = [len(set(one.tolist()) & set(other.tolist())) / 50 for one, other in zip(*best, strict=True)]
    assert np.mean(kept) > 0.8
