"""What is due: the table of age and drift by hand, and that a job reads what was written or nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.towers.evaluation.decays import DAY, exact
from towers.errors import ConfigError
from towers.evaluation.decay import fit_decay
from towers.evaluation.drift import Monitor, Reading
from towers.evaluation.drift_decision import DriftCheck, Moved, Reason, decide, read_check, write_check
from towers.evaluation.retraining import RetrainingSettings
from towers.evaluation.schedule import Schedule, recommend_schedule

COUNTRY = Reading(Monitor.FEATURE_STABILITY, "country", 0.4, 0.25)
TITLES = Reading(Monitor.UNKNOWN_IDS, "unknown items", 0.01, 0.07)
CHECK = DriftCheck(
    title="a service",
    reason=Reason.DRIFT,
    cut_off_seconds=1_700_000_000,
    now_seconds=1_700_000_000 + 5 * DAY,
    scheduled=True,
    every_days=7,
    shortest_days=2,
    num_events=1_000,
    num_train=300,
    num_live=280,
    days=4.5,
    readings=(TITLES, COUNTRY),
    noted=(Reading(Monitor.UNKNOWN_IDS, "unknown profiles", 0.3, 0.07),),
    moved={"country": Moved("new to train", 0.0, 0.12)},
    unread={"genre": "neither log says it"},
)


def scheduled(every_days: int | None) -> Schedule:
    settings = RetrainingSettings(cost=100.0, value_per_point_day=50.0, shortest_days=2)
    matrix = exact(0.05)
    found = recommend_schedule(fit_decay(matrix, num_resamples=19), matrix, settings, metric="ndcg@10")
    return replace(found, every_days=every_days)


@pytest.mark.parametrize(
    ("every_days", "age_days", "drifted", "reason"),
    [
        (7, 1.9, False, Reason.NEITHER),
        (7, 1.9, True, Reason.TOO_YOUNG),
        (7, 2.0, False, Reason.NEITHER),
        (7, 2.0, True, Reason.DRIFT),
        (7, 6.9, True, Reason.DRIFT),
        (7, 7.0, False, Reason.AGE),
        (7, 7.0, True, Reason.AGE),
        (None, 1.0, True, Reason.TOO_YOUNG),
        (None, 900.0, False, Reason.NEITHER),
        (None, 900.0, True, Reason.DRIFT),
    ],
)
def test_age_drift_and_the_shortest_days_decide(
    every_days: int | None, age_days: float, drifted: bool, reason: Reason
) -> None:
    times = {"trained_seconds": DAY, "now_seconds": DAY + round(age_days * DAY)}
    assert decide(scheduled(every_days), drifted=drifted, **times) is reason


@pytest.mark.parametrize(
    ("drifted", "age_days", "reason"),
    [(False, 900, Reason.NEITHER), (True, 900, Reason.DRIFT), (True, 0, Reason.DRIFT)],
)
def test_without_a_schedule_drift_alone_decides(drifted: bool, age_days: int, reason: Reason) -> None:
    assert decide(None, trained_seconds=0, now_seconds=age_days * DAY, drifted=drifted) is reason


def test_age_and_drift_call_for_a_retrain_and_nothing_else_does() -> None:
    assert [reason for reason in Reason if reason.is_due] == [Reason.AGE, Reason.DRIFT]


def test_the_answer_is_one_sentence_that_says_why() -> None:
    assert CHECK.says == (
        "retrain: drifted: country; the model learned from events up to 5.0 days ago, due at 7 days"
    )
    young = replace(CHECK, reason=Reason.TOO_YOUNG, now_seconds=CHECK.cut_off_seconds + DAY)
    assert young.says == (
        "no retrain: drifted: country, but the model learned from events up to 1.0 days ago, and retrains "
        "are 2 days apart"
    )
    nothing = replace(CHECK, readings=(), num_events=0)
    assert replace(nothing, reason=Reason.AGE, every_days=5).says == (
        "retrain: the model learned from events up to 5.0 days ago, due at 5 days; there is no newer event "
        "to read"
    )
    unscheduled = replace(nothing, reason=Reason.NEITHER, scheduled=False, every_days=None)
    assert "no schedule is there, so age does not count" in unscheduled.says
    assert "the schedule says never" in replace(nothing, reason=Reason.NEITHER, every_days=None).says


def test_what_is_written_is_what_is_read_and_a_job_needs_no_python(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "drift.json"
    for check in (CHECK, replace(CHECK, readings=(), scheduled=False, every_days=None, shortest_days=None)):
        write_check(check, path)
        assert read_check(path) == check
    write_check(CHECK, path)
    plain = json.loads(path.read_text())
    assert (plain["format"], plain["version"], plain["due"]) == ("drift-check", 1, True)
    assert (plain["reason"], plain["triggered"]) == ("drift", ["country"])
    assert plain["cut_off"] == "2023-11-14T22:13:20+00:00"
    assert plain["readings"][1] == {
        "monitor": "feature_stability",
        "subject": "country",
        "value": 0.4,
        "limit": 0.25,
    }
    assert [file.name for file in path.parent.iterdir()] == ["drift.json"]


def test_a_file_that_is_no_check_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    with pytest.raises(ConfigError, match="expected a drift check in JSON"):
        read_check(path)
    write_check(CHECK, path)
    plain = json.loads(path.read_text())
    for broken, said in (
        ([], "expected a drift check in JSON"),
        (plain | {"version": 2}, "version 2; expected 'drift-check' version 1"),
        (plain | {"reason": "mood"}, "'mood' is not a valid Reason"),
        (plain | {"readings": [{"monitor": "items"}]}, "expected a drift check in JSON"),
        ({name: value for name, value in plain.items() if name != "days"}, "'days'"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(ConfigError, match=said):
            read_check(path)
