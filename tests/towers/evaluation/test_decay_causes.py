"""The causes of decay against a study small enough to be worked out by hand."""

import numpy as np
import pytest

from towers.errors import QueryError
from towers.evaluation.decay import QualityMatrix, fit_decay
from towers.evaluation.decay_causes import Cause, DecayStudy, Variant, mean_by_origin

ORIGINS = np.array([0, 100, 200])
AGES = np.array([1.0, 8.0])
KNOWN_COUNT = np.array([[80, 60], [80, 60], [80, 0]])
UNKNOWN_COUNT = np.array([[20, 40], [20, 40], [20, 0]])


def matrix(young: float, old: float, count: np.ndarray) -> QualityMatrix:
    return QualityMatrix(ORIGINS, AGES, np.tile([young, old], (3, 1)), count)


def study(**changed: QualityMatrix) -> DecayStudy:
    """Three origins that are all alike: at age 8 every cause takes its part."""
    known = {
        Variant.FROZEN: matrix(0.20, 0.10, KNOWN_COUNT),
        Variant.REBUILT: matrix(0.20, 0.15, KNOWN_COUNT),
        Variant.WARM: matrix(0.20, 0.18, KNOWN_COUNT),
        Variant.RETRAINED: matrix(0.20, 0.20, KNOWN_COUNT),
    }
    unknown = {
        Variant.FROZEN: matrix(0.05, 0.00, UNKNOWN_COUNT),
        Variant.REBUILT: matrix(0.10, 0.04, UNKNOWN_COUNT),
        Variant.WARM: matrix(0.10, 0.08, UNKNOWN_COUNT),
        Variant.RETRAINED: matrix(0.10, 0.12, UNKNOWN_COUNT),
    }
    return DecayStudy(known, unknown | {Variant(name): part for name, part in changed.items()})


def test_each_cause_takes_what_hand_arithmetic_says() -> None:
    causes = study().causes()
    # Age 1: .2 × .05 of questions with unknown ids came back by a rebuild. Age 8, .6 known and .4 unknown:
    # catalogue .6 × .05 + .4 × .04, vocabulary .4 × .08, model .6 × .05.
    assert causes[Cause.CATALOGUE].by_age == pytest.approx([0.01, 0.046])
    assert causes[Cause.VOCABULARY].by_age == pytest.approx([0.0, 0.032])
    assert causes[Cause.MODEL].by_age == pytest.approx([0.0, 0.030])
    # 300 questions of age 1 and 200 of age 8.
    assert causes[Cause.CATALOGUE].overall.value == pytest.approx((300 * 0.01 + 200 * 0.046) / 500)


def test_the_causes_add_up_to_the_gap_of_the_frozen_model() -> None:
    part = study()
    total, causes = part.gap(Variant.FROZEN), part.causes().values()
    assert sum(loss.by_age for loss in causes) == pytest.approx(total.by_age)
    assert sum(loss.overall.value for loss in causes) == pytest.approx(total.overall.value)


def test_every_update_leaves_the_gap_it_does_not_win_back() -> None:
    part = study()
    assert part.gap(Variant.RETRAINED).by_age == pytest.approx([0.0, 0.0])
    assert part.gap(Variant.WARM).by_age == pytest.approx([0.0, 0.6 * 0.02 + 0.4 * 0.04])
    assert part.gap(Variant.REBUILT).by_age == pytest.approx([0.0, 0.062])
    assert part.gap(Variant.FROZEN).by_age == pytest.approx([0.01, 0.108])


def test_known_and_unknown_ids_weigh_as_their_questions() -> None:
    overall = study().overall(Variant.REBUILT)
    assert overall.num_queries.tolist() == [[100, 100], [100, 100], [100, 0]]
    assert overall.quality[0] == pytest.approx([0.8 * 0.20 + 0.2 * 0.10, 0.6 * 0.15 + 0.4 * 0.04])


def test_what_a_day_does_to_all_models_is_not_in_the_relative_curve() -> None:
    rng = np.random.default_rng(0)
    ages = np.arange(1.0, 60.0, 7.0)
    day = rng.normal(0.0, 0.05, (5, len(ages)))
    count = np.full(day.shape, 500)
    fresh = QualityMatrix(np.arange(5), ages, 0.3 + day, count)
    aged = QualityMatrix(np.arange(5), ages, 0.3 + day - 0.1 * (1.0 - np.exp(-0.08 * ages)), count)
    none = QualityMatrix(np.arange(5), ages, day * 0.0, count * 0)
    variants = {Variant.FROZEN: aged, Variant.REBUILT: aged, Variant.RETRAINED: fresh}
    curve = fit_decay(DecayStudy(variants, dict.fromkeys(variants, none)).relative(Variant.FROZEN))
    assert curve.rate.value == pytest.approx(0.08, rel=1e-6)
    assert curve.floor.value == pytest.approx(-0.1, rel=1e-6)


def test_an_interval_by_origin_holds_the_mean_of_all_origins_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(300):
        count = rng.integers(50, 150, 8)
        loss = rng.normal(0.03, 0.02, 8)
        estimate = mean_by_origin(loss * count, count, level=0.9, num_resamples=399, seed=seed)
        held += estimate.low <= 0.03 <= estimate.high
    assert 0.85 <= held / 300 <= 0.97


def test_variants_on_other_questions_are_refused() -> None:
    with pytest.raises(QueryError, match="retrained: other origins, ages or questions than frozen"):
        study(retrained=matrix(0.1, 0.1, UNKNOWN_COUNT + 1))
    part = study()
    known = {name: part.known[name] for name in (Variant.FROZEN, Variant.REBUILT)}
    with pytest.raises(QueryError, match=r"'retrained'.* among them"):
        DecayStudy(known, known)
    known = {name: part.known[name] for name in Variant if name is not Variant.WARM}
    unknown = {name: part.unknown[name] for name in known}
    with pytest.raises(QueryError, match="warm was not measured; have frozen, rebuilt, retrained"):
        DecayStudy(known, unknown).gap(Variant.WARM)
