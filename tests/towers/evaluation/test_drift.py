"""Drift monitors against hand-computed indices, planted drift and chance alone."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.errors import ConfigError, QueryError
from towers.evaluation.drift import (
    CategoryBins,
    DriftReport,
    DriftSettings,
    Monitor,
    NumericBins,
    embedding_drift,
    embedding_reading,
    feature_reading,
    population_stability,
    unknown_ids_reading,
)

SETTINGS = DriftSettings()


def test_the_index_is_what_hand_arithmetic_says() -> None:
    # Halves added: p = (50, 30, 20) / 100, q = (20, 30, 50) / 100.
    train, live = np.array([49.5, 29.5, 19.5]), np.array([19.5, 29.5, 49.5])
    doubled = population_stability((2 * train).astype(int), (2 * live).astype(int))
    p, q = (2 * train + 0.5) / (2 * train + 0.5).sum(), (2 * live + 0.5) / (2 * live + 0.5).sum()
    assert doubled == pytest.approx(sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True)))
    # In large counts the halves vanish: .3·ln 2.5 from both outer bins.
    many = population_stability(np.array([500, 300, 200]) * 10**6, np.array([200, 300, 500]) * 10**6)
    assert many == pytest.approx(2 * 0.3 * math.log(2.5), rel=1e-6)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8))
def test_the_index_is_symmetric_not_negative_and_zero_for_equal_counts(pairs: list[tuple[int, int]]) -> None:
    train, live = (np.array(part) for part in zip(*pairs, strict=True))
    if train.sum() == 0 or live.sum() == 0:
        with pytest.raises(QueryError, match="at least one value each"):
            population_stability(train, live)
        return
    there = population_stability(train, live)
    assert there >= 0.0
    assert there == pytest.approx(population_stability(live, train))
    assert population_stability(train, train) == 0.0


def test_numeric_bins_are_of_equal_share_in_train_and_keep_missing_values_apart() -> None:
    train = np.append(np.arange(100.0), [np.nan] * 7)
    bins = NumericBins.of(train, 4)
    assert bins.edge.tolist() == [24.0, 49.0, 74.0]
    assert bins.count.tolist() == [25, 25, 25, 25, 7]
    assert bins.counts(np.array([-5.0, 24.0, 24.5, 1e9, np.nan])).tolist() == [2, 1, 0, 1, 1]


def test_a_value_that_is_very_common_has_one_bin() -> None:
    bins = NumericBins.of(np.array([0.0] * 90 + [1.0] * 10), 10)
    assert bins.edge.tolist() == [0.0]
    assert bins.count.tolist() == [90, 10, 0]
    assert NumericBins.of(np.full(5, np.nan), 10).count.tolist() == [0, 5]


def test_categories_that_train_never_had_fall_into_one_more_bin() -> None:
    bins = CategoryBins.of(["DE", "FR", "DE", None])
    assert bins.category == ("", "DE", "FR")
    assert bins.count.tolist() == [1, 2, 1, 0]
    assert bins.counts(["FR", "XX", "YY", None]).tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize("num_live", [20, 200, 20_000])
def test_chance_alone_seldom_triggers_however_few_are_seen(num_live: int) -> None:
    rng = np.random.default_rng(0)
    bins = NumericBins.of(rng.normal(size=50_000), 10)
    settings = DriftSettings(feature_stability=1e-9, chance=0.05)
    false = sum(
        feature_reading("age", bins.count, bins.counts(rng.normal(size=num_live)), settings).triggered
        for _ in range(400)
    )
    assert false / 400 <= 0.09
    if num_live > 20:
        assert false / 400 >= 0.02


def test_a_planted_shift_triggers_its_feature_and_no_other() -> None:
    rng = np.random.default_rng(1)
    bins: dict[str, NumericBins | CategoryBins] = {
        "minutes": NumericBins.of(rng.normal(40.0, 10.0, 20_000), 10),
        "year": NumericBins.of(rng.normal(2000.0, 10.0, 20_000), 10),
        "country": CategoryBins.of(["DE"] * 500 + ["FR"] * 500),
    }
    live: dict[str, np.ndarray | Sequence[str | None]] = {
        "minutes": rng.normal(48.0, 10.0, 2_000),
        "year": rng.normal(2000.0, 10.0, 2_000),
        "country": ["DE"] * 150 + ["FR"] * 100 + ["ES"] * 50,
    }
    report = DriftReport(
        tuple(
            # A feature's bins and its values are of one kind.
            feature_reading(name, part.count, part.counts(live[name]), SETTINGS)  # type: ignore[arg-type]
            for name, part in bins.items()
        )
    )
    assert {(reading.monitor, reading.subject) for reading in report.triggered} == {
        (Monitor.FEATURE_STABILITY, "minutes"),
        (Monitor.FEATURE_STABILITY, "country"),
    }
    assert report.drifted


def test_unknown_ids_trigger_beyond_what_chance_explains() -> None:
    assert not unknown_ids_reading("items", 50, 1_000, SETTINGS).triggered
    assert unknown_ids_reading("items", 80, 1_000, SETTINGS).triggered
    assert not unknown_ids_reading("items", 1, 1, SETTINGS).triggered
    reading = unknown_ids_reading("profiles", 300, 1_000, SETTINGS)
    assert (reading.monitor, reading.subject, reading.value) == (Monitor.UNKNOWN_IDS, "profiles", 0.3)
    # At the threshold itself, 5 %, no more than 1 in 1,000 is to trigger.
    drawn = np.random.default_rng(0).binomial(400, 0.05, 4_000)
    false = sum(unknown_ids_reading("items", int(one), 400, SETTINGS).triggered for one in drawn)
    assert false <= 12
    for num_unknown, num_events in ((0, 0), (2, 1), (-1, 1)):
        with pytest.raises(QueryError, match="expected at least one event"):
            unknown_ids_reading("items", num_unknown, num_events, SETTINGS)


def test_a_turned_space_has_not_drifted_and_noise_drifts_by_what_it_takes_of_the_cosine() -> None:
    rng = np.random.default_rng(2)
    old = rng.normal(size=(4_000, 16))
    old /= np.linalg.norm(old, axis=1, keepdims=True)
    turn, _ = np.linalg.qr(rng.normal(size=(16, 16)))
    assert embedding_drift(old.astype(np.float32), (3.0 * old @ turn).astype(np.float32)) < 1e-6
    # Orthogonal noise as long as the vector itself leaves a cosine of √½.
    noise = rng.normal(size=old.shape)
    noise -= (noise * old).sum(axis=1, keepdims=True) * old
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    noisy = ((old + noise) @ turn).astype(np.float32)
    assert embedding_drift(old.astype(np.float32), noisy) == pytest.approx(1.0 - math.sqrt(0.5), abs=0.01)
    assert embedding_reading("items", old.astype(np.float32), noisy, SETTINGS).triggered


def test_embeddings_that_tell_nothing_are_refused() -> None:
    square = np.eye(4, dtype=np.float32)
    with pytest.raises(QueryError, match="n > D"):
        embedding_drift(square, square)
    flat = np.zeros((9, 4), dtype=np.float32)
    with pytest.raises(QueryError, match="no direction"):
        embedding_drift(flat, flat + np.float32(1.0))


def test_thresholds_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match=r"drift\.num_bins: 1 is out of range"):
        DriftSettings(num_bins=1)
    with pytest.raises(ConfigError, match=r"drift\.unknown_ids"):
        DriftSettings(unknown_ids=1.5)
