"""Private trainings from a log to an export: what they report, refuse, and go on from."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.towers.training.worlds import MANY_STEPS, block_split, nothing_dropped
from tests.worlds import block_of
from towers.data.dataset import Dataset
from towers.data.split import Split
from towers.errors import ConfigError, TrainingError
from towers.objectives.settings import NegativeKind, ObjectiveKind, ObjectiveSettings, Routing
from towers.recommender import Queries
from towers.training.balance import BalanceSettings
from towers.training.dp.module import PrivateTowerModule
from towers.training.dp.refusals import check_private, check_query_tower
from towers.training.dp.settings import Accountant, DPSettings
from towers.training.fit import fit_towers
from towers.training.settings import FitSettings, Precision, Strategy

PRIVATE = replace(
    MANY_STEPS,
    model=replace(nothing_dropped(MANY_STEPS.model), max_history=10, id_dropout=0.1),
    trainer=replace(
        MANY_STEPS.trainer,
        max_epochs=2,
        checkpoint_steps=1,
        dp=DPSettings(noise_multiplier=0.8, expected_batch_size=16, accountant=Accountant.RDP),
    ),
)


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Split]:
    return block_split()


def with_trainer(settings: FitSettings, **trainer: Any) -> FitSettings:
    return replace(settings, trainer=replace(settings.trainer, **trainer))


def test_tastes_are_learned_at_a_large_epsilon_without_a_look_at_held_out_events(
    world: tuple[Dataset, Split], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset, parts = world
    dp = replace(PRIVATE.trainer.dp, noise_multiplier=0.3, expected_batch_size=12)
    learning = with_trainer(PRIVATE, dp=dp, max_epochs=4, learning_rate=3e-2, checkpoint_steps=None)
    with caplog.at_level(logging.INFO, "towers.training"):
        towers = fit_towers(dataset, parts, learning, tmp_path)
    exact = towers.exact(towers.encoder.encode(dataset.items))
    asked = Queries(parts.test.history, parts.test.time_seconds, parts.test.country)
    first = exact.rank(asked, 3).item_row
    own = block_of(parts.test.profile_row, 4)
    # By chance it would be a quarter, or less: what was watched is not shown.
    assert (block_of(first, 4) == own[:, None]).mean() > 0.5

    curves = (tmp_path / "curves" / "version_0" / "metrics.csv").read_text()
    assert "train/loss" in curves
    assert "validation" not in curves
    (line,) = [message for message in caplog.messages if message.startswith("trained privately")]
    assert "noise_multiplier=0.3000" in line
    assert "steps=16" in line


class StoppedError(Exception):
    """What a power cut would be, for a process that must live on to compare."""


def test_a_run_that_goes_on_ends_with_the_epsilon_of_an_unbroken_one_and_other_noise(
    world: tuple[Dataset, Split], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = fit_towers(*world, PRIVATE, tmp_path / "unbroken")
    step = PrivateTowerModule.training_step
    taken: list[int] = []
    cuts = iter([(1, 2)])

    def cut_off(self: PrivateTowerModule, batch: Any, batch_idx: int) -> Any:
        if len(taken) == 5 and next(cuts, None) == (self.current_epoch, batch_idx):
            raise StoppedError
        taken.append(batch_idx)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PrivateTowerModule, "training_step", cut_off)
    with pytest.raises(StoppedError):
        fit_towers(*world, PRIVATE, tmp_path / "cut")
    assert not (tmp_path / "cut" / "differential_privacy.json").exists()
    resumed = fit_towers(*world, with_trainer(PRIVATE, resume=True), tmp_path / "cut")
    assert taken == [0, 1, 2] * 2
    reports = [
        json.loads((tmp_path / name / "differential_privacy.json").read_text())
        for name in ("unbroken", "cut")
    ]
    assert reports[0] == reports[1]
    assert reports[0]["num_steps"] == 6
    # The same seed, but nobody draws the same noise twice.
    different = [
        not torch.equal(one, other)
        for one, other in zip(unbroken.parameters(), resumed.parameters(), strict=True)
    ]
    assert all(different)
    for changed in (
        with_trainer(PRIVATE, resume=True, max_epochs=3),
        with_trainer(PRIVATE, resume=True, dp=replace(PRIVATE.trainer.dp, noise_multiplier=0.5)),
    ):
        with pytest.raises(TrainingError, match="under other settings"):
            fit_towers(*world, changed, tmp_path / "cut")


UNIFORM = ObjectiveSettings(kind=ObjectiveKind.SAMPLED_SOFTMAX, negatives=NegativeKind.UNIFORM)
REFUSED: list[tuple[FitSettings, str]] = [
    (
        replace(PRIVATE, warm_start="elsewhere"),
        "warm_start: elsewhere with trainer.dp: what that export learned",
    ),
    (
        replace(PRIVATE, objective=replace(UNIFORM, negatives=NegativeKind.IN_BATCH)),
        "objective.negatives: in_batch with trainer.dp: the loss of a profile would hold what the others",
    ),
    (
        replace(PRIVATE, objective=replace(UNIFORM, kind=ObjectiveKind.BCE, negatives=NegativeKind.MIXED)),
        "objective.negatives: mixed with trainer.dp: the loss of a profile would hold what the others",
    ),
    (
        replace(PRIVATE, objective=replace(UNIFORM, negatives=NegativeKind.POPULARITY)),
        "objective.negatives: popularity with trainer.dp: they are drawn and corrected by counts of the log",
    ),
    (
        replace(PRIVATE, objective=replace(UNIFORM, negatives=NegativeKind.STRATIFIED)),
        "objective.negatives: stratified with trainer.dp: they are drawn and corrected by counts of the log",
    ),
    (
        with_trainer(PRIVATE, balance=BalanceSettings(max_profile_weight=20.0)),
        "trainer.balance: on with trainer.dp: its weights are counts of the log, which have no noise",
    ),
    (
        replace(PRIVATE, model=replace(PRIVATE.model, num_interests=2)),
        "objective.routing: balanced with trainer.dp: interests share out the targets of all the",
    ),
    (replace(PRIVATE, model=replace(PRIVATE.model, dropout=0.1)), "model.dropout: 0.1 with trainer.dp"),
    (
        replace(PRIVATE, loader=replace(PRIVATE.loader, num_workers=2)),
        "loader.num_workers: 2 with trainer.dp",
    ),
    (with_trainer(PRIVATE, devices=0), "trainer.devices: 0, trainer.strategy: auto with trainer.dp"),
    (
        with_trainer(PRIVATE, strategy=Strategy.DDP),
        "trainer.devices: 1, trainer.strategy: ddp with trainer.dp",
    ),
    (with_trainer(PRIVATE, micro_positions=64), "trainer.micro_positions: 64 with trainer.dp"),
    (
        with_trainer(PRIVATE, precision=Precision.BFLOAT16_MIXED),
        "trainer.precision: bf16-mixed with trainer.dp",
    ),
    (with_trainer(PRIVATE, compile=True), "trainer.compile: true with trainer.dp"),
]


@pytest.mark.parametrize(("settings", "said"), REFUSED, ids=[said.split(":")[0] for _, said in REFUSED])
def test_what_epsilon_would_not_be_true_of_is_refused_with_the_reason(
    settings: FitSettings, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        check_private(settings)
    assert str(refused.value).startswith(said)


def test_what_reads_the_public_catalogue_alone_is_not_refused() -> None:
    for kind in ObjectiveKind:
        check_private(replace(PRIVATE, objective=replace(UNIFORM, kind=kind)))
    by_genre = replace(UNIFORM, negatives=NegativeKind.STRATIFIED, strata="genres")
    check_private(replace(PRIVATE, objective=by_genre))
    interests = replace(PRIVATE.model, num_interests=2)
    for routing in (Routing.TARGET, Routing.MAX):
        check_private(replace(PRIVATE, model=interests, objective=ObjectiveSettings(routing=routing)))
    check_query_tower(0)


def test_a_training_is_refused_before_its_first_step(world: tuple[Dataset, Split], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in_batch with"):
        fit_towers(*world, REFUSED[1][0], tmp_path)
    assert not list(tmp_path.iterdir())
