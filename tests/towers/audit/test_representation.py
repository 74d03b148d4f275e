"""Segments against a population that is known: ratios, tests and sizes by independent means."""

import math
from dataclasses import replace
from importlib import import_module

import numpy as np
import polars as pl
import pytest

from benchmarks.input_audit import accused, without_half
from tests.towers.audit.audiences import audience
from towers.audit.reference import Reference, reference
from towers.audit.representation import (
    Finding,
    InputSettings,
    SegmentAudit,
    audit_segments,
    design_effect,
    quality_gap,
)
from towers.audit.segments import Audience, Dimension, read_audience
from towers.data.simulator.segments import members, population
from towers.data.sources.simulated import SimulatedSettings, simulate
from towers.errors import ConfigError, QueryError

STATS, POWER = (import_module(name) for name in ("scipy.stats", "statsmodels.stats.power"))
NOBODY = Reference({})
SERVICE = SimulatedSettings(num_events=60_000, num_profiles=4000, num_items=200, seed=5)


def by_name(rows: tuple[SegmentAudit, ...]) -> dict[str, SegmentAudit]:
    return {row.name: row for row in rows}


def test_presence_without_households_is_the_exact_binomial_test_and_its_interval() -> None:
    rows = audit_segments(
        audience(["DE"] * 30 + ["US"] * 170), reference({"country": {"DE": 0.25, "US": 0.75}})
    )
    found = by_name(rows)["country=DE"].presence
    assert found is not None
    oracle = STATS.binomtest(30, 200, 0.25, alternative="less")
    bounds = STATS.binomtest(30, 200, 0.25).proportion_ci()
    assert found.value == pytest.approx(0.6)
    assert (found.low, found.high) == pytest.approx((bounds.low / 0.25, bounds.high / 0.25))
    # Two segments give two ratios of presence, and none of service: all watched the same.
    assert found.p_value == pytest.approx(2 * oracle.pvalue)


def test_a_segment_of_which_nobody_came_is_found_though_the_log_does_not_name_it() -> None:
    rows = audit_segments(audience(["US"] * 300), reference({"country": {"US": 0.9, "KR": 0.1}}))
    missing = by_name(rows)["country=KR"]
    assert (missing.num_profiles, missing.finding) == (0, Finding.UNDER_SERVED)


def test_households_in_which_all_are_alike_count_once() -> None:
    rng = np.random.default_rng(0)
    once = rng.choice(["DE", "US"], 400, p=[0.2, 0.8]).tolist()
    fourfold = [country for country in once for _ in range(4)]
    meant = reference({"country": {"DE": 0.25, "US": 0.75}})
    alone = by_name(audit_segments(audience(once), meant))["country=DE"].presence
    together = audience(fourfold, household=[number // 4 for number in range(1600)])
    _, code = np.unique(fourfold, return_inverse=True)
    assert design_effect(code, together.cluster) == pytest.approx(4.0)
    assert by_name(audit_segments(together, meant))["country=DE"].presence == alone


def test_service_without_households_is_near_welch_on_the_logarithms() -> None:
    rng = np.random.default_rng(1)
    events = rng.lognormal(2.0, 0.8, 500).astype(int) + 1
    rows = audit_segments(audience(["DE"] * 100 + ["US"] * 400, events.tolist()), NOBODY)
    found = by_name(rows)["country=DE"].service
    assert found is not None
    inside, outside = np.log1p(events[:100]), np.log1p(events[100:])
    assert found.value == pytest.approx(math.exp(inside.mean() - outside.mean()))
    oracle = STATS.ttest_ind(inside, outside, equal_var=False)
    reach = oracle.confidence_interval(0.95)
    assert np.log([found.low, found.high]) == pytest.approx([reach.low, reach.high], abs=0.01)


@pytest.mark.parametrize(("num", "num_others"), [(40, 4000), (900, 900)])
def test_the_smallest_quality_gap_is_that_of_statsmodels(num: int, num_others: int) -> None:
    settings = InputSettings(quality_variation=3.0)
    effect = POWER.NormalIndPower().solve_power(
        nobs1=num, ratio=num_others / num, alpha=0.05, power=0.8, alternative="two-sided"
    )
    assert quality_gap(num, num_others, settings) == pytest.approx(3.0 * float(effect), rel=1e-4)
    assert quality_gap(1, num_others, settings) is None


def test_a_ratio_shows_as_often_as_is_said() -> None:
    meant = reference({"country": {"DE": 0.2, "US": 0.8}})
    rng = np.random.default_rng(2)
    settings = InputSettings(tolerance=0.999)
    usual = by_name(audit_segments(audience(["DE"] * 160 + ["US"] * 640), meant, settings))["country=DE"]
    assert usual.presence is not None
    assert usual.presence.detectable is not None
    share = 0.2 * usual.presence.detectable
    found = 0
    for count in rng.binomial(800, share, 300).tolist():
        row = by_name(audit_segments(audience(["DE"] * count + ["US"] * (800 - count)), meant, settings))
        found += row["country=DE"].finding is Finding.UNDER_SERVED
    assert 0.73 < found / 300 < 0.87


def test_a_small_segment_is_unknown_and_never_called_free_of_gaps() -> None:
    few = by_name(
        audit_segments(audience(["DE"] * 3 + ["US"] * 9), reference({"country": {"DE": 0.25, "US": 0.75}}))
    )
    assert few["country=DE"].finding is Finding.UNKNOWN
    assert not few["country=DE"].quality_known
    many = reference({"country": {"DE": 0.25, "US": 0.75}})
    rng = np.random.default_rng(0)
    large = audience(["DE"] * 5000 + ["US"] * 15000, rng.poisson(20, 20000).tolist())
    row = by_name(audit_segments(large, many))["country=DE"]
    assert (row.finding, row.quality_known) == (Finding.NONE_FOUND, True)


def test_who_does_not_say_is_in_no_segment() -> None:
    rows = audit_segments(audience(["DE", "DE", "", "US"]), NOBODY)
    assert {row.name: row.num_profiles for row in rows} == {"country=DE": 2, "country=US": 1}


def test_nobody_and_settings_out_of_range_are_refused() -> None:
    with pytest.raises(QueryError, match="no profile has an event"):
        audit_segments(audience([]), NOBODY)
    with pytest.raises(ConfigError, match=r"input\.tolerance: 1\.5 is out of range"):
        audit_segments(audience(["DE"]), NOBODY, InputSettings(tolerance=1.5))


def test_a_planted_segment_is_found_whether_it_watches_less_or_is_missing() -> None:
    meant = reference(population(SERVICE.kids_share))
    quiet = simulate(replace(SERVICE, underserved=0.5, underserved_segment="age_band=65+"))
    assert accused(quiet.tables, meant) == ["age_band=65+"]
    whole = simulate(SERVICE)
    assert accused(whole.tables, meant) == []
    assert "country=GB" in accused(without_half(whole, "country=GB"), meant)


def test_the_declared_population_is_what_the_simulator_draws() -> None:
    world = simulate(replace(SERVICE, num_profiles=20_000, num_events=20_000))
    for dimension, shares in population(SERVICE.kids_share).items():
        assert sum(shares.values()) == pytest.approx(1.0)
        for value, share in shares.items():
            held = members(world.audience, f"{dimension}={value}").mean()
            assert held == pytest.approx(share, abs=5 * math.sqrt(3 * share / 20_000))


def test_an_audience_is_read_from_tables_with_their_households() -> None:
    world = simulate(replace(SERVICE, num_profiles=50, num_events=900))
    events = pl.from_arrow(world.tables.events)
    assert isinstance(events, pl.DataFrame)
    found: Audience = read_audience(world.tables.profiles, events.lazy())
    assert found.num_events.tolist() == np.bincount(world.watches["profile_row"], minlength=50).tolist()
    assert found.segment[Dimension.AGE_BAND].tolist() == world.tables.profiles["age_band"].to_pylist()
    assert found.cluster.tolist() == world.audience.household.tolist()
    assert Dimension.DEVICE not in found.segment
