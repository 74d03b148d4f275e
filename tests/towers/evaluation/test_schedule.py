"""The retraining schedule: what it recommends, and that a job reads what was written or nothing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.towers.evaluation.decays import DAY, exact, sampled
from towers.errors import ConfigError
from towers.evaluation.decay import QualityMatrix, fit_decay
from towers.evaluation.retraining import RetrainingSettings
from towers.evaluation.schedule import Schedule, Verdict, read_schedule, recommend_schedule, write_schedule

SETTINGS = RetrainingSettings(cost=100.0, value_per_point_day=50.0)


def recommended(matrix: QualityMatrix, settings: RetrainingSettings = SETTINGS) -> Schedule:
    return recommend_schedule(fit_decay(matrix, num_resamples=199), matrix, settings, metric="ndcg@10")


def test_it_retrains_as_often_as_an_enumeration_of_days_says() -> None:
    schedule = recommended(exact(0.05))
    # Cost of a day: 5,000 a unit of quality, .08 of it to lose, in closed form at each whole number of days.
    costs = {
        days: (100.0 + 5_000.0 * 0.08 * (days - (1.0 - math.exp(-0.05 * days)) / 0.05)) / days
        for days in range(1, 200)
    }
    best = min(costs, key=costs.__getitem__)
    assert (schedule.verdict, schedule.every_days) == (Verdict.PAYS, best)
    assert schedule.cost_per_day == pytest.approx(costs[best], rel=1e-5)
    assert schedule.never_cost_per_day == pytest.approx(400.0, rel=1e-5)
    # Break-even: at T* the loss costs a day what the schedule does.
    assert schedule.at_loss is not None
    assert 5_000.0 * schedule.at_loss == pytest.approx(costs[best], rel=0.01)


def test_its_interval_is_around_it_and_its_evidence_is_that_of_the_fit() -> None:
    matrix = sampled(0, 0.06)
    schedule = recommended(matrix)
    assert schedule.low_days is not None
    assert schedule.high_days is not None
    assert schedule.every_days is not None
    assert schedule.low_days - 1 < schedule.every_days < schedule.high_days + 1
    evidence = schedule.evidence
    assert (evidence.num_origins, evidence.num_cells, evidence.num_queries) == (8, 68, 680_000)
    assert (evidence.first_origin_seconds, evidence.last_origin_seconds) == (0, 7 * 4 * DAY)
    assert evidence.rate == fit_decay(matrix, num_resamples=199).rate


@pytest.mark.parametrize(
    ("matrix", "cost", "verdict"),
    [
        (exact(0.05), 10_000.0, Verdict.NOT_WORTH_ITS_COST),
        (exact(0.05, amplitude=-0.02), 100.0, Verdict.NO_DECAY_SHOWN),
        (sampled(0, 0.05, amplitude=0.0, num_queries=500), 100.0, Verdict.NO_DECAY_SHOWN),
    ],
)
def test_never_has_a_reason(matrix: QualityMatrix, cost: float, verdict: Verdict) -> None:
    schedule = recommended(matrix, replace(SETTINGS, cost=cost))
    assert (schedule.verdict, schedule.every_days, schedule.at_loss) == (verdict, None, None)
    assert not schedule.is_due(trained_seconds=0, now_seconds=10_000 * DAY)
    longest = recommended(matrix, replace(SETTINGS, cost=cost, longest_days=90))
    assert (longest.verdict, longest.every_days) == (verdict, 90)


def test_it_is_due_at_its_age_or_by_drift_but_not_before_the_shortest() -> None:
    schedule = replace(recommended(exact(0.05)), every_days=7, settings=replace(SETTINGS, shortest_days=2))
    asked = [
        schedule.is_due(trained_seconds=DAY, now_seconds=DAY + age, drifted=drifted)
        for age, drifted in ((7 * DAY - 1, False), (7 * DAY, False), (2 * DAY, True), (2 * DAY - 1, True))
    ]
    assert asked == [False, True, True, False]


@pytest.mark.parametrize("rate", [0.0002, 0.05])
def test_what_is_written_is_what_is_read(rate: float, tmp_path: Path) -> None:
    schedule = recommended(exact(rate), replace(SETTINGS, longest_days=400))
    path = tmp_path / "new folder" / "schedule.json"
    write_schedule(schedule, path)
    assert read_schedule(path) == schedule
    plain = json.loads(path.read_text())
    assert (plain["format"], plain["version"], plain["every_days"]) == (
        "retraining-schedule",
        2,
        schedule.every_days,
    )
    write_schedule(replace(schedule, every_days=3), path)
    assert read_schedule(path).every_days == 3
    assert [file.name for file in path.parent.iterdir()] == ["schedule.json"]


def test_an_interval_without_an_end_is_null_in_the_file(tmp_path: Path) -> None:
    schedule = recommended(exact(3.0))
    assert schedule.evidence.rate.high == math.inf
    path = tmp_path / "schedule.json"
    write_schedule(schedule, path)
    assert json.loads(path.read_text())["evidence"]["rate"]["high"] is None
    assert read_schedule(path) == schedule


def test_a_file_of_version_1_is_read_though_it_holds_no_price_of_a_warm_start_or_a_rebuild(
    tmp_path: Path,
) -> None:
    schedule = recommended(exact(0.05), replace(SETTINGS, cost=70.0, longest_days=90))
    path = tmp_path / "schedule.json"
    write_schedule(schedule, path)
    plain = json.loads(path.read_text())
    del plain["settings"]["warm_cost"], plain["settings"]["rebuild_cost"]
    path.write_text(json.dumps(plain | {"version": 1}))
    assert read_schedule(path) == schedule
    path.write_text(json.dumps(plain))
    with pytest.raises(ConfigError, match=r"schedule\.settings: .*; expected .*'warm_cost'"):
        read_schedule(path)


def test_a_file_that_is_no_schedule_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "schedule.json"
    with pytest.raises(ConfigError, match="expected a retraining schedule in JSON"):
        read_schedule(path)
    write_schedule(recommended(exact(0.05)), path)
    plain = json.loads(path.read_text())
    estimate = plain["evidence"]["rate"]
    for broken, said in (
        ([], "expected a retraining schedule in JSON"),
        (plain | {"version": 3}, "version 3; expected 'retraining-schedule' version 2"),
        (plain | {"settings": {"cost": 100.0}}, r"schedule\.settings: \['cost'\]; expected"),
        (plain | {"version": 1, "settings": {"cost": 100.0}}, r"schedule\.settings: .*'cost'.*; expected"),
        (plain | {"version": 1, "settings": 7}, r"schedule\.settings: 7; expected"),
        (plain | {"every_days": "7"}, r"schedule\.every_days: '7'"),
        (plain | {"every_days": True}, r"schedule\.every_days: True"),
        (plain | {"verdict": "maybe"}, r"schedule\.verdict: 'maybe'; expected one of pays"),
        (plain | {"surprise": 1}, "schedule: .*surprise"),
        (plain | {"settings": plain["settings"] | {"cost": -1.0}}, r"schedule\.settings\.cost: -1\.0"),
        (
            plain | {"evidence": plain["evidence"] | {"rate": estimate | {"value": None}}},
            r"schedule\.evidence\.rate\.value: None",
        ),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(ConfigError, match=said):
            read_schedule(path)
