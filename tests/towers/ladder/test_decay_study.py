"""Studies of worlds on disk whose taste moves at a planted pace, with a rung that is fitted in no time."""

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.towers.evaluation import decays
from tests.worlds import DAY_SECONDS, block_world, log_tables, write_tables
from towers.data.dataset import read_dataset
from towers.data.signals.settings import SignalSettings
from towers.errors import ConfigError
from towers.evaluation.decay import QualityMatrix
from towers.evaluation.decay_causes import DecayStudy, Variant
from towers.evaluation.retraining import RetrainingSettings
from towers.evaluation.schedule import Verdict, read_schedule
from towers.evaluation.upkeep import Standing
from towers.ladder.decay_findings import FINDINGS_FILE, SCHEDULE_FILE, find, write_findings
from towers.ladder.decay_report import render, write_plot
from towers.ladder.decay_study import StudySettings, measure_decay
from towers.ladder.heuristics import PopularSettings
from towers.ladder.origins import OriginSettings
from towers.ladder.rungs import RungName, RungSettings
from towers.nets.two_tower import ModelSettings
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

NUM_DAYS, NUM_ITEMS, NUM_HOT, NUM_PROFILES = 98, 2000, 200, 490
LEAVING = 0.05  # share of the hot titles that cool down each day
K = 100
SETTINGS = StudySettings(
    rung=RungName.POPULAR_RECENT,
    origins=OriginSettings(num_origins=8, num_ages=8, min_ages=3, learn_days=14),
    k=K,
)
RUNGS = RungSettings(recent=PopularSettings(days=3.0))
PRICES = RetrainingSettings(cost=100.0, value_per_point_day=50.0)


def write_world(folder: Path, leaving: float, num_days: int = NUM_DAYS) -> Path:
    """Every profile watches three hot titles a week, on its own day; each day a share of the hot are others.

    On the first days every title is watched once, so that nothing is new later.
    """
    rng = np.random.default_rng(3)
    hot = rng.choice(NUM_ITEMS, NUM_HOT, replace=False)
    events = [(item % NUM_PROFILES, item, item * 60_000) for item in range(NUM_ITEMS)]
    for day in range(1, num_days):
        cooled = rng.choice(NUM_HOT, round(NUM_HOT * leaving), replace=False)
        cold = np.setdiff1d(np.arange(NUM_ITEMS), hot)
        hot[cooled] = rng.choice(cold, len(cooled), replace=False)
        for profile in range(day % 7, NUM_PROFILES, 7):
            for item in rng.choice(hot, 3, replace=False).tolist():
                moment = DAY_SECONDS * day + int(rng.integers(DAY_SECONDS))
                events.append((profile, item, 1000 * moment))
    write_tables(log_tables(events, num_items=NUM_ITEMS, num_profiles=NUM_PROFILES), folder)
    return folder


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("moving"), LEAVING)


def measure(tables: Path, folder: Path, settings: StudySettings = SETTINGS) -> DecayStudy:
    return measure_decay(tables, SignalSettings(), settings, RUNGS, FitSettings(), folder)


@pytest.fixture(scope="module")
def study(moving: Path, tmp_path_factory: pytest.TempPathFactory) -> DecayStudy:
    return measure(moving, tmp_path_factory.mktemp("study"))


def test_a_planted_pace_is_found_and_a_retrained_model_does_not_age(
    study: DecayStudy, tmp_path: Path
) -> None:
    findings = find(study, PRICES, metric=SETTINGS.metric, serving=Variant.FROZEN)
    assert findings.curve is not None
    assert findings.curve.decays
    # What is hot cools, and what has cooled may be hot again: a two-state chain relaxes at the sum of both.
    planted = -np.log(1.0 - LEAVING * (1.0 + NUM_HOT / (NUM_ITEMS - NUM_HOT)))
    assert findings.curve.rate.low <= planted <= findings.curve.rate.high
    assert findings.curve.rate.value == pytest.approx(planted, rel=0.3)

    frozen, fresh = study.overall(Variant.FROZEN), study.overall(Variant.RETRAINED)
    complete = frozen.num_queries.min(axis=1) > 0
    by_age = frozen.quality[complete].mean(axis=0)
    assert np.all(np.diff(by_age)[:5] < 0.0)  # later there is little left to lose
    assert by_age[-1] < 0.5 * by_age[0]
    assert fresh.quality[complete].mean(axis=0) == pytest.approx(fresh.quality[0, 0], rel=0.25)

    assert findings.schedule is not None
    assert findings.schedule.verdict is Verdict.PAYS
    assert not findings.extrapolates
    assert f"retrain every {findings.schedule.every_days} days" in findings.says
    assert f"against {findings.schedule.never_cost_per_day:,.2f} without" in findings.says
    write_findings(findings, tmp_path)
    assert read_schedule(tmp_path / SCHEDULE_FILE) == findings.schedule
    written = json.loads((tmp_path / FINDINGS_FILE).read_text())
    assert written["curve"]["rate"]["value"] == findings.curve.rate.value
    assert written["quality"]["frozen"][-1][-1] is None
    ways = {way["way"]: way for way in written["ways"]}
    assert list(ways) == ["nothing", "rebuild", "warm", "warm_rebuild", "retrain", "retrain_rebuild"]
    assert ways["retrain"]["every_days"] == findings.schedule.every_days
    assert ways["retrain"]["cost"]["value"] == pytest.approx(findings.schedule.cost_per_day)
    assert ways["nothing"]["cost"]["value"] == pytest.approx(findings.schedule.never_cost_per_day)
    assert ways["retrain"]["cheapest"] == 1.0
    assert (ways["warm"]["standing"], ways["warm"]["cost"]) == ("unknown", None)
    assert write_plot(findings, "a world", tmp_path).stat().st_size > 10_000


def test_the_report_tells_what_each_way_of_keeping_up_costs(study: DecayStudy) -> None:
    findings = find(study, PRICES, metric=SETTINGS.metric, serving=Variant.FROZEN)
    out = io.StringIO()
    Console(file=out, width=120).print(render(findings, "a world"))
    lines = out.getvalue().splitlines()
    plan = findings.schedule
    assert plan is not None
    (row,) = [line.split() for line in lines if line.startswith("retrain  ")]
    assert row[1:5] == [str(plan.every_days), "d", "never", f"{plan.cost_per_day:,.2f}"]
    assert row[-4:-2] == ["100", "%"]
    assert sum(map(float, row[-2:])) == pytest.approx(plan.cost_per_day, abs=0.011)
    (row,) = [line.split() for line in lines if line.startswith("warm  ")]
    assert row[1:] == ["unknown", *"–––––", "–"]
    assert "warm, warm + rebuild: no warm start was measured" in lines
    assert any(
        line.startswith("at 100.00 a retrain, 30.00 a warm start and 5.00 a rebuild") for line in lines
    )


def test_a_cell_is_what_a_plain_count_gives(moving: Path, study: DecayStudy) -> None:
    """Origin 1 at its third age: the most watched of the three days before it, asked two weeks later."""
    history = read_dataset(moving, SignalSettings()).history
    origin = int(study.overall(Variant.FROZEN).origin_seconds[1])
    start = origin + 14 * DAY_SECONDS
    before = history.time_seconds < origin
    lately = before & (history.time_seconds > history.time_seconds[before].max() - 3 * DAY_SECONDS)
    share = np.bincount(history.item_row[before], minlength=NUM_ITEMS) / (before.sum() + 1)
    score = np.bincount(history.item_row[lately], minlength=NUM_ITEMS) + share
    gains = 1.0 / np.log2(np.arange(2, K + 2))
    values = []
    for profile in range(len(history)):
        events = slice(history.offset[profile], history.offset[profile + 1])
        items, seconds = history.item_row[events], history.time_seconds[events]
        targets = set(items[(seconds >= start) & (seconds < start + 7 * DAY_SECONDS)].tolist())
        if targets:
            seen = set(items[seconds < start].tolist())
            shown = [item for item in np.argsort(-score, kind="stable").tolist() if item not in seen][:K]
            won = sum(gain for gain, item in zip(gains, shown, strict=True) if item in targets)
            values.append(won / gains[: len(targets)].sum())
    frozen = study.overall(Variant.FROZEN)
    assert frozen.num_queries[1, 2] == len(values)
    assert frozen.quality[1, 2] == pytest.approx(np.mean(values), rel=1e-9)


def test_a_retrained_cell_is_the_young_model_of_a_later_origin(study: DecayStudy) -> None:
    fresh, frozen = study.overall(Variant.RETRAINED), study.overall(Variant.FROZEN)
    assert fresh.quality[0, 3] == pytest.approx(frozen.quality[3, 0], rel=1e-12)
    # Every title and profile was there from the first days on.
    assert study.unknown[Variant.FROZEN].num_queries.sum() == 0
    assert np.array_equal(frozen.quality, study.overall(Variant.REBUILT).quality, equal_nan=True)


def test_a_world_that_stays_as_it_is_is_never_retrained_for(tmp_path: Path) -> None:
    tables = write_world(tmp_path / "tables", 0.0, num_days=77)
    short = replace(SETTINGS, origins=replace(SETTINGS.origins, num_origins=5, num_ages=4))
    findings = find(measure(tables, tmp_path, short), PRICES, metric=SETTINGS.metric, serving=Variant.FROZEN)
    assert findings.schedule is not None
    assert findings.schedule.verdict is Verdict.NO_DECAY_SHOWN
    assert findings.schedule.every_days is None
    assert findings.says.startswith("never: no decay is shown")


def test_a_decay_too_slow_for_the_ages_measured_is_told_without_its_end() -> None:
    frozen = decays.sampled(0, 0.002, amplitude=0.3, num_queries=1_000_000)
    level = np.where(frozen.num_queries > 0, frozen.quality[:, :1], np.nan)
    fresh = QualityMatrix(frozen.origin_seconds, frozen.age_days, level, frozen.num_queries)
    known = {Variant.FROZEN: frozen, Variant.REBUILT: frozen, Variant.RETRAINED: fresh}
    nobody = {
        variant: replace(matrix, quality=np.full_like(level, np.nan), num_queries=0 * matrix.num_queries)
        for variant, matrix in known.items()
    }
    findings = find(DecayStudy(known, nobody), PRICES, metric="ndcg@10", serving=Variant.FROZEN)
    assert findings.curve is not None
    assert findings.curve.decays
    assert findings.extrapolates
    assert findings.schedule is not None
    assert findings.says.endswith("what none would cost lies beyond the ages measured")
    out = io.StringIO()
    Console(file=out, width=200).print(render(findings, "a slow world"))
    # What is seen is the slope at first: .3 · .002 a day.
    slope = float(re.findall(r"λ and A are guesses, their product (\S+) a day", out.getvalue())[0])
    assert slope == pytest.approx(0.0006, rel=0.15)


@pytest.mark.parametrize(
    ("longest", "said"),
    [(None, "never: a retrain costs more"), (30, "every 30 days, the longest allowed: a")],
)
def test_a_retrain_that_costs_more_than_it_wins_is_made_as_rarely_as_is_allowed(
    study: DecayStudy, longest: int | None, said: str
) -> None:
    dear = RetrainingSettings(cost=1e6, value_per_point_day=1.0, longest_days=longest)
    findings = find(study, dear, metric=SETTINGS.metric, serving=Variant.FROZEN)
    assert findings.schedule is not None
    assert findings.schedule.verdict is Verdict.NOT_WORTH_ITS_COST
    assert findings.says.startswith(said)


def test_two_origins_conclude_nothing_and_leave_an_older_schedule(moving: Path, tmp_path: Path) -> None:
    few = replace(SETTINGS, origins=replace(SETTINGS.origins, num_origins=2))
    findings = find(measure(moving, tmp_path, few), PRICES, metric=SETTINGS.metric, serving=Variant.FROZEN)
    assert findings.schedule is None
    assert findings.says.startswith("unknown: 2 origins measured at two ages or more")
    assert {(way.standing, way.note) for way in findings.ways} == {(Standing.UNKNOWN, findings.unknown)}
    (tmp_path / SCHEDULE_FILE).write_text("older")
    write_findings(findings, tmp_path)
    assert (tmp_path / SCHEDULE_FILE).read_text() == "older"
    assert json.loads((tmp_path / FINDINGS_FILE).read_text())["schedule"] is None
    write_plot(findings, "a world", tmp_path)


def test_a_study_goes_on_where_it_stopped_and_takes_no_answers_of_other_settings(
    moving: Path, tmp_path: Path
) -> None:
    small = replace(SETTINGS, origins=replace(SETTINGS.origins, num_origins=3, num_ages=3))
    first = measure(moving, tmp_path, small)
    answers = sorted((tmp_path / "answers").iterdir())
    assert len(answers) == 5  # three origins, and two cut-offs that only retrain
    answers[1].unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "answers").iterdir()}
    again = measure(moving, tmp_path, small)
    assert sorted((tmp_path / "answers").iterdir()) == answers
    assert all(path.stat().st_mtime_ns == moment for path, moment in before.items())
    assert np.array_equal(
        first.overall(Variant.FROZEN).quality, again.overall(Variant.FROZEN).quality, equal_nan=True
    )
    other = measure(moving, tmp_path, replace(small, k=5))
    assert all(path.stat().st_mtime_ns != moment for path, moment in before.items())
    assert not np.allclose(other.overall(Variant.FROZEN).quality, first.overall(Variant.FROZEN).quality)


def test_a_warm_start_that_learns_nothing_is_the_old_model_on_the_new_catalogue(tmp_path: Path) -> None:
    write_tables(block_world(3, 20, 12, 16, seed=0), tmp_path / "tables")
    origins = OriginSettings(1, window_days=3, num_ages=2, learn_days=7, validation_days=2)
    settings = StudySettings(origins=origins, warm=True, warm_epochs=1)
    towers = FitSettings(
        model=ModelSettings(dim=8, num_layers=1, max_history=8),
        trainer=TrainerSettings(
            max_epochs=1, learning_rate=1e-30, weight_decay=0.0, accelerator=Accelerator.CPU
        ),
    )

    def cell(variant: Variant, settings: StudySettings, towers: FitSettings) -> float:
        found = measure_decay(
            tmp_path / "tables", SignalSettings(), settings, RUNGS, towers, tmp_path / "study"
        )
        return float(found.overall(variant).quality[0, 1])

    idle = cell(Variant.WARM, settings, towers)
    assert idle == pytest.approx(cell(Variant.REBUILT, settings, towers), abs=1e-6)
    # What stood there was of other settings, and what was learned by then is gone: all is made anew.
    eager = replace(towers, trainer=replace(towers.trainer, learning_rate=0.02))
    learned = cell(Variant.WARM, replace(settings, warm_epochs=4), eager)
    assert abs(learned - idle) > 1e-3
    shutil.rmtree(min((tmp_path / "study" / "models").iterdir()))  # the origin's
    assert cell(Variant.WARM, replace(settings, warm_epochs=4), eager) == learned


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            replace(SETTINGS, origins=OriginSettings(num_origins=20)),
            r"study\.origins\.num_origins: 20 every 7 days do not fit into a log of 98\.0 days.*at most 7",
        ),
        (
            replace(SETTINGS, origins=OriginSettings(learn_days=200)),
            r"study\.origins\.num_origins: .* expected a longer log, or fewer days of each",
        ),
        (
            replace(SETTINGS, origins=OriginSettings(min_ages=9)),
            r"study\.origins\.min_ages: 9; expected at most study\.origins\.num_ages, 8",
        ),
        (
            replace(SETTINGS, warm=True),
            r"study\.warm: true with study\.rung=popular_recent; expected the towers",
        ),
        (replace(SETTINGS, rung=RungName.TOWERS_FUSION), r"study\.rung: towers_fusion; expected a rung that"),
        (
            replace(SETTINGS, serving=Variant.RETRAINED),
            r"study\.serving: retrained; expected frozen or rebuilt",
        ),
        (replace(SETTINGS, k=0), r"study\.k: 0 is out of range"),
    ],
)
def test_what_the_log_or_the_rung_cannot_follow_is_refused_by_name(
    settings: StudySettings, message: str, moving: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        measure(moving, tmp_path, settings)
