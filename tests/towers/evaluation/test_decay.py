"""The decay curve against planted decays, brute force and the level its intervals promise."""

import numpy as np
import pytest

from tests.towers.evaluation.decays import AGE_DAYS, cut_offs, exact, sampled, triangle
from towers.errors import QueryError
from towers.evaluation.decay import QualityMatrix, fit_decay


@pytest.mark.parametrize("rate", [0.005, 0.05, 0.3, 1.2])
def test_a_decay_without_noise_is_found_exactly(rate: float) -> None:
    curve = fit_decay(exact(rate))
    assert curve.rate.value == pytest.approx(rate, rel=1e-6)
    assert curve.amplitude.value == pytest.approx(0.08, rel=1e-5)
    assert curve.floor.value == pytest.approx(0.115, rel=1e-5)
    drop = 0.08 * (np.exp(-rate * AGE_DAYS[0]) - np.exp(-rate * AGE_DAYS[-1]))
    assert curve.drop.value == pytest.approx(drop, rel=1e-6)
    assert curve.half_life_days == pytest.approx(np.log(2.0) / rate, rel=1e-6)
    assert curve.quality(np.array([0.0, 10.0])) == pytest.approx(
        [0.195, 0.115 + 0.08 * np.exp(-10 * rate)], rel=1e-5
    )


def test_it_is_the_curve_of_least_squares_over_levels_amplitude_and_rate() -> None:
    matrix = sampled(3, 0.06)
    rng = np.random.default_rng(0)
    count = matrix.num_queries * rng.integers(1, 5, matrix.num_queries.shape)
    matrix = QualityMatrix(matrix.origin_seconds, AGE_DAYS, matrix.quality, count)
    curve = fit_decay(matrix)
    # One dense regression per rate: a column per origin, one for the amplitude, rows times √weight.
    origin, age = np.nonzero(count)
    root = np.sqrt(count[origin, age])
    y = matrix.quality[origin, age] * root

    def regress(rate: float) -> tuple[float, np.ndarray]:
        columns = np.column_stack([np.eye(8)[origin], np.exp(-rate * AGE_DAYS[age])]) * root[:, None]
        solution, *_ = np.linalg.lstsq(columns, y, rcond=None)
        return float(((y - columns @ solution) ** 2).sum()), solution

    rates = np.linspace(0.5, 1.5, 2001) * curve.rate.value
    errors = [regress(rate)[0] for rate in rates]
    assert rates[int(np.argmin(errors))] == pytest.approx(curve.rate.value, rel=6e-4)
    solution = regress(curve.rate.value)[1]
    assert curve.amplitude.value == pytest.approx(solution[-1], rel=1e-6)
    assert curve.floor.value == pytest.approx(solution[:-1].mean(), rel=1e-6)


def test_levels_that_fall_from_origin_to_origin_are_not_read_as_decay() -> None:
    levels = (0.16, 0.14, 0.12, 0.10, 0.08)
    curve = fit_decay(exact(0.05, levels=levels))
    assert curve.rate.value == pytest.approx(0.05, rel=1e-6)
    assert curve.floor.value == pytest.approx(0.12, rel=1e-5)


def test_the_intervals_hold_the_planted_values_as_often_as_they_say() -> None:
    held, num_worlds = np.zeros(4), 120
    drop = 0.08 * (np.exp(-0.06 * AGE_DAYS[0]) - np.exp(-0.06 * AGE_DAYS[-1]))
    for seed in range(num_worlds):
        curve = fit_decay(sampled(seed, 0.06), num_resamples=299, seed=seed)
        truth = ((curve.rate, 0.06), (curve.amplitude, 0.08), (curve.floor, 0.12), (curve.drop, drop))
        held += [estimate.low <= value <= estimate.high for estimate, value in truth]
    # 95 % of 120, less three standard errors of two points.
    assert held.min() / num_worlds >= 0.89


def test_a_lower_level_gives_a_narrower_interval_around_the_same_value() -> None:
    wide, narrow = fit_decay(sampled(1, 0.06)), fit_decay(sampled(1, 0.06), level=0.5)
    assert narrow.rate.value == wide.rate.value
    assert wide.rate.low < narrow.rate.low < narrow.rate.high < wide.rate.high
    assert narrow.amplitude.level == 0.5


def test_more_questions_narrow_the_interval() -> None:
    few, many = (
        fit_decay(sampled(2, 0.06, num_queries=2_000)),
        fit_decay(sampled(2, 0.06, num_queries=200_000)),
    )
    assert many.rate.high / many.rate.low < few.rate.high / few.rate.low
    assert many.rate.value == pytest.approx(0.06, rel=0.1)


def test_no_decay_is_seldom_taken_for_one() -> None:
    found = sum(fit_decay(sampled(seed, 0.06, amplitude=0.0), num_resamples=299).decays for seed in range(60))
    # 2.5 % of 60 on this side, and one that is lost in choosing the best of all rates.
    assert found <= 6


def test_a_decay_too_slow_to_tell_its_rate_is_still_sure_to_be_one() -> None:
    # A half-life of 70 days seen for 44: λ and A trade against each other, what was lost by then does not.
    curves = [fit_decay(sampled(seed, 0.01), num_resamples=299) for seed in range(20)]
    assert all(curve.decays for curve in curves)
    assert sum(curve.amplitude.low > 0.0 for curve in curves) < 10
    drop = 0.08 * (np.exp(-0.01 * 2.0) - np.exp(-0.01 * 46.0))
    assert sum(curve.drop.low <= drop <= curve.drop.high for curve in curves) >= 17


def test_quality_that_rises_with_age_has_a_negative_amplitude_and_no_decay() -> None:
    curve = fit_decay(exact(0.05, amplitude=-0.03))
    assert curve.amplitude.value == pytest.approx(-0.03, rel=1e-5)
    assert not curve.decays


@pytest.mark.parametrize(("rate", "open_end"), [(0.0002, "low"), (3.0, "high")])
def test_a_rate_that_the_ages_cannot_tell_has_an_interval_without_an_end(rate: float, open_end: str) -> None:
    estimate = fit_decay(exact(rate)).rate
    assert getattr(estimate, open_end) == {"low": 0.0, "high": np.inf}[open_end]


def test_what_was_not_measured_does_not_count() -> None:
    matrix = exact(0.05)
    unknown = np.where(matrix.num_queries > 0, matrix.quality, np.nan)
    padded = QualityMatrix(
        np.append(matrix.origin_seconds, 10**9),
        matrix.age_days,
        np.vstack([unknown, np.full(12, np.nan)]),
        np.vstack([matrix.num_queries, np.zeros(12, np.int64)]),
    )
    assert fit_decay(padded).rate == fit_decay(matrix).rate


def test_a_seed_gives_the_same_intervals_and_the_order_of_origins_no_other_curve() -> None:
    matrix = sampled(5, 0.08)
    assert fit_decay(matrix, seed=4).rate == fit_decay(matrix, seed=4).rate
    turned = QualityMatrix(
        matrix.origin_seconds, AGE_DAYS, matrix.quality[::-1].copy(), matrix.num_queries[::-1].copy()
    )
    assert fit_decay(turned).rate.value == pytest.approx(fit_decay(matrix).rate.value, rel=1e-9)


def test_too_few_origins_or_ages_are_refused() -> None:
    with pytest.raises(QueryError, match="2 origins measured at two ages or more"):
        fit_decay(exact(0.05, levels=(0.1, 0.1)))
    count = triangle(4, 100)
    count[:, 2:] = 0
    with pytest.raises(QueryError, match="2 ages; expected at least 3"):
        fit_decay(QualityMatrix(cut_offs(4), AGE_DAYS, exact(0.05).quality, count))
    with pytest.raises(QueryError, match=r"level = 1\.0"):
        fit_decay(exact(0.05), level=1.0)


def test_a_matrix_that_is_none_is_refused() -> None:
    quality, count = np.full((2, 3), 0.1), np.full((2, 3), 10)
    origins, ages = cut_offs(2), np.array([0.0, 1.0, 2.0])
    assert QualityMatrix(origins, ages, quality, count).quality is quality
    for broken, said in (
        ((origins[::-1].copy(), ages, quality, count), "origins do not rise"),
        ((origins, ages - 1.0, quality, count), "ages do not rise from 0"),
        ((origins, ages * 0.0, quality, count), "ages do not rise"),
        ((origins, ages, quality, -count), "negative number of queries"),
        ((origins, ages, quality * np.nan, count), "6 measured cells are not finite"),
    ):
        with pytest.raises(QueryError, match=said):
            QualityMatrix(*broken)
