"""Minutes, completion, plays and stars become the weight that the docstring's formula says."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from towers.data.signals.preference import LEAST_AMOUNT, amount_of, preference_weight, weight_of
from towers.data.signals.settings import SignalSettings

NAN = math.nan
NO_FLOOR = SignalSettings(min_minutes=0.0, min_completion=0.0)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def one(
    minutes: float = NAN,
    duration: float = NAN,
    settings: SignalSettings = NO_FLOOR,
    *,
    completion: float = NAN,
    plays: int = 0,
    stars: float = NAN,
) -> float:
    """The weight of a single event, all columns there."""
    weight = preference_weight(
        floats(minutes),
        floats(duration),
        settings,
        completion=floats(completion),
        plays=np.array([plays], np.int32),
        stars=floats(stars),
    )
    assert weight.dtype == np.float32
    return float(weight[0])


def expected(
    minutes: float, duration: float, completion: float, plays: int, stars: float, settings: SignalSettings
) -> float:
    """The docstring, one event at a time, in Python's own floats."""
    num_plays = max(plays, 1)
    share = completion
    if math.isnan(share) and duration > 0:
        share = minutes / duration
    reaches = [
        value >= least
        for value, least in ((minutes, settings.min_minutes), (share, settings.min_completion))
        if least > 0 and not math.isnan(value)
    ]
    if reaches and not any(reaches) and math.isnan(stars):
        return 0.0
    if not settings.weights:
        return 1.0
    if not math.isnan(completion):
        amount = completion * num_plays
    elif not math.isnan(share):
        amount = min(share, num_plays)
    elif not math.isnan(stars) and settings.stars:
        amount = stars / 10 * num_plays
    else:
        amount = num_plays
    amount = max(amount, LEAST_AMOUNT)
    return amount if amount <= 1 else 1 + math.log(amount)


def known(low: float, high: float) -> st.SearchStrategy[float]:
    return st.one_of(st.just(NAN), st.floats(low, high, width=32))


@settings(deadline=None)
@given(
    events=st.lists(
        st.tuples(known(0, 500), known(0, 240), known(0, 1), st.integers(0, 1_000_000), known(0, 10)),
        max_size=20,
    ),
    weights=st.booleans(),
    stars=st.booleans(),
    min_minutes=st.sampled_from([0.0, 2.0, 5.0]),
    min_completion=st.sampled_from([0.0, 0.125, 0.5]),
)
@example(  # a length so small that minutes of it are more than float32 holds
    events=[(1.0, 1.401298464324817e-45, NAN, 0, NAN)],
    weights=True,
    stars=False,
    min_minutes=0.0,
    min_completion=0.0,
)
def test_every_event_weighs_what_the_formula_says_whatever_of_it_is_known(
    events: list[tuple[float, float, float, int, float]],
    weights: bool,
    stars: bool,
    min_minutes: float,
    min_completion: float,
) -> None:
    settings = SignalSettings(weights, stars, min_minutes, min_completion)
    minutes, duration, completion, plays, rated = zip(*events, strict=True) if events else [()] * 5
    # A share on the very bound may fall to either side of it in float32.
    on_bound = [
        not math.isnan(m) and d > 0 and math.isclose(m / d, min_completion, rel_tol=1e-5)
        for m, d in zip(minutes, duration, strict=True)
    ]
    weight = preference_weight(
        floats(*minutes),
        floats(*duration),
        settings,
        completion=floats(*completion),
        plays=np.array(plays, np.int32),
        stars=floats(*rated),
    )
    wanted = [expected(*event, settings) for event in events]
    for got, want, skip in zip(weight, wanted, on_bound, strict=True):
        assert skip or got == pytest.approx(want, rel=1e-5)


def test_a_title_watched_whole_weighs_one_and_half_of_it_a_half() -> None:
    assert one(100.0, 100.0) == 1.0
    assert one(50.0, 100.0) == 0.5
    assert one(130.0, 100.0) == 1.0  # a pause that was counted is not a second play


def test_an_event_of_which_nothing_is_known_weighs_one() -> None:
    assert one() == 1.0
    assert one(minutes=80.0) == 1.0  # of a title of unknown length
    assert one(minutes=80.0, duration=0.0) == 1.0


def test_what_the_source_says_of_completion_comes_before_the_minutes_and_those_before_stars() -> None:
    assert one(100.0, 100.0, completion=0.25, stars=10.0) == 0.25
    assert one(25.0, 100.0, stars=10.0) == 0.25
    assert one(stars=8.0) == pytest.approx(0.8)


def test_stars_can_be_left_out_of_the_weight() -> None:
    assert one(stars=2.0, settings=SignalSettings(stars=False)) == 1.0


def test_plays_weigh_by_their_logarithm() -> None:
    assert one(plays=1) == 1.0
    assert one(plays=10) == pytest.approx(1.0 + math.log(10))
    assert one(plays=324_660) == pytest.approx(1.0 + math.log(324_660))  # the most in lastfm-2k-plays
    assert one(300.0, 100.0, plays=3) == pytest.approx(1.0 + math.log(3))
    assert one(completion=0.5, plays=4) == pytest.approx(1.0 + math.log(2))


def test_an_event_without_a_count_of_plays_is_one_play() -> None:
    assert one(300.0, 100.0, plays=0) == one(300.0, 100.0, plays=1) == 1.0


def test_a_play_that_reaches_neither_bound_is_an_accident() -> None:
    bounds = SignalSettings(min_minutes=5.0, min_completion=0.1)
    assert one(4.0, 100.0, bounds) == 0.0
    assert one(4.0, 22.0, bounds) > 0.0  # an episode: 18 % of it
    assert one(6.0, 200.0, bounds) > 0.0  # a long film: 3 %, but six minutes
    assert one(4.0, settings=bounds) == 0.0  # length unknown: minutes alone decide
    assert one(settings=bounds, completion=0.05) == 0.0
    assert one(settings=bounds) == 1.0  # nothing is known: no accident


def test_a_play_on_the_bound_is_kept() -> None:
    assert one(5.0, 500.0, SignalSettings(min_minutes=5.0, min_completion=0.1)) > 0.0


def test_a_rated_event_is_never_an_accident() -> None:
    assert one(1.0, 100.0, SignalSettings(), stars=9.0) > 0.0


def test_without_floors_every_event_is_kept_and_weighs_something() -> None:
    assert one(0.0, 100.0) == pytest.approx(LEAST_AMOUNT)
    assert one(stars=0.0) == pytest.approx(LEAST_AMOUNT)


def test_one_floor_can_stand_without_the_other() -> None:
    assert one(50.0, 1000.0, SignalSettings(min_minutes=0.0, min_completion=0.1)) == 0.0
    assert one(4.0, 8.0, SignalSettings(min_minutes=5.0, min_completion=0.0)) == 0.0


def test_with_weights_off_what_is_kept_weighs_one_and_accidents_are_still_left_out() -> None:
    off = SignalSettings(weights=False)
    assert one(50.0, 100.0, off, plays=9) == 1.0
    assert one(1.0, 100.0, off) == 0.0


def test_columns_that_a_log_lacks_are_as_if_nothing_were_known_in_them() -> None:
    minutes, duration = floats(50.0, NAN, 2.0), floats(100.0, 100.0, 100.0)
    unknown = floats(NAN, NAN, NAN)
    short = preference_weight(minutes, duration, SignalSettings())
    full = preference_weight(
        minutes,
        duration,
        SignalSettings(),
        completion=unknown,
        plays=np.zeros(3, np.int32),
        stars=unknown,
    )
    np.testing.assert_array_equal(short, full)
    np.testing.assert_array_equal(short, floats(0.5, 1.0, 0.0))


def test_blocks_leave_no_seam() -> None:
    minutes = np.linspace(0.0, 100.0, 100_000, dtype=np.float32)
    weight = preference_weight(minutes, np.full(100_000, 100.0, np.float32), NO_FLOOR)
    np.testing.assert_allclose(weight, np.maximum(minutes / 100.0, LEAST_AMOUNT), rtol=1e-6)


@settings(deadline=None)
@given(st.lists(st.floats(LEAST_AMOUNT, 1e9), max_size=20))
def test_an_amount_comes_back_from_its_weight(amounts: list[float]) -> None:
    amount = np.array(amounts, np.float64)
    np.testing.assert_allclose(amount_of(weight_of(amount)), amount, rtol=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 1e9), min_size=2, max_size=20))
def test_more_watched_never_weighs_less(amounts: list[float]) -> None:
    assert np.all(np.diff(weight_of(np.sort(np.array(amounts, np.float64)))) >= 0.0)
