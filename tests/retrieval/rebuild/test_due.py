"""When towers are trained again, by signs as scripts/decay.py and scripts/drift.py write them."""

from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.rebuild.due import (
    CHECK_PATH,
    SCHEDULE_PATH,
    Retrain,
    Signs,
    cut_off,
    read_signs,
    reasons_to_retrain,
)
from tests.retrieval.rebuild.worlds import world
from tests.towers.evaluation.test_drift_decision import CHECK, scheduled
from tests.worlds import DAY_SECONDS, START_SECONDS
from towers.data.dataset import dataset_from_tables
from towers.data.split import SplitKind, SplitSettings
from towers.errors import ConfigError
from towers.evaluation.drift_decision import write_check
from towers.evaluation.schedule import write_schedule

TRAINED = CHECK.cut_off_seconds


def reasons(when: Retrain, signs: Signs, age_days: float, newer_days: float = 1.0) -> tuple[str, ...]:
    return reasons_to_retrain(
        when,
        signs,
        trained_seconds=TRAINED,
        newest_seconds=TRAINED + int(newer_days * DAY_SECONDS),
        now_seconds=TRAINED + int(age_days * DAY_SECONDS),
    )[0]


def test_a_schedule_an_age_and_drift_each_call_for_a_retrain() -> None:
    weekly = Signs(scheduled(7))
    assert not reasons(Retrain.DUE, weekly, 6.9)
    assert "every 7 days" in reasons(Retrain.DUE, weekly, 7.0)[0]
    assert not reasons(Retrain.DUE, Signs(max_age_days=3.0), 2.9)
    assert "may be 3" in reasons(Retrain.DUE, Signs(max_age_days=3.0), 3.0)[0]
    assert reasons(Retrain.DUE, Signs(drift=CHECK), 0.1) == (CHECK.says,)
    assert not reasons(Retrain.DUE, Signs(), 999.0)


def test_what_is_asked_for_counts_before_all_signs() -> None:
    assert not reasons(Retrain.NEVER, Signs(scheduled(7), CHECK, 1.0), 99.0)
    assert reasons(Retrain.NOW, Signs(), 0.0, newer_days=0.0) == ("asked for",)


def test_nothing_is_learned_again_from_the_same_events() -> None:
    assert not reasons(Retrain.DUE, Signs(scheduled(7), CHECK, 1.0), 99.0, newer_days=0.0)


def test_a_check_of_older_towers_does_not_count_and_says_so() -> None:
    old = replace(CHECK, cut_off_seconds=TRAINED - DAY_SECONDS)
    found, notes = reasons_to_retrain(
        Retrain.DUE,
        Signs(drift=old),
        trained_seconds=TRAINED,
        newest_seconds=TRAINED + 1,
        now_seconds=TRAINED + 1,
    )
    assert not found
    assert "older towers" in notes[0]


def test_where_nobody_says_when_to_train_that_is_said() -> None:
    def noted(signs: Signs) -> str:
        return reasons_to_retrain(
            Retrain.DUE, signs, trained_seconds=None, newest_seconds=TRAINED, now_seconds=TRAINED
        )[1][0]

    assert "no max_age_days=…" in noted(Signs())
    assert "is not known" in noted(Signs(max_age_days=9.0))


def test_signs_are_read_where_they_are_written(tmp_path: Path) -> None:
    assert read_signs(tmp_path, None) == Signs()
    write_schedule(scheduled(7), tmp_path / SCHEDULE_PATH)
    write_check(CHECK, tmp_path / CHECK_PATH)
    read = read_signs(tmp_path, 9.0)
    assert read.schedule is not None
    assert (read.schedule.every_days, read.drift, read.max_age_days) == (7, CHECK, 9.0)
    (tmp_path / CHECK_PATH).write_text("{}")
    with pytest.raises(ConfigError, match=r"drift\.json"):
        read_signs(tmp_path, None)


def test_the_cut_off_is_the_newest_event_that_is_learned_from() -> None:
    dataset = dataset_from_tables(world().tables())  # six watches each, one a day
    assert cut_off(dataset, SplitSettings()) == START_SECONDS + 5 * DAY_SECONDS
    by_time = SplitSettings(SplitKind.GLOBAL_TIME, test_share=0.2, validation_share=0.2)
    assert cut_off(dataset, by_time) == START_SECONDS + 2 * DAY_SECONDS
