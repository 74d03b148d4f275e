"""scripts/decay.py as a user runs it, at small size."""

import json
from pathlib import Path

import pytest

from tests.pipeline.test_scripts import must_run, run
from towers.evaluation.schedule import read_schedule

SMALL = ("data.num_profiles=60", "data.num_items=50", "data.num_events=2000", "study.rung=popular")


@pytest.mark.slow
def test_a_study_goes_from_logs_to_a_schedule(tmp_path: Path) -> None:
    where = f"artifacts={tmp_path}"
    shown = must_run("decay", where, *SMALL, "study.origins.num_origins=4", "study.origins.num_ages=3")
    assert "schedule: " in shown
    found = json.loads((tmp_path / "decay" / "decay.json").read_text())
    assert len(found["quality"]["retrained"]) == 4
    assert read_schedule(tmp_path / "decay" / "schedule.json").evidence.num_origins == 4
    assert (tmp_path / "decay" / "decay.png").stat().st_size > 0

    done = run("decay", where, "reuse_tables=true", *SMALL, "study.origins.num_origins=500")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: study.origins.num_origins: 500 every 7 days do not fit")
