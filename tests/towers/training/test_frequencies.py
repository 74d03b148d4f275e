"""Streamed frequencies in training: what they learn from, when, and that a run goes on with them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.towers.training.frequency_ranks import NUM_STEPS, STREAMED, learned, pool_of, run
from tests.towers.training.modules import fit_cut_off, module_and_batches
from tests.towers.training.worlds import block_split, uneven_split
from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.objectives.item_frequency import ItemFrequency
from towers.objectives.settings import Frequencies
from towers.processes import forked
from towers.training.fit import fit_towers
from towers.training.module import TwoTowerModule
from towers.training.settings import FitSettings

PROCESSES = forked("tests.towers.training.frequency_ranks")
SKETCH = "asked_loss.frequency."


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    return block_split()


def training(**trainer: Any) -> FitSettings:
    return replace(STREAMED, trainer=replace(STREAMED.trainer, **trainer))


def test_on_a_log_that_stays_as_it_is_they_become_the_counted_ones() -> None:
    world = uneven_split()
    module, batches = module_and_batches(world, STREAMED)
    asked, split = module.asked_loss, world[1]
    assert asked.frequency is not None
    pools = [pool_of(module, batch) for batch in batches]
    # Every train event is a target once an epoch, so that the counts are those of the batches.
    counts = np.bincount(torch.cat(pools).numpy(), minlength=len(split.num_watches))
    assert counts.tolist() == split.num_watches.tolist()
    counted = counts / counts.sum()
    rows, distance = torch.arange(len(counts)), []
    for following in (batches[:1], batches[1:] + 15 * batches):
        for batch in following:
            asked.follow(batch.questions(1))
        distance.append(float(np.abs(asked.frequency.probability(rows).numpy() - counted).sum() / 2))
    # A hundred occurrences are remembered: 7 % of each probability, of which half and a fifth are expected.
    assert distance[-1] < 0.04
    assert distance[-1] < distance[0] / 5
    # And so do the corrections that are made of them.
    of_counts, _ = module_and_batches(
        world, replace(STREAMED, objective=replace(STREAMED.objective, frequencies=Frequencies.COUNTED))
    )
    weights = []
    for loss in (asked, of_counts.asked_loss):
        loss.seed(0, 0, 0)
        tasks = loss.tasks(batches[0], batches[0].questions(1))
        weights.append(
            torch.cat([drawn.negatives.log_weight for task in tasks for drawn in task.drawn or ()])
        )
    assert float((weights[0] - weights[1]).abs().mean()) < 0.1 * float(weights[1].abs().mean())


def test_only_a_step_that_was_taken_is_learned_from_and_after_it(
    world: tuple[Dataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream: list[torch.Tensor] = []
    before: list[int] = []
    step = TwoTowerModule.training_step

    def watched(self: TwoTowerModule, batch: Any, batch_idx: int) -> Any:
        assert self.asked_loss.frequency is not None
        before.append(int(self.asked_loss.frequency.num_draws))
        stream.append(pool_of(self, batch))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TwoTowerModule, "training_step", watched)
    # Two epochs with their validation and the report of their speed, which draws negatives too.
    fit_towers(*world, training(max_epochs=2), tmp_path)
    sizes = [len(pool) for pool in stream]
    assert before == [0, *np.cumsum(sizes)[:-1]]
    expected = ItemFrequency(num_buckets=64, num_hashes=4, rate=STREAMED.objective.stream_rate)
    for pool in stream:
        expected.update(pool)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in expected.state_dict().items():
        assert torch.equal(saved[SKETCH + name], value), name


def test_a_run_that_was_cut_off_goes_on_with_them_to_the_bit(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    settings = training(max_epochs=2)
    unbroken = fit_towers(*world, settings, tmp_path / "unbroken")
    fit_cut_off(world, settings, tmp_path / "cut", epoch=1, batch=6)
    assert torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)["global_step"] % 12 != 0
    resuming = replace(settings, trainer=replace(settings.trainer, resume=True))
    resumed = fit_towers(*world, resuming, tmp_path / "cut")
    states = [
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("unbroken", "cut")
    ]
    assert any(name.startswith(SKETCH) for name in states[0])
    for one, other in (states, (unbroken.state_dict(), resumed.state_dict())):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value, other[name]), name
    # They are the training's, and no part of what it made.
    assert not any("frequency" in name for name in resumed.state_dict())


def test_two_ranks_have_the_frequencies_of_their_joined_batches(tmp_path: Path) -> None:
    ranks = [PROCESSES.Process(target=run, args=(rank, tmp_path)) for rank in range(2)]
    for process in ranks:
        process.start()
    module, batches = module_and_batches(uneven_split(), STREAMED)
    expected = ItemFrequency(num_buckets=32, num_hashes=4, rate=STREAMED.objective.stream_rate)
    for step in range(NUM_STEPS):
        expected.update(torch.cat([pool_of(module, batch) for batch in batches[2 * step : 2 * step + 2]]))
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    found = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    for name, value in expected.state_dict().items():
        for of_rank in found:
            assert torch.equal(of_rank["sketch"][name], value), name
    for one, other in zip(found[0]["log_weight"], found[1]["log_weight"], strict=True):
        assert torch.equal(one, other)
    # One process alone would have seen half of it.
    assert not torch.equal(learned(module, batches[::2])["sketch"]["last"], expected.last)
