import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.data.days import SECONDS_PER_DAY
from towers.nets.moments import Clock, Moments

TODAY = 1_700_000_000


def moments(clock: Clock, dim: int = 3) -> Moments:
    made = Moments(clock, dim)
    torch.manual_seed(0)
    torch.nn.init.normal_(made.knot)
    return made


@given(first=st.integers(0, 2**33), span=st.integers(0, 2**31), days=st.floats(0.1, 400.0))
def test_the_knots_cover_the_log_and_no_step_more(first: int, span: int, days: float) -> None:
    clock = Clock.over(first, first + span, days)
    last = clock.start_seconds + (clock.num_knots - 1) * clock.step_seconds
    assert (clock.start_seconds, clock.end_seconds) == (first, first + span)
    assert first + span <= last < first + span + clock.step_seconds
    assert clock.step_seconds == round(days * SECONDS_PER_DAY)


def test_a_moment_is_read_linearly_between_its_knots() -> None:
    clock = Clock(TODAY, 100, 4, TODAY + 300)
    made = moments(clock)
    knot = made.knot.detach().double().numpy()
    asked = np.array([0, 1, 50, 99, 100, 101, 233, 299, 300])
    with torch.inference_mode():
        found = made(torch.from_numpy(TODAY + asked)).numpy()
    expected = np.stack([np.interp(asked / 100, np.arange(4), knot[:, d]) for d in range(3)], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("far", [1, 10**6, 2**40])
def test_before_the_first_knot_it_is_its_own_and_after_the_end_that_of_the_end(far: int) -> None:
    clock = Clock(TODAY, 100, 4, TODAY + 210)
    made = moments(clock)
    with torch.inference_mode():
        found = made(torch.tensor([TODAY - far, TODAY + 210 + far]))
    knot = made.knot.detach()
    torch.testing.assert_close(found, torch.stack([knot[0], 0.9 * knot[2] + 0.1 * knot[3]]))


def test_one_knot_is_that_of_every_moment() -> None:
    made = moments(Clock(TODAY, 100, 1, TODAY))
    with torch.inference_mode():
        found = made(torch.tensor([0, TODAY, TODAY + 10**7]))
    torch.testing.assert_close(found, made.knot.detach().expand(3, 3), rtol=0, atol=0)


def test_each_knot_learns_from_the_moments_beside_it_alone() -> None:
    made = moments(Clock(TODAY, 100, 5, TODAY + 400))
    made(torch.tensor([TODAY + 125])).sum().backward()
    assert made.knot.grad is not None
    torch.testing.assert_close(made.knot.grad[:, 0], torch.tensor([0.0, 0.75, 0.25, 0.0, 0.0]))


def test_a_grown_clock_keeps_its_knots_and_covers_what_came_since() -> None:
    clock = Clock.over(TODAY, TODAY + 1000, 0.01)
    later = clock.grown(TODAY + 9_000)
    assert (later.start_seconds, later.step_seconds) == (clock.start_seconds, clock.step_seconds)
    assert later == Clock.over(TODAY, TODAY + 9_000, 0.01)
    assert clock.grown(TODAY + 500) == clock
