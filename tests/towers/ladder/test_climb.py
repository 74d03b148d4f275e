"""Climbs of a small world on disk, each rung in a real process of its own."""

import json
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.contracts.recommenders import make_world
from tests.worlds import log_tables, write_tables
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings, split, with_fewer_profiles
from towers.errors import ConfigError, MissingDataError, SchemaError
from towers.evaluation.evaluate import evaluate
from towers.ladder.climb import LADDER_FILE, ClimbSettings, climb
from towers.ladder.heuristics import fit_popular
from towers.ladder.measured import Job, measure_rung
from towers.ladder.rungs import RungName, RungSettings
from towers.ladder.verdict import PriceSettings, Verdict
from towers.nets.two_tower import ModelSettings
from towers.training.settings import FitSettings, TrainerSettings

SIGNALS = SignalSettings()
SETTINGS = ClimbSettings(
    names=["towers_fusion", "markov", "popular"], curve_names=["markov"], curve_shares=[0.5], ks=[5, 10]
)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    write_tables(make_world().tables, tmp_path / "tables")
    return tmp_path / "tables"


def test_rungs_are_climbed_from_the_bottom_and_a_failed_one_says_why(tables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ladder"
    climbed = climb(tables, SIGNALS, SplitSettings(), SETTINGS, FitSettings(), folder)
    assert [row.name for row in climbed.rows] == [RungName.POPULAR, RungName.MARKOV, RungName.TOWERS_FUSION]
    assert climbed.rows[2].failure is not None
    assert "climb towers first" in climbed.rows[2].failure
    assert climbed.judged[2].verdict is Verdict.FAILED

    world = make_world()
    parts = split(world.dataset, SplitSettings())
    expected = evaluate(fit_popular(parts.train, 30), parts.test, num_items=30, ks=(5, 10), seen=parts.seen)
    assert climbed.rows[0].evaluation is not None
    assert climbed.rows[0].evaluation["ndcg@10"] == pytest.approx(expected.means["ndcg@10"])

    written = json.loads((folder / LADDER_FILE).read_text())
    assert [rung["name"] for rung in written["rungs"]] == ["popular", "markov", "towers_fusion"]
    assert written["promoted"] == climbed.promoted

    assert [(point["name"], point["share"]) for point in written["curves"]] == [
        ("markov", 0.5),
        ("markov", 1.0),
    ]

    # What went well is taken as it stands; what failed is tried again; other prices need no new measurement.
    before = {path.name: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()}
    dearer = replace(SETTINGS, prices=PriceSettings(value_of_point=0.0))
    again = climb(tables, SIGNALS, SplitSettings(), dearer, FitSettings(), folder)
    after = {path.name: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"towers_fusion.json"}
    assert again.rows[0].evaluation == climbed.rows[0].evaluation


def test_a_rung_that_is_killed_has_a_row_that_says_so(tables: Path, tmp_path: Path) -> None:
    job = Job(
        RungName.POPULAR, tables, SIGNALS, SplitSettings(), RungSettings(), FitSettings(), (10,), tmp_path
    )

    def kill_the_child() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.01)
        os.kill(children[0].pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_child)
    killer.start()
    row = measure_rung(job)
    killer.join()
    assert row.failure == "killed by signal 9; out of memory?"
    assert row.measured is None


def test_what_every_rung_would_fail_by_is_said_once_before_the_climb(tables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ladder"
    with pytest.raises(MissingDataError, match=r"items\.parquet"):
        climb(tmp_path / "nowhere", SIGNALS, SplitSettings(), SETTINGS, FitSettings(), folder)
    watched_once = log_tables([(profile, profile, 0) for profile in range(4)], num_items=6, num_profiles=4)
    write_tables(watched_once, tmp_path / "short")
    with pytest.raises(SchemaError, match="leaves no test question; expected a profile with three events"):
        climb(tmp_path / "short", SIGNALS, SplitSettings(), SETTINGS, FitSettings(), folder)
    assert not folder.exists()


def test_towers_of_other_settings_are_never_taken_for_those_of_this_climb(
    tables: Path, tmp_path: Path
) -> None:
    made = FitSettings(model=ModelSettings(dim=16, num_layers=1), trainer=TrainerSettings(max_epochs=1))
    settings = replace(SETTINGS, names=["towers"], curve_names=[])
    towers = climb(tables, SIGNALS, SplitSettings(), settings, made, tmp_path / "ladder").rows[0]
    assert towers.measured is not None
    settings = replace(settings, names=["towers_fusion"])
    (fused,) = climb(tables, SIGNALS, SplitSettings(), settings, made, tmp_path / "ladder").rows
    assert fused.measured is not None
    assert fused.measured.spent.fit_core_seconds > towers.measured.spent.fit_core_seconds
    other = replace(made, seed=1)
    (refused,) = climb(tables, SIGNALS, SplitSettings(), settings, other, tmp_path / "ladder").rows
    assert refused.failure is not None
    assert "climb towers first" in refused.failure


def test_a_part_of_the_profiles_is_learned_from_and_all_questions_are_asked() -> None:
    world = make_world()
    whole = split(world.dataset, SplitSettings())
    part = with_fewer_profiles(whole, 0.5, 30)
    kept = part.num_train > 0
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(part.num_train[kept], whole.num_train[kept])
    watched = np.concatenate([whole.train.items_of(profile) for profile in np.flatnonzero(kept).tolist()])
    np.testing.assert_array_equal(part.num_watches, np.bincount(watched, minlength=30))
    assert part.test is whole.test
    with pytest.raises(ConfigError, match="share = 0 of the profiles"):
        with_fewer_profiles(whole, 0.0, 30)


def test_a_name_that_is_no_rung_is_refused(tables: Path, tmp_path: Path) -> None:
    for settings in (
        replace(SETTINGS, names=["populer"]),
        replace(SETTINGS, ks=[5]),
        replace(SETTINGS, names=[]),
    ):
        with pytest.raises(ConfigError, match="expected some of popular, popular_recent"):
            climb(tables, SIGNALS, SplitSettings(), settings, FitSettings(), tmp_path / "ladder")
    assert not (tmp_path / "ladder").exists()
