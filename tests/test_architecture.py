"""The rules of dependence hold, and the check that says so would notice if they did not."""

import json
import re
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


_STATEMENTS = {
    "serving": "from retrieval import Retriever",
    "judging": "import towers.ladder.measured, scripts.recommend, scripts.evaluate",
    "training": "import towers.training.module",
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """What a process has loaded after each of these statements, one after another: each adds to the last."""
    program = "import json, sys\n" + "\n".join(
        f"{statement}; print(json.dumps(sorted(sys.modules)))" for statement in _STATEMENTS.values()
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = answer.stdout.splitlines()
    return {name: set(json.loads(line)) for name, line in zip(_STATEMENTS, lines, strict=True)}


def test_a_service_that_imports_retrieval_loads_no_training_stack(loaded: dict[str, set[str]]) -> None:
    assert "torch" in loaded["serving"]
    stack = {"pytorch_lightning", "lightning", "hydra", "omegaconf", "polars"}
    assert loaded["serving"].isdisjoint(stack)


def test_what_trains_no_towers_does_not_wait_for_lightning(loaded: dict[str, set[str]]) -> None:
    # It takes seconds to import, and a climb starts a process for every rung.
    assert {"towers.ladder.measured", "scripts.recommend", "scripts.evaluate"} <= loaded["judging"]
    assert loaded["judging"].isdisjoint({"pytorch_lightning", "lightning"})


def test_the_checks_above_would_see_a_training_stack(loaded: dict[str, set[str]]) -> None:
    assert "pytorch_lightning" in loaded["training"]


def test_every_rule_of_dependence_is_kept() -> None:
    answer = lint_imports(ROOT)
    assert answer.returncode == 0, answer.stdout


PLANTED = [
    ("towers.data.planted", "import retrieval", "towers learns and judges"),
    ("towers.data.planted_too", "import towers.topk", "inside towers no arrow runs back up"),
    ("towers.objectives.planted", "import towers.nets", "inside towers no arrow runs back up"),
    ("towers.unplaced", "", "inside towers no arrow runs back up"),
    ("retrieval.planted", "import hydra", "retrieval serves without"),
    ("retrieval.planted_too", "import towers.training.module", "retrieval serves without"),
    ("towers.nets.planted", "import pytorch_lightning", "only towers.training imports Lightning"),
    ("retrieval.index.planted", "import faiss", "only retrieval.index.faiss imports FAISS"),
    ("retrieval.release.planted", "import fsspec", "only retrieval.release.remote.buckets imports"),
]
"""A module, what stands in it, and the rule that it breaks."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each rule that is broken, where all of these stand at once; none imports another."""
    root = tmp_path_factory.mktemp("planted")
    shutil.copy(ROOT / "pyproject.toml", root)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for module, statement, _ in PLANTED:
        (root / f"{module.replace('.', '/')}.py").write_text(f"{statement}\n")
    answer = lint_imports(root)
    assert answer.returncode != 0
    parts = re.split(r"^(\w.+)\n-{5,}\n", answer.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("module", "statement", "rule"), PLANTED)
def test_a_planted_violation_is_caught(module: str, statement: str, rule: str, told: dict[str, str]) -> None:
    (said,) = (said for name, said in told.items() if name.startswith(rule))
    imported = f" -> {statement.removeprefix('import ')} (l.1)" if statement else ""
    assert f"- {module}{imported}" in re.sub(r" +", " ", said), told
