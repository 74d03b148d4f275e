"""A run that was killed in the middle of an epoch ends as the unbroken one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.towers.training.worlds import MANY_STEPS, block_split
from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.nets.two_tower import TwoTower
from towers.training.fit import fit_towers

SCRIPT = Path(__file__).with_name("killed.py")
ROOT = Path(__file__).resolve().parents[3]
RESUMING = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, resume=True))


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    return block_split()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def unbroken(world: tuple[Dataset, Split], tmp_path_factory: pytest.TempPathFactory) -> TwoTower:
    return fit_towers(*world, MANY_STEPS, tmp_path_factory.mktemp("unbroken"))


@pytest.mark.parametrize(
    # Workers read ahead of what is trained.
    ("epoch", "batch", "num_workers", "saved_steps"),
    [(0, 6, 1, 4), (1, 7, 0, 16)],
)
def test_a_process_killed_in_mid_epoch_ends_with_the_weights_of_the_unbroken_one(
    world: tuple[Dataset, Split],
    unbroken: TwoTower,
    tmp_path: Path,
    epoch: int,
    batch: int,
    num_workers: int,
    saved_steps: int,
) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path), str(epoch), str(batch), str(num_workers)]
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == saved_steps
    resumed = fit_towers(*world, RESUMING, tmp_path)
    for (name, one), (_, two) in zip(
        unbroken.state_dict().items(), resumed.state_dict().items(), strict=True
    ):
        assert torch.equal(one, two), name
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert last["global_step"] == 36


def test_the_newest_state_is_that_of_the_last_epoch_whichever_was_best(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    # Steps so long that the first epoch is the best.
    wild = replace(MANY_STEPS.trainer, learning_rate=0.5, warmup_share=0.0, checkpoint_steps=None)
    fit_towers(*world, replace(MANY_STEPS, trainer=wild), tmp_path)
    best, last = (
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["global_step"] for name in ("best", "last")
    )
    assert best < last == 36
    assert not list(tmp_path.glob(".*"))
