import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.claims import BenchmarkError
from benchmarks.ratings import SIMPLER, compared
from towers.ladder.rungs import RungName


def climbed(folder: Path, values: dict[str, np.ndarray], failure: str | None = None) -> Path:
    """The files of a climb whose rungs have these N@10 per question."""
    (folder / "rows").mkdir()
    for name, value in values.items():
        np.save(folder / "rows" / f"{name}.npy", value)
    rungs = [
        {
            "name": name,
            "failure": failure if name == RungName.EASE else None,
            "evaluation": {"slices": {"all": {"ndcg@10": float(value.mean())}}},
            "spent": {"fit_seconds": 61.4},
        }
        for name, value in values.items()
    ]
    (folder / "ladder.json").write_text(json.dumps({"rungs": rungs}))
    return folder


def values(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name.value: rng.random(200) * 0.1 for name in [*SIMPLER, RungName.TOWERS]}


def test_the_towers_are_compared_with_the_best_simpler_rung_on_the_same_questions(tmp_path: Path) -> None:
    made = values()
    made["trees"] = made["trees"] + 0.5
    made["towers"] = made["trees"] + np.where(np.arange(200) % 2, 0.3, -0.1)
    found = compared(climbed(tmp_path, made))
    assert found["best"] == "trees"
    assert found["lead"]["difference"] == pytest.approx(0.1)
    # The standard error of the mean of 200 differences of -.1 and .3 is .2 / sqrt(200).
    half = 1.96 * 0.2 / 200**0.5
    assert found["lead"]["low"] == pytest.approx(0.1 - half, abs=0.005)
    assert found["slices"]["towers"] == pytest.approx(
        {"all": made["towers"].mean()} | dict.fromkeys(found["slices"]["towers"].keys() - {"all"})
    )


def test_a_rung_that_failed_or_is_missing_is_no_measurement(tmp_path: Path) -> None:
    (tmp_path / "failed").mkdir()
    with pytest.raises(BenchmarkError, match=r"failed \{'ease': 'out of memory'\}"):
        compared(climbed(tmp_path / "failed", values(), failure="out of memory"))
    (tmp_path / "missing").mkdir()
    some = {name: value for name, value in values().items() if name != "towers"}
    with pytest.raises(BenchmarkError, match="expected all, none"):
        compared(climbed(tmp_path / "missing", some))
