"""scripts/tune.py as a user runs it, at small size."""

from pathlib import Path

import pytest

from tests.pipeline.test_scripts import SMALL, must_run
from towers.ladder.rungs import RungName
from towers.ladder.tuned import read_tuned

TRIALS = ("tune.names=[item_knn,towers]", "tune.num_trials=2", "trainer.max_epochs=1", "model.dim=32")


@pytest.mark.slow
def test_a_search_goes_from_logs_to_settings(tmp_path: Path) -> None:
    where = f"artifacts={tmp_path}"
    shown = must_run("tune", where, *(each for each in SMALL if not each.startswith("model.dim")), *TRIALS)
    assert "item_knn.num_neighbours" in shown
    assert "trainer.learning_rate" in shown
    tuned = read_tuned(tmp_path / "tune" / "tuned.json")
    assert list(tuned) == [RungName.ITEM_KNN, RungName.TOWERS]
    assert all(rung.default is not None and rung.best >= rung.default for rung in tuned.values())
    assert (tmp_path / "tune" / "tuning.png").stat().st_size > 0
