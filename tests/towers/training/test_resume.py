"""A run that was killed in the middle of an epoch ends as the unbroken one."""

import random
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.forked import run_script
from tests.towers.training.worlds import MANY_STEPS, block_split
from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.nets.two_tower import TwoTower
from towers.training.callbacks import EXIT_TERMINATED
from towers.training.fit import fit_towers
from towers.training.settings import FitSettings

SCRIPT = Path(__file__).with_name("killed.py")
STEPS_PER_EPOCH = 12
DECAYS = (0.0, 0.9)
"""Of the averaged weights: none, and some."""
RANDOM_STEPS = random.Random(5).sample(range(5, 35), 3)


def averaged(decay: float, *, resume: bool) -> FitSettings:
    return replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, ema_decay=decay, resume=resume))


def end_in(folder: Path, step: int, number: signal.Signals, decay: float, num_workers: int = 0) -> int:
    """Status of a training that gets a signal in that step, counted from 0."""
    epoch, batch = divmod(step, STEPS_PER_EPOCH)
    given = [str(folder), str(epoch), str(batch), str(num_workers), str(int(number)), str(decay)]
    return run_script(SCRIPT, *given).returncode


def saved_step(folder: Path) -> int:
    return int(torch.load(folder / "last.ckpt", weights_only=True)["global_step"])


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
def unbroken(
    world: tuple[Dataset, Split], tmp_path_factory: pytest.TempPathFactory
) -> dict[float, tuple[TwoTower, dict[str, Tensor]]]:
    """Of each decay, the towers and the last state of a run that nothing ended."""
    made = {}
    for decay in DECAYS:
        folder = tmp_path_factory.mktemp("unbroken")
        towers = fit_towers(*world, averaged(decay, resume=False), folder)
        made[decay] = towers, torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return made


def assert_ends_as_unbroken(
    unbroken: tuple[TwoTower, dict[str, Tensor]], world: tuple[Dataset, Split], folder: Path, decay: float
) -> None:
    """To the bit: what is given back, and all weights of the last step, the average too."""
    resumed = fit_towers(*world, averaged(decay, resume=True), folder)
    last = torch.load(folder / "last.ckpt", weights_only=True)
    assert last["global_step"] == 3 * STEPS_PER_EPOCH
    for expected, found in (
        (unbroken[0].state_dict(), resumed.state_dict()),
        (unbroken[1], last["state_dict"]),
    ):
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            assert torch.equal(value, found[name]), name


@pytest.mark.parametrize(
    # Workers read ahead of what is trained.
    ("step", "num_workers", "saved_steps", "decay"),
    [(6, 1, 4, 0.0), (19, 0, 16, 0.9), (RANDOM_STEPS[0], 0, None, 0.9)],
)
def test_a_process_killed_in_mid_epoch_ends_with_the_weights_of_the_unbroken_one(
    world: tuple[Dataset, Split],
    unbroken: dict[float, tuple[TwoTower, dict[str, Tensor]]],
    tmp_path: Path,
    step: int,
    num_workers: int,
    saved_steps: int | None,
    decay: float,
) -> None:
    assert end_in(tmp_path, step, signal.SIGKILL, decay, num_workers) == -signal.SIGKILL
    assert saved_steps is None or saved_step(tmp_path) == saved_steps
    assert_ends_as_unbroken(unbroken[decay], world, tmp_path, decay)


@pytest.mark.parametrize(
    ("step", "decay", "number", "status"),
    [
        (RANDOM_STEPS[1], 0.9, signal.SIGTERM, EXIT_TERMINATED),
        (RANDOM_STEPS[2], 0.0, signal.SIGINT, 130),
        (11, 0.9, signal.SIGTERM, 143),
    ],
)
def test_a_process_asked_to_end_finishes_its_step_saves_it_and_ends_with_its_own_status(
    world: tuple[Dataset, Split],
    unbroken: dict[float, tuple[TwoTower, dict[str, Tensor]]],
    tmp_path: Path,
    step: int,
    decay: float,
    number: signal.Signals,
    status: int,
) -> None:
    assert end_in(tmp_path, step, number, decay) == status
    # After step 11, the last of its epoch, the epoch is judged first.
    assert saved_step(tmp_path) == step + 1
    assert_ends_as_unbroken(unbroken[decay], world, tmp_path, decay)


def test_what_heard_sigterm_before_a_training_hears_it_after(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    one = replace(MANY_STEPS, trainer=replace(MANY_STEPS.trainer, max_epochs=1))
    fit_towers(*world, one, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_newest_state_is_that_of_the_last_epoch_whichever_was_best(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    # Steps so long that the first epoch is the best.
    wild = replace(MANY_STEPS.trainer, learning_rate=0.2, warmup_share=0.0, checkpoint_steps=None)
    fit_towers(*world, replace(MANY_STEPS, trainer=wild), tmp_path)
    best, last = (
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["global_step"] for name in ("best", "last")
    )
    assert best < last == 36
    assert not list(tmp_path.glob(".*"))
