from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.worlds import block_of, block_world
from towers.data.batches import LoaderSettings
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.split import Split, SplitSettings, split
from towers.errors import ConfigError, TrainingError
from towers.evaluation.exact import ExactRecommender
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.objectives.settings import ObjectiveSettings
from towers.recommender import Queries
from towers.training.fit import fit_towers
from towers.training.module import TwoTowerModule
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

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


def test_titles_watched_with_a_preference_are_learned_before_those_that_were_not(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    dataset, parts = world
    # Of each block every other title is watched to the end, the others are left early.
    liked = np.arange(len(dataset.catalogue)) // NUM_BLOCKS % 2 == 0
    weight = np.where(liked[parts.learned.item_row], 4.0, 0.25).astype(np.float32)
    weighed = replace(parts, learned=replace(parts.learned, weight=weight))
    towers = fit_towers(dataset, weighed, SMALL, tmp_path)
    ranked = rank_all(towers, dataset, parts)
    for row, line in enumerate(ranked):
        left = [item for item in line if item >= 0 and block_of(item, NUM_BLOCKS) == row % NUM_BLOCKS]
        warm = [item for item in left if parts.seen[item]]
        places = {kind: [at for at, item in enumerate(warm) if liked[item] == kind] for kind in (True, False)}
        if places[True] and places[False]:
            assert np.mean(places[True]) < np.mean(places[False])


def test_a_weight_that_all_events_share_changes_nothing(world: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, parts = world
    short = replace(SMALL, trainer=replace(SMALL.trainer, max_epochs=1))
    one, half = (
        fit_towers(
            dataset,
            replace(parts, learned=replace(parts.learned, weight=np.full_like(parts.learned.weight, weight))),
            short,
            tmp_path / f"{weight}",
        )
        for weight in (1.0, 0.5)
    )
    for (name, value), (_, other) in zip(one.state_dict().items(), half.state_dict().items(), strict=True):
        torch.testing.assert_close(value, other, atol=1e-5, rtol=0, msg=name)


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
    assert not torch.equal(one.pairs()[0].users.start, two.pairs()[0].users.start)


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


def test_a_run_that_had_stopped_early_stays_stopped(world: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, parts = world
    impatient = replace(SMALL, trainer=replace(SMALL.trainer, patience=1))
    stopped = fit_towers(dataset, parts, impatient, tmp_path)
    again = fit_towers(
        dataset, parts, replace(impatient, trainer=replace(impatient.trainer, resume=True)), tmp_path
    )
    for (name, one), (_, two) in zip(stopped.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(one, two), name


def test_a_folder_that_moved_keeps_its_best_epoch(world: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, parts = world
    impatient = replace(SMALL, trainer=replace(SMALL.trainer, patience=1))
    stopped = fit_towers(dataset, parts, impatient, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    resuming = replace(impatient, trainer=replace(impatient.trainer, resume=True, patience=3))
    assert fit_towers(dataset, parts, resuming, tmp_path / "there") is not None
    best = torch.load(tmp_path / "there" / "last.ckpt", weights_only=True)["callbacks"]
    scores = [state["best_model_score"] for name, state in best.items() if "BestEpoch" in name]
    first = torch.load(tmp_path / "there" / "best.ckpt", weights_only=True)
    assert scores
    assert torch.isfinite(scores[0])
    assert first["lineage"]
    assert stopped.settings == impatient.model


def test_a_checkpoint_of_other_data_or_settings_is_refused(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    dataset, parts = world
    short = replace(SMALL, trainer=replace(SMALL.trainer, max_epochs=1))
    fit_towers(dataset, parts, short, tmp_path)
    resuming = replace(short, trainer=replace(short.trainer, resume=True))
    with pytest.raises(TrainingError, match="other data, or under other settings"):
        fit_towers(dataset, parts, replace(resuming, seed=9), tmp_path)
    other = dataset_from_tables(block_world(NUM_BLOCKS, 14, 12, 8, seed=4, cold_items_per_block=3))
    with pytest.raises(TrainingError, match="other data, or under other settings"):
        fit_towers(other, split(other, SplitSettings()), resuming, tmp_path)


def test_a_large_seed_is_a_seed_too(world: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, parts = world
    short = replace(SMALL, trainer=replace(SMALL.trainer, max_epochs=1))
    towers = fit_towers(dataset, parts, replace(short, seed=2**32 - 1), tmp_path)
    assert torch.isfinite(towers.pairs()[0].users.start).all()


def test_a_title_without_train_events_is_no_negative(tmp_path: Path) -> None:
    tables = block_world(NUM_BLOCKS, 14, 12, 8, seed=3, cold_items_per_block=3)
    dataset = dataset_from_tables(tables)
    parts = split(dataset, SplitSettings())
    genres = tables.items["genres"].to_pylist()
    changed = [["Opera"] if cold else own for cold, own in zip(~parts.seen, genres, strict=True)]
    place = tables.items.schema.get_field_index("genres")
    field = tables.items.schema.field(place)
    items = tables.items.set_column(place, field, pa.array(changed, field.type))
    other = dataset_from_tables(replace(tables, items=items))
    short = replace(SMALL, trainer=replace(SMALL.trainer, max_epochs=2))
    fit_towers(dataset, parts, short, tmp_path / "one")
    fit_towers(other, split(other, SplitSettings()), short, tmp_path / "two")
    # The last epoch, not the best: validation may ask for a cold title, training may not know it.
    one, two = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("one", "two")
    )
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=1e-6, rtol=0)


def test_an_accelerator_that_is_not_there_is_a_setting_at_fault(
    world: tuple[Dataset, Split], tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: nothing is missing")
    dataset, parts = world
    on_gpu = replace(SMALL, trainer=replace(SMALL.trainer, accelerator=Accelerator.GPU))
    with pytest.raises(ConfigError, match=r"^trainer: "):
        fit_towers(dataset, parts, on_gpu, tmp_path)
