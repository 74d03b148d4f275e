"""Two processes learn what one would from their batches joined, and validate what one would."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
import torch

from tests.forked import ROOT, run_script
from tests.towers.training.worlds import uneven_split
from towers.training.callbacks import EXIT_TERMINATED

SCRIPT = Path(__file__).with_name("ranks.py")


def train(folder: Path, *given: int) -> subprocess.CompletedProcess[str]:
    return run_script(SCRIPT, str(folder), *map(str, given), PYTHONPATH=str(ROOT))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What a training of one process left, and one of two on the same windows."""
    made = []
    for num_ranks in (1, 2):
        folder = tmp_path_factory.mktemp(f"ranks{num_ranks}")
        done = train(folder, num_ranks)
        assert done.returncode == 0, done.stderr
        made.append(folder)
    return made[0], made[1]


def curves(folder: Path, column: str) -> list[float]:
    with (folder / "curves" / "version_0" / "metrics.csv").open() as file:
        return [float(line[column]) for line in csv.DictReader(file)]


def test_the_gradient_of_two_processes_is_that_of_one_on_their_joined_batch(
    folders: tuple[Path, Path],
) -> None:
    whole = torch.load(folders[0] / "rank0.pt", weights_only=True)
    ranks = [torch.load(folders[1] / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    # The shares are not equal: a mean of the ranks' own means would be another number.
    assert ranks[0]["num_asked"] != ranks[1]["num_asked"]
    assert ranks[0]["num_asked"] + ranks[1]["num_asked"] == whole["num_asked"]
    assert sum(rank["loss"] for rank in ranks) / 2 == pytest.approx(whole["loss"], abs=1e-6)
    for rank in ranks:
        assert rank["gradient"].keys() == whole["gradient"].keys()
        for name, gradient in whole["gradient"].items():
            torch.testing.assert_close(rank["gradient"][name], gradient, atol=1e-6, rtol=0, msg=name)


def test_the_loss_of_the_curves_is_that_of_the_joined_batch(folders: tuple[Path, Path]) -> None:
    one, two = (curves(folder, "train/loss") for folder in folders)
    assert one == pytest.approx(two, abs=1e-5)
    assert len(one) == 3


def test_validation_counts_every_question_once_however_many_processes_there_are(
    folders: tuple[Path, Path],
) -> None:
    assert len(uneven_split()[1].validation) % 2 == 1  # no even share for two
    for metric in ("validation/ndcg@10", "validation/recall@10"):
        one, two = (curves(folder, metric) for folder in folders)
        assert one == pytest.approx(two, abs=1e-6)


def test_the_report_counts_the_questions_of_all_processes(folders: tuple[Path, Path]) -> None:
    one, two = (json.loads((folder / "training_speed.json").read_text()) for folder in folders)
    asked = torch.load(folders[0] / "rank0.pt", weights_only=True)["num_asked"]
    assert one["num_positions"] == two["num_positions"] == 3 * asked
    assert (one["num_ranks"], two["num_ranks"]) == (1, 2)


def test_all_processes_end_where_one_was_asked_to(tmp_path: Path) -> None:
    done = train(tmp_path, 2, 1)
    assert done.returncode == EXIT_TERMINATED, done.stderr
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2
