"""scripts/drift.py as a scheduler runs it, at small size."""

import json
from pathlib import Path

import pytest

from tests.pipeline.test_scripts import SMALL, must_run
from towers.evaluation.drift_decision import Reason, read_check

LOG = SMALL[:3]


@pytest.mark.slow
def test_a_scheduler_is_told_whether_a_retrain_is_due(tmp_path: Path) -> None:
    where = f"artifacts={tmp_path}"
    must_run("train", where, *SMALL, "split=global_time", "trainer.max_epochs=1")
    shown = must_run("drift", where, *LOG, "now=2024-12-30")
    path = tmp_path / "drift" / "drift.json"
    check = read_check(path)
    assert check.says.split(":")[0] in shown
    assert check.num_events == pytest.approx(0.2 * 900, abs=60)
    assert {reading.subject for reading in check.readings} >= {"unknown items", "country", "genre", "minutes"}
    assert not check.scheduled
    assert (tmp_path / "drift" / "drift.png").stat().st_size > 0

    # The same tables again, asked before any of the newer events; and beside its own export.
    against = f"against={tmp_path}"
    shown = must_run("drift", where, *LOG, "reuse_tables=true", "now=2023-01-03", against)
    check = read_check(path)
    assert (check.num_events, check.reason) == (0, Reason.NEITHER)
    assert "there is no newer event to read" in " ".join(shown.split())
    (own,) = check.readings
    assert own.subject == "item vectors"
    assert own.value == pytest.approx(0.0, abs=1e-5)
    assert not (tmp_path / "drift" / "drift.png").exists()

    assert json.loads(path.read_text())["due"] is False
