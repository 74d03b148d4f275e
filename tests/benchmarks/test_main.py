"""`python -m benchmarks` lists every claim, and says by its exit code how a measurement went."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
import benchmarks.__main__ as command
from benchmarks.claims import BenchmarkError, Bound, Claim, Sign, read_claims

ROOT = Path(__file__).resolve().parent.parent.parent


def listed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_claim_is_listed_with_every_bound() -> None:
    answer = listed()
    assert answer.returncode == 0, answer.stderr
    for claim in read_claims().values():
        assert claim.name in answer.stdout
        for key, bound in claim.bounds.items():
            assert any(key in line and str(bound) in line for line in answer.stdout.splitlines())


def test_an_unknown_claim_is_answered_with_the_list() -> None:
    answer = listed("demmo")
    assert answer.returncode == 2
    assert answer.stderr.startswith(
        "error: no claim is named 'demmo'; expected one of demo, movielens-small,"
    )
    assert answer.stdout == ""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Claim]:
    """Two claims with benchmark modules of their own: one keeps its bound, one does not."""
    folder = tmp_path / "planted"
    folder.mkdir()
    for name, figure in {"kept": 2.0, "missed": 0.5, "absent": None}.items():
        (folder / f"{name}.py").write_text(
            "from benchmarks.measurement import Measurement\n"
            f"def measure(): return Measurement({{'rate': {figure}}}, 'a planted world', seeds=[0])\n"
        )
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(folder)])
    monkeypatch.setattr(command, "save", lambda made: tmp_path / f"{made.claim}.json")
    bounds = {"rate": Bound(Sign.AT_LEAST, 1.0)}
    return {name: Claim(name, "data", False, bounds) for name in ("kept", "missed", "absent", "unwritten")}


@pytest.mark.parametrize(("name", "code"), [("kept", 0), ("missed", 1), ("absent", 0)])
def test_the_last_line_is_the_record_and_a_missed_bound_exits_with_1(
    name: str, code: int, planted: dict[str, Claim], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.measure(name, planted) == code
    made = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (made["claim"], set(made["figures"])) == (name, {"rate"})
    assert made["context"]["data"] == "a planted world"


def test_a_claim_that_nothing_measures_yet_says_so(planted: dict[str, Claim]) -> None:
    with pytest.raises(BenchmarkError, match="unwritten: nothing measures it yet"):
        command.measure("unwritten", planted)


def test_every_benchmark_module_measures_a_claim() -> None:
    machinery = {
        *("__init__", "__main__", "claims", "measurement", "stages", "environment"),
        *("delta_faults", "delta_worlds", "gate_deltas", "gate_faults", "gate_outcomes", "gate_worlds"),
        *("results", "judged_searches", "search_data", "streaming_titles", "training_steps"),
        *("search_curve", "search_service"),
        *("ann_encoders", "ann_own", "ann_peers", "ann_records", "ann_sweeps", "ann_versions", "ann_vectors"),
        "control_oracle",
        *("eligibility_answers", "eligibility_rules", "serving_release", "traces"),
        *("crash_states", "publish_jobs", "publish_reading", "release_making", "release_world", "syscalls"),
    }
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - machinery
    assert {f"benchmarks.{module}" for module in modules} <= {
        claim.module for claim in read_claims().values()
    }
