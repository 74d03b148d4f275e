"""The rules of dependence hold, and the check that says so would notice if they did not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("towers", "retrieval", "conf", "scripts", "benchmarks")


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def modules_loaded_by(statement: str) -> set[str]:
    program = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(answer.stdout))


def test_a_service_that_imports_retrieval_loads_no_training_stack() -> None:
    loaded = modules_loaded_by("from retrieval import Retriever")
    assert "torch" in loaded
    assert loaded.isdisjoint({"pytorch_lightning", "lightning", "hydra", "omegaconf", "polars"})


@pytest.mark.parametrize(
    "statement", ["import towers.ladder.measured", "import scripts.recommend, scripts.evaluate"]
)
def test_what_trains_no_towers_does_not_wait_for_lightning(statement: str) -> None:
    # It takes seconds to import, and a climb starts a process for every rung.
    assert modules_loaded_by(statement).isdisjoint({"pytorch_lightning", "lightning"})


def test_the_checks_above_would_see_a_training_stack() -> None:
    assert "pytorch_lightning" in modules_loaded_by("import towers.training.module")


def test_every_rule_of_dependence_is_kept() -> None:
    answer = lint_imports(ROOT)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        ("towers/data/planted.py", "import retrieval", "towers learns and judges"),
        ("towers/data/planted.py", "import towers.topk", "inside towers no arrow runs back up"),
        ("towers/objectives/planted.py", "import towers.nets", "inside towers no arrow runs back up"),
        ("towers/unplaced.py", "", "inside towers no arrow runs back up"),
        ("retrieval/planted.py", "import hydra", "retrieval serves without"),
        ("retrieval/planted.py", "import towers.training.module", "retrieval serves without"),
        ("towers/nets/planted.py", "import pytorch_lightning", "only towers.training imports Lightning"),
        ("retrieval/index/planted.py", "import faiss", "only retrieval.index.faiss imports FAISS"),
        ("retrieval/release/planted.py", "import fsspec", "only retrieval.release.remote.buckets imports"),
    ],
)
def test_a_planted_violation_is_caught(module: str, statement: str, broken: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / module).write_text(f"{statement}\n")
    answer = lint_imports(tmp_path)
    assert answer.returncode != 0
    verdicts = [line for line in answer.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(line.startswith(broken) for line in verdicts), answer.stdout
