from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.worlds import block_of, block_world
from towers.data.batches import LoaderSettings
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.split import Split, SplitSettings, split
from towers.errors import TrainingError
from towers.evaluation.exact import ExactRecommender
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.objectives.softmax import ObjectiveSettings
from towers.recommender import Queries
from towers.training.fit import FitSettings, fit_towers
from towers.training.module import Accelerator, TrainerSettings, TwoTowerModule

NUM_BLOCKS = 4
SMALL = FitSettings(
    model=ModelSettings(dim=16, num_layers=1, num_heads=2, max_history=10, dropout=0.1, item_dropout=0.1),
    objective=ObjectiveSettings(temperature=0.1, num_targets=2),
    loader=LoaderSettings(batch_positions=64),
    trainer=TrainerSettings(max_epochs=30, learning_rate=1e-2, accelerator=Accelerator.CPU),
)


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    dataset = dataset_from_tables(block_world(NUM_BLOCKS, 14, 12, 8, seed=3, cold_items_per_block=3))
    return dataset, split(dataset, SplitSettings())


def rank_all(towers: TwoTower, dataset: Dataset, parts: Split) -> np.ndarray:
    vectors = towers.embed(towers.encoder.encode(dataset.items))
    item = torch.from_numpy(vectors)
    exact = ExactRecommender(lambda queries: towers.encode(queries, item), vectors)
    asked = Queries(parts.test.history, parts.test.time_seconds, parts.test.country)
    return exact.rank(asked, len(vectors)).item_row


def test_tastes_in_blocks_are_learned_for_known_and_for_cold_titles(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    dataset, parts = world
    assert not parts.seen.all()
    towers = fit_towers(dataset, parts, SMALL, tmp_path)
    ranked = rank_all(towers, dataset, parts)
    own = block_of(parts.test.profile_row, NUM_BLOCKS)
    # Each profile watched 7 of the 14 titles of its block: the other 7 lead, 3 of them cold.
    for line, block in zip(ranked, own, strict=True):
        assert (block_of(line[:7], NUM_BLOCKS) == block).all()
        assert (~parts.seen[line[:7]]).sum() == 3


class StoppedError(Exception):
    """What a power cut would be, for a process that must live on to compare."""


def test_a_run_that_was_cut_off_ends_with_the_weights_of_an_unbroken_one(
    world: tuple[Dataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, parts = world
    torch.set_num_threads(1)
    settings = replace(SMALL, trainer=replace(SMALL.trainer, max_epochs=4))
    unbroken = fit_towers(dataset, parts, settings, tmp_path / "unbroken")

    step = TwoTowerModule.training_step

    def cut_off(self: TwoTowerModule, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch == 2 and batch_idx == 1:
            raise StoppedError
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TwoTowerModule, "training_step", cut_off)
    with pytest.raises(StoppedError):
        fit_towers(dataset, parts, settings, tmp_path / "cut")
    monkeypatch.undo()
    assert (tmp_path / "cut" / "last.ckpt").is_file()
    resuming = replace(settings, trainer=replace(settings.trainer, resume=True))
    resumed = fit_towers(dataset, parts, resuming, tmp_path / "cut")
    for (name, one), (_, two) in zip(
        unbroken.state_dict().items(), resumed.state_dict().items(), strict=True
    ):
        assert torch.equal(one, two), name


def test_another_seed_learns_other_weights(world: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, parts = world
    short = replace(SMALL, trainer=replace(SMALL.trainer, max_epochs=1))
    one = fit_towers(dataset, parts, short, tmp_path / "one")
    two = fit_towers(dataset, parts, replace(short, seed=1), tmp_path / "two")
    assert not torch.equal(one.users.start, two.users.start)


def test_a_loss_that_is_not_finite_stops_and_says_where(world: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, parts = world
    wild = replace(SMALL, trainer=replace(SMALL.trainer, learning_rate=1e20, warmup_share=0.0))
    with pytest.raises(TrainingError, match=r"loss is nan at epoch \d+, batch \d+"):
        fit_towers(dataset, parts, wild, tmp_path)


def test_a_world_without_validation_questions_trains_to_the_last_epoch(tmp_path: Path) -> None:
    dataset = dataset_from_tables(block_world(2, 5, 4, 2, seed=0))
    parts = split(dataset, SplitSettings())
    assert len(parts.validation) == 0
    short = replace(SMALL, trainer=replace(SMALL.trainer, max_epochs=2))
    towers = fit_towers(dataset, parts, short, tmp_path)
    assert np.isfinite(towers.embed(towers.encoder.encode(dataset.items))).all()


def test_curves_are_written_for_every_epoch(world: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, parts = world
    fit_towers(dataset, parts, replace(SMALL, trainer=replace(SMALL.trainer, max_epochs=2)), tmp_path)
    curves = (tmp_path / "curves" / "version_0" / "metrics.csv").read_text()
    assert "validation/ndcg@10" in curves.splitlines()[0]
