"""Ways of keeping up in planted worlds, against a service that is followed day by day."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.towers.evaluation.decays import DAY
from towers.errors import ConfigError, QueryError
from towers.evaluation.decay import DecayCurve, QualityMatrix, fit_decay
from towers.evaluation.decay_causes import DecayStudy, Variant
from towers.evaluation.retraining import RetrainingSettings
from towers.evaluation.schedule import recommend_schedule
from towers.evaluation.upkeep import Standing, Upkeep, Way, _tail, compare_ways, unknown_ways

WINDOW = 7.0
AGES = (np.arange(12) + 0.5) * WINDOW
NUM_ORIGINS = 8
PRICES = RetrainingSettings(cost=100.0, warm_cost=30.0, rebuild_cost=14.0, value_per_point_day=5.0)
CHEAP_REBUILD = replace(PRICES, rebuild_cost=5.0)


def falling(rate: float, amplitude: float | np.ndarray) -> np.ndarray:
    """Loss below a retrained model, (8, 12): from 0 in the first window, where both are of one age."""
    fallen = np.exp(-rate * AGES[0]) - np.exp(-rate * AGES)
    return np.outer(np.broadcast_to(amplitude, (NUM_ORIGINS,)), fallen)


def later(gap: float | np.ndarray) -> np.ndarray:
    """The gap of a warm start, (8, 12): none in the first window, in which nothing has been updated yet."""
    return np.broadcast_to(gap, (NUM_ORIGINS, len(AGES))) * (AGES > WINDOW)


def planted(
    frozen: np.ndarray,
    rebuilt: np.ndarray,
    warm: np.ndarray | None = None,
    *,
    noise: float = 0.0,
    triangular: bool = False,
    seed: int = 0,
) -> DecayStudy:
    """A study in which each variant lost so much, measured with an error per cell after the first window."""
    rng = np.random.default_rng(seed)
    level = 0.3 + 0.01 * rng.normal(size=(NUM_ORIGINS, 1))
    shape = (NUM_ORIGINS, len(AGES))
    measured = np.add.outer(np.arange(NUM_ORIGINS), np.arange(len(AGES))) < len(AGES)
    count = np.where(measured | (not triangular), 500, 0)
    lost = {Variant.FROZEN: frozen, Variant.REBUILT: rebuilt, Variant.RETRAINED: np.zeros(shape)}
    if warm is not None:
        lost[Variant.WARM] = warm
    origins = np.arange(NUM_ORIGINS) * 7 * DAY
    known = {
        variant: QualityMatrix(origins, AGES, level - part + later(noise * rng.normal(size=shape)), count)
        for variant, part in lost.items()
    }
    none = QualityMatrix(origins, AGES, np.full(shape, np.nan), 0 * count)
    return DecayStudy(known, dict.fromkeys(known, none))


def curves(study: DecayStudy, num_resamples: int = 99) -> dict[Variant, DecayCurve]:
    return {
        variant: fit_decay(study.relative(variant), num_resamples=num_resamples)
        for variant in (Variant.FROZEN, Variant.REBUILT)
    }


def compared(
    study: DecayStudy, prices: RetrainingSettings = PRICES, num_resamples: int = 99
) -> dict[Way, Upkeep]:
    return {way.way: way for way in compare_ways(study, curves(study, num_resamples), prices)}


def followed(
    days: int, *, cost: float, rate: float, amplitude: float, gap: float = 0.0, rebuild_cost: float = 0.0
) -> float:
    """Cost per day of a service followed over as many days as give every update its turn, hour by hour."""
    num_days = days * int(WINDOW)
    total = 0.0
    for day in range(num_days):
        total += cost * (day % days == 0) + rebuild_cost * (day % int(WINDOW) == 0)
        hours = day % days + (np.arange(240) + 0.5) / 240
        total += PRICES.value * float(np.mean(gap + amplitude * (1.0 - np.exp(-rate * hours))))
    return total / num_days


def test_each_way_costs_what_a_service_followed_day_by_day_does_and_no_other_interval_less() -> None:
    study = planted(falling(0.05, 0.08), falling(0.03, 0.05), later(0.004))
    ways = compared(study)
    assert tuple(ways) == tuple(Way)
    frozen, rebuilt = (
        {"rate": 0.05, "amplitude": 0.08},
        {"rate": 0.03, "amplitude": 0.05, "rebuild_cost": 14.0},
    )
    for way, prices in (
        (Way.WARM, frozen | {"cost": 30.0, "gap": 0.004}),
        (Way.WARM_REBUILD, rebuilt | {"cost": 30.0, "gap": 0.004}),
        (Way.RETRAIN, frozen | {"cost": 100.0}),
        (Way.RETRAIN_REBUILD, rebuilt | {"cost": 100.0}),
    ):
        costs = {days: followed(days, **prices) for days in range(1, 60)}
        best, found = min(costs, key=costs.__getitem__), ways[way]
        assert (found.standing, found.every_days) == (Standing.PRICED, best), way
        assert found.cost is not None
        assert found.cost.value == pytest.approx(costs[best], rel=1e-4)
        actions = prices["cost"] / best + prices.get("rebuild_cost", 0.0) / WINDOW
        assert found.actions == pytest.approx(actions)
        assert found.lost == pytest.approx(costs[best] - actions, rel=1e-3)
        # Without noise every resample is the same.
        assert (found.cost.low, found.cost.high) == pytest.approx((costs[best], costs[best]), rel=1e-4)
        assert found.rebuild_days == (WINDOW if "rebuild_cost" in prices else None)
    # For ever, the whole amplitude is lost: 500 a unit of quality.
    for way, cost in ((Way.NOTHING, 500 * 0.08), (Way.REBUILD, 2.0 + 500 * 0.05)):
        found = ways[way]
        assert found.every_days is None
        assert found.cost is not None
        assert found.cost.value == pytest.approx(cost, rel=1e-4)


@settings(max_examples=25)
@given(
    rate=st.floats(0.02, 0.3),
    amplitude=st.floats(0.005, 0.2),
    gap=st.floats(0.0, 0.02),
    cost=st.floats(1.0, 400.0),
    warm_share=st.floats(0.05, 1.0),
)
def test_no_interval_on_a_grid_costs_less_than_the_one_chosen(
    rate: float, amplitude: float, gap: float, cost: float, warm_share: float
) -> None:
    prices = replace(PRICES, cost=cost, warm_cost=cost * warm_share)
    study = planted(falling(rate, amplitude), falling(rate, amplitude / 2.0), later(gap))
    ages = (np.arange(400 * 20) + 0.5) / 20
    for way in compared(study, prices, num_resamples=9).values():
        most = amplitude if way.way.serving is Variant.FROZEN else amplitude / 2.0
        mean_lost = np.cumsum(most * (1.0 - np.exp(-rate * ages)))[19::20] / 20 / np.arange(1, 401)
        own = 0.0 if way.way.update is None else prices.warm_cost if way.way.update is Variant.WARM else cost
        rebuilds = 14.0 / WINDOW if way.way.serving is Variant.REBUILT else 0.0
        left = gap if way.way.update is Variant.WARM else 0.0
        grid = own / np.arange(1, 401) + rebuilds + prices.value * (left + mean_lost)
        if way.standing is Standing.UNKNOWN:
            # No rebuild would fall between two updates.
            assert rebuilds
            assert grid.argmin() + 1 <= WINDOW
        elif way.standing is Standing.NEVER_PAYS:
            # The longest interval is then the best, and even it costs more than leaving the action out.
            assert own >= prices.value * most / rate * 0.999
            assert grid.argmin() == 399
        elif way.every_days is not None:
            assert way.cost is not None
            assert way.cost.value <= grid.min() * 1.001
            assert way.cost.value == pytest.approx(grid[way.every_days - 1], rel=1e-3)


@pytest.mark.parametrize(
    ("study", "prices", "cheapest"),
    [
        # A warm start wins back nearly all at a third of the price.
        (planted(falling(0.05, 0.08), falling(0.05, 0.07), later(0.0002)), PRICES, Way.WARM),
        # What it leaves costs more than what it saves.
        (planted(falling(0.05, 0.08), falling(0.05, 0.07), later(0.04)), PRICES, Way.RETRAIN),
        # All that is lost is the catalogue, and a rebuild is cheap.
        (planted(falling(0.05, 0.08), falling(0.05, 0.0), later(0.0)), CHEAP_REBUILD, Way.REBUILD),
        # The catalogue goes at once, tastes slowly.
        (
            planted(falling(0.2, 0.08), falling(0.02, 0.02), later(0.02)),
            CHEAP_REBUILD,
            Way.RETRAIN_REBUILD,
        ),
        (
            planted(falling(0.2, 0.08), falling(0.02, 0.02), later(0.0002)),
            CHEAP_REBUILD,
            Way.WARM_REBUILD,
        ),
        # All that can be lost, 40 a day in 20 days, is worth less than any action.
        (
            planted(falling(0.05, 0.08), falling(0.05, 0.079), later(0.0)),
            replace(PRICES, cost=900.0, warm_cost=850.0),
            Way.NOTHING,
        ),
    ],
)
def test_the_way_that_the_world_was_made_for_is_the_cheapest_in_every_resample(
    study: DecayStudy, prices: RetrainingSettings, cheapest: Way
) -> None:
    ways = compared(study, prices)
    shares = {way: found.cheapest for way, found in ways.items() if found.cheapest is not None}
    assert shares.pop(cheapest) == 1.0
    assert not any(shares.values())
    if cheapest is Way.NOTHING:
        assert {way.standing for way in ways.values() if way.way.update} == {Standing.NEVER_PAYS}
        assert ways[Way.RETRAIN].note == "costs more than it could win back"


def test_a_retrain_is_as_often_as_the_schedule_says() -> None:
    study = planted(falling(0.05, 0.08), falling(0.03, 0.05), noise=0.004, triangular=True)
    ways = compared(study)
    for way, serving in ((Way.RETRAIN, Variant.FROZEN), (Way.RETRAIN_REBUILD, Variant.REBUILT)):
        plan = recommend_schedule(curves(study)[serving], study.relative(serving), PRICES, metric="ndcg@10")
        assert ways[way].every_days == plan.every_days
        rebuilds = 0.0 if serving is Variant.FROZEN else 14.0 / WINDOW
        cost = ways[way].cost
        assert cost is not None
        assert cost.value == pytest.approx(plan.cost_per_day + rebuilds)


def test_every_way_is_resampled_by_the_same_origins() -> None:
    rng = np.random.default_rng(2)
    amplitude = 0.08 * rng.uniform(0.3, 1.7, NUM_ORIGINS)
    # Origins differ widely, and in each of them alone the rebuilt model loses a little less.
    study = planted(falling(0.05, amplitude), falling(0.05, 0.98 * amplitude))
    ways = compared(study, replace(PRICES, rebuild_cost=0.0, cost=1e9))
    nothing, rebuild = ways[Way.NOTHING].cost, ways[Way.REBUILD].cost
    assert nothing is not None
    assert rebuild is not None
    assert rebuild.high > 1.2 * nothing.low
    assert ways[Way.REBUILD].cheapest == 1.0
    # So it is with what a daily warm start leaves: .95 of all there is to lose, and .02 on the way.
    study = planted(falling(0.05, amplitude), falling(0.05, amplitude), later(0.95 * amplitude[:, None]))
    ways = compared(study, replace(PRICES, warm_cost=0.01, cost=1e9))
    assert ways[Way.WARM].cheapest == 1.0


def test_the_interval_holds_the_true_cost_of_the_plan_about_as_often_as_it_says() -> None:
    held = dict.fromkeys((Way.NOTHING, Way.WARM, Way.RETRAIN), 0)
    for seed in range(40):
        study = planted(falling(0.05, 0.08), falling(0.05, 0.08), later(0.004), noise=0.006, seed=seed)
        ways = compared(study, num_resamples=199)
        for way, cost, gap in ((Way.NOTHING, 0.0, 0.0), (Way.WARM, 30.0, 0.004), (Way.RETRAIN, 100.0, 0.0)):
            found = ways[way]
            assert found.cost is not None
            days = found.every_days
            true = 40.0 if days is None else followed(days, cost=cost, rate=0.05, amplitude=0.08, gap=gap)
            held[way] += found.cost.low <= true <= found.cost.high
    assert min(held.values()) >= 34
    assert sum(held.values()) >= 108  # of 120


@pytest.mark.parametrize(("num_origins", "tail"), [(4, 0.00012), (8, 0.00573), (30, 0.0188)])
def test_few_origins_take_their_interval_further_out(num_origins: int, tail: float) -> None:
    """Against Student's t of tables: 3.182, 2.365 and 2.045 at 3, 7 and 29 degrees of freedom."""
    student = {4: 3.182, 8: 2.365, 30: 2.045}[num_origins]
    exact = math.erfc(student * math.sqrt(num_origins / (num_origins - 1) / 2.0)) / 2.0
    assert exact == pytest.approx(tail, rel=0.02)
    assert _tail(0.95, num_origins) == pytest.approx(exact, rel=0.2)


def test_what_was_not_measured_is_unknown_with_its_reason() -> None:
    ways = compared(planted(falling(0.05, 0.08), falling(0.03, 0.05)))
    for way in (Way.WARM, Way.WARM_REBUILD):
        assert ways[way] == Upkeep(way, Standing.UNKNOWN, note="no warm start was measured")
    shares = [way.cheapest for way in ways.values() if way.cheapest is not None]
    assert len(shares) == 4
    assert sum(shares) == pytest.approx(1.0)
    assert [way.note for way in unknown_ways("too few origins")] == ["too few origins"] * 6


def test_a_decay_too_slow_for_the_ages_measured_prices_intervals_within_them_alone() -> None:
    # Half is lost in 347 days, of which 80 were measured; in the first weeks .0004 a day.
    study = planted(falling(0.002, 0.2), falling(0.05, 0.02), later(0.0))
    ways = compared(study)
    assert ways[Way.NOTHING].standing is Standing.UNKNOWN
    assert ways[Way.NOTHING].cost is None
    assert ways[Way.NOTHING].cheapest is None
    assert ways[Way.NOTHING].note == (
        "the half-life of frozen, 347 days, is beyond the ages measured, up to 80.5: what it loses later was "
        "not seen"
    )
    assert ways[Way.REBUILD].standing is Standing.PRICED
    found = ways[Way.RETRAIN]
    assert found.every_days is not None
    assert found.cost is not None
    assert found.cost.value == pytest.approx(
        followed(found.every_days, cost=100.0, rate=0.002, amplitude=0.2), rel=1e-3
    )
    dear = compared(study, replace(PRICES, cost=10_000.0))[Way.RETRAIN]
    assert (dear.standing, dear.every_days) == (Standing.UNKNOWN, None)
    assert dear.note == ways[Way.NOTHING].note


def test_where_no_decay_is_shown_what_was_lost_counts_and_no_retrain_pays() -> None:
    study = planted(falling(0.05, 0.0), falling(0.05, 0.0), noise=0.004)
    ways = compared(study)
    drop = curves(study)[Variant.FROZEN].drop
    assert drop.low < 0.0 < drop.high
    cost = ways[Way.NOTHING].cost
    assert cost is not None
    assert cost.value == pytest.approx(500 * drop.value)
    assert cost.low < 0.0 < cost.high
    assert "no decay of frozen is shown; what it lost over the ages" in (ways[Way.NOTHING].note or "")
    assert (ways[Way.RETRAIN].standing, ways[Way.RETRAIN].cost) == (Standing.NEVER_PAYS, None)
    assert ways[Way.RETRAIN].note == "no decay of frozen is shown"


@pytest.mark.parametrize(
    ("warm", "noise", "said", "unsaid"),
    [
        (later(0.01), 0.001, "which is counted", "holds 0"),
        (later(0.0), 0.004, "which is counted though the interval holds 0", "grows"),
        (falling(0.01, 0.05), 0.001, "it grows with age, so a chain of warm starts may lose more", "holds 0"),
    ],
)
def test_a_warm_start_says_what_it_leaves(warm: np.ndarray, noise: float, said: str, unsaid: str) -> None:
    study = planted(falling(0.05, 0.08), falling(0.05, 0.07), warm, noise=noise, triangular=True)
    found = compared(study)[Way.WARM]
    assert found.note is not None
    assert said in found.note
    assert unsaid not in found.note
    # The mean over the questions of every age but the first, at which nothing was updated.
    relative = study.relative(Variant.WARM)
    asked = relative.num_queries[:, 1:] > 0
    gap = -relative.quality[:, 1:][asked].mean()
    assert found.note.startswith(f"below retrained by {gap:+.4f} [")
    assert found.every_days is not None
    cheaper = compared(replace_warm(study), PRICES)[Way.WARM]
    assert found.lost is not None
    assert cheaper.lost is not None
    assert found.lost - cheaper.lost == pytest.approx(500 * gap)


def replace_warm(study: DecayStudy) -> DecayStudy:
    """The same study with a warm start that is as good as a retrain."""
    known = dict(study.known) | {Variant.WARM: study.known[Variant.RETRAINED]}
    return DecayStudy(known, study.unknown)


def test_bounds_on_the_interval_hold_for_every_way() -> None:
    study = planted(falling(0.05, 0.08), falling(0.03, 0.05), later(0.004))
    ways = compared(study, replace(PRICES, cost=20_000.0, shortest_days=20, longest_days=30))
    assert [way.every_days for way in ways.values()] == [None, None, 20, 20, 30, 30]
    for way in (Way.NOTHING, Way.REBUILD):
        assert ways[way].cost is not None
        assert ways[way].cheapest is None
        assert ways[way].note == "not compared: no model may be older than longest_days, 30"


def test_a_rebuild_that_would_never_fall_between_two_updates_is_not_priced() -> None:
    study = planted(falling(0.05, 0.08), falling(0.03, 0.05))
    ways = compared(study, replace(PRICES, cost=5.0))
    assert ways[Way.RETRAIN].every_days == 2
    found = ways[Way.RETRAIN_REBUILD]
    assert (found.standing, found.note) == (
        Standing.UNKNOWN,
        "it pays every 4 days, and the study rebuilds the index every 7: a rebuild between was not measured",
    )


def test_what_it_cannot_compare_is_refused() -> None:
    study = planted(falling(0.05, 0.08), falling(0.05, 0.08))
    fitted = curves(study)
    with pytest.raises(QueryError, match=r"curves of frozen with \[99\] resamples; expected frozen and"):
        compare_ways(study, {Variant.FROZEN: fitted[Variant.FROZEN]}, PRICES)
    other = fitted | {Variant.REBUILT: fit_decay(study.relative(Variant.REBUILT), num_resamples=9)}
    with pytest.raises(QueryError, match=r"with \[9, 99\] resamples"):
        compare_ways(study, other, PRICES)
    with pytest.raises(ConfigError, match=r"retraining\.warm_cost: -1\.0 is out of range"):
        compare_ways(study, fitted, replace(PRICES, warm_cost=-1.0))
    with pytest.raises(ConfigError, match=r"retraining\.rebuild_cost: -1\.0 is out of range"):
        compare_ways(study, fitted, replace(PRICES, rebuild_cost=-1.0))


def test_the_default_prices_rise_with_the_work() -> None:
    prices = RetrainingSettings()
    assert 0.0 < prices.rebuild_cost < prices.warm_cost < prices.cost < math.inf
