"""The scripts as a user runs them, each in a process of its own: every stage, at small size."""

import json
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.forked import ROOT, run_script

SMALL = (
    "data.num_profiles=60",
    "data.num_items=50",
    "data.num_events=900",
    "model.dim=16",
    "model.num_layers=1",
    "model.max_history=10",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "loader.batch_positions=128",
)


def run(
    name: str, *overrides: str, most_bytes_per_file: int | None = None
) -> subprocess.CompletedProcess[str]:
    return run_script(ROOT / "scripts" / f"{name}.py", *overrides, most_bytes_per_file=most_bytes_per_file)


def must_run(name: str, *overrides: str) -> str:
    done = run(name, *overrides)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("stage", "index", "extra"),
    [
        ("zero_to_one", "flat", ()),
        # A catalogue of a test compiles to a scan. Two processes on one machine, as two devices would be.
        ("global_scale", "flat", ("trainer.devices=2",)),
    ],
)
@pytest.mark.slow
def test_every_stage_runs_from_logs_to_answers(
    stage: str, index: str, extra: tuple[str, ...], tmp_path: Path
) -> None:
    where = f"artifacts={tmp_path}"
    must_run("train", f"stage={stage}", where, *SMALL, *extra)
    must_run("build_index", f"stage={stage}", where, "gates.num_queries=60")
    (release,) = (path for path in (tmp_path / "releases").iterdir() if path.is_dir())
    manifest = json.loads((release / "manifest.json").read_text())
    assert manifest["index"]["kind"] == index
    assert manifest["context"]["stage"] == stage

    must_run("evaluate", where)
    judged = json.loads((tmp_path / "evaluation.json").read_text())
    assert {"popular", "item_knn", "exact", "served"} <= set(judged["recommenders"])
    assert 0 < judged["recommenders"]["served"]["ndcg@10"] <= 1

    shown = must_run("recommend", where, "k=3")
    assert shown.count("recommended") == 3
    assert "Similar to" in shown
    assert "Search for" in shown
    assert "60 profiles" in must_run("recommend_all", where, "k=3", "available=true")
    assert pq.read_metadata(tmp_path / "recommendations.parquet").num_rows == 60


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.dmi=64",), "model.dmi: unknown key; did you mean model.dim?"),
        (("data=movielens", "data.root=nowhere/ml-1m"), "nowhere/ml-1m"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(overrides: tuple[str, ...], message: str) -> None:
    done = run("train", *overrides)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["audit", "build_index", "evaluate", "recommend", "recommend_all"])
def test_a_step_before_its_input_says_what_to_run_first(name: str, tmp_path: Path) -> None:
    done = run(name, f"artifacts={tmp_path}")
    assert done.returncode == 2
    assert "run scripts/" in done.stderr


def test_a_disk_without_room_is_one_line_and_leaves_the_older_tables(tmp_path: Path) -> None:
    where = (f"artifacts={tmp_path}", "card=false", *SMALL[:3])
    must_run("ingest", *where)
    before = {path: path.read_bytes() for path in (tmp_path / "tables").rglob("*") if path.is_file()}
    done = run("ingest", *where, "data.num_events=20000", most_bytes_per_file=50_000)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "no room" in line
    assert "free the disk" in line
    assert {path: path.read_bytes() for path in (tmp_path / "tables").rglob("*") if path.is_file()} == before


def test_a_job_that_writes_files_one_by_one_ends_in_one_line_on_a_full_disk(tmp_path: Path) -> None:
    where = (f"artifacts={tmp_path}", *SMALL[:3])
    must_run("ingest", *where, "card=false")
    climb = ("reuse_tables=true", "climb.names=[popular]", "climb.curve_names=[]")
    done = run("ladder", *where, *climb, most_bytes_per_file=1_000)
    assert done.returncode == 2, done.stderr
    assert "error: no room on the disk: [Errno 27]" in done.stderr.splitlines()[-1]
