"""The statistics of small logs counted by hand, the rules as properties, and what is given over them."""

from dataclasses import asdict, fields, replace
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.worlds import log_tables
from towers.data.batches import LoaderSettings
from towers.data.dataset import dataset_from_tables, read_dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.ingest.rules import RuleSettings
from towers.data.signals.settings import SignalSettings
from towers.data.sources.read import ingest_source
from towers.data.sources.sequences import SequenceForm, SequenceSettings
from towers.data.split import SplitSettings, split
from towers.errors import ConfigError, MissingDataError
from towers.nets.two_tower import ModelSettings, TwoTower, save_towers
from towers.nets.user_tower import TimeUse
from towers.objectives.settings import NegativeKind, ObjectiveKind, ObjectiveSettings
from towers.settings import Partly
from towers.training.recipe import (
    GivenSettings,
    Preset,
    Settled,
    Statistics,
    recipe,
    statistics,
    trains_on_gpu,
)
from towers.training.recipe_report import render
from towers.training.settings import Accelerator, FitSettings, TrainerSettings

DAY_MS = 86_400_000

# MovieTweetings of 100,000 events: as many events as have the most epochs.
SMALL = Statistics(num_items=10_506, num_profiles=16_554, num_events=100_000, span_days=212.0, timed=True)

logs = st.builds(
    Statistics,
    num_items=st.integers(1, 10**8),
    num_profiles=st.integers(1, 10**8),
    num_events=st.integers(1, 10**11),
    span_days=st.floats(0.0, 1e4),
    timed=st.booleans(),
)
presets = st.sampled_from(Preset)


def value_of(settled: Settled, key: str) -> Any:
    """The value of the setting under a dotted key."""
    found: Any = settled.fit
    for name in key.split("."):
        found = getattr(found, name)
    return found


def test_the_statistics_are_those_of_the_train_events() -> None:
    # Of profiles 0 and 1 the last two events are held out; titles 3 and 4 are in those alone.
    events = [
        *((0, item, place * DAY_MS) for place, item in enumerate((0, 1, 2, 3, 4))),
        *((1, item, place * 2 * DAY_MS + 5) for place, item in enumerate((2, 0, 3))),
        (2, 1, 9 * DAY_MS),
    ]
    tables = log_tables(sorted(events, key=lambda event: event[2]), num_items=6, num_profiles=4)
    found = statistics(split(dataset_from_tables(tables), SplitSettings()))
    assert found == Statistics(num_items=3, num_profiles=3, num_events=5, span_days=9.0, timed=True)
    assert found.mean_length == pytest.approx(5 / 3)


@pytest.mark.parametrize(
    ("gap_ms", "timed"),
    [
        ([1_000] * 8, False),
        # A source that numbers events leaves gaps where a title comes again.
        ([1_000, 1_000, 3_000, 1_000, 1_000, 2_000, 1_000, 1_000], False),
        ([0] * 8, False),
        ([DAY_MS] * 8, True),
        ([1_000, 0, 60_000, 0, 5_000, 1_000, DAY_MS, 0], True),
    ],
)
def test_times_that_only_number_the_events_are_told_from_real_ones(gap_ms: list[int], timed: bool) -> None:
    start = np.concatenate([[0], np.cumsum(gap_ms)]).tolist()
    events = [(profile, item, start[item]) for item in range(9) for profile in range(3)]
    parts = split(dataset_from_tables(log_tables(events, num_items=9, num_profiles=3)), SplitSettings())
    assert statistics(parts).timed is timed


@pytest.mark.parametrize("form", SequenceForm)
def test_a_sequence_file_has_no_times(form: SequenceForm, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(40)[: 5 + user].tolist() for user in range(20)]
    of_users = "".join(f"{user} {' '.join(map(str, items))}\n" for user, items in enumerate(chosen))
    of_events = "".join(f"{user} {item}\n" for user, items in enumerate(chosen) for item in items)
    (tmp_path / "log.txt").write_text(of_users if form is SequenceForm.USERS else of_events)
    source = SequenceSettings(str(tmp_path / "log.txt"), form)
    ingest_source(source, tmp_path / "tables", RuleSettings(), SignalSettings(), None)
    found = statistics(split(read_dataset(tmp_path / "tables", SignalSettings()), SplitSettings()))
    assert not found.timed
    assert found.num_events == sum(len(items) - 2 for items in chosen)


@given(logs, presets, st.booleans())
def test_every_value_is_a_setting_in_its_range_and_has_a_reason(
    log: Statistics, preset: Preset, gpu: bool
) -> None:
    settled = recipe(log, preset, gpu=gpu)  # checks every range
    assert {choice.key for choice in settled.choices} == set(settled.to_json()["why"])
    for choice in settled.choices:
        assert choice.value == value_of(settled, choice.key)
        assert choice.why
    # And what no rule chose is the default.
    plain, default = asdict(settled.fit), asdict(FitSettings())
    chosen = {choice.key for choice in settled.choices}
    for group in ("model", "objective", "loader", "trainer"):
        for name, value in plain[group].items():
            assert f"{group}.{name}" in chosen or value == default[group][name]


@given(logs, presets)
def test_an_epoch_has_few_steps_and_a_training_between_two_and_most_epochs(
    log: Statistics, preset: Preset
) -> None:
    fit = recipe(log, preset).fit
    batch, epochs = fit.loader.batch_positions, fit.trainer.max_epochs
    assert batch & (batch - 1) == 0
    assert 1_024 <= batch <= 65_536
    assert ceil(log.num_events / batch) <= 2_000 or batch == 65_536
    assert batch == 1_024 or log.num_events / (batch / 2) > 2_000
    most = {Preset.FAST: 10, Preset.BEST: 15}[preset]
    assert 2 <= epochs <= most
    # Positions learned: E × √(events × 100,000), to half an epoch, inside of those bounds.
    wanted = most * sqrt(100_000 / log.num_events)
    assert epochs == most or epochs == 2 or abs(epochs - wanted) <= 0.5
    assert fit.trainer.patience <= max(2, epochs)


@given(logs, logs, presets, st.booleans())
def test_a_larger_log_is_never_learned_in_smaller_batches_or_more_epochs_or_a_narrower_tower(
    one: Statistics, other: Statistics, preset: Preset, gpu: bool
) -> None:
    small, large = sorted((one, other), key=lambda log: log.num_events)
    less, more = (recipe(log, preset, gpu=gpu).fit for log in (small, large))
    assert less.loader.batch_positions <= more.loader.batch_positions
    assert less.trainer.learning_rate <= more.trainer.learning_rate
    assert less.trainer.max_epochs >= more.trainer.max_epochs
    few, many = sorted((one, other), key=lambda log: log.num_items)
    less, more = (recipe(log, preset, gpu=gpu).fit for log in (few, many))
    assert less.model.dim <= more.model.dim
    kinds = [ObjectiveKind.FULL_SOFTMAX, ObjectiveKind.SAMPLED_SOFTMAX]
    assert kinds.index(less.objective.kind) <= kinds.index(more.objective.kind)


@given(logs)
def test_fast_is_nowhere_dearer_than_best(log: Statistics) -> None:
    fast, best = (recipe(log, preset).fit for preset in (Preset.FAST, Preset.BEST))
    assert fast.model.dim < best.model.dim
    assert fast.model.num_members <= best.model.num_members
    assert fast.trainer.max_epochs <= best.trainer.max_epochs


@given(logs)
def test_a_moment_has_3300_events_and_600_profiles_or_lasts_a_day(log: Statistics) -> None:
    model = recipe(log, Preset.BEST).fit.model
    if not log.timed:
        assert model.time is TimeUse.NONE
        return
    assert model.time is TimeUse.REQUEST
    if log.num_events < 6_600 or log.num_profiles < 1_200:
        assert model.moment_days == 0.0
        return
    share = model.moment_days / max(log.span_days, 1e-9)
    events, profiles = log.num_events * share, log.num_profiles * share
    assert model.moment_days >= 1.0
    if model.moment_days > 1.0:
        assert min(events / 3_300, profiles / 600) == pytest.approx(1.0, rel=0.01)


def test_the_rules_by_hand() -> None:
    # 16,554 profiles are 27.59 moments of 600, of 7.68 days; 15 epochs of 98 steps, a tenth of which is 147.
    fit = recipe(SMALL, Preset.BEST).fit
    assert fit.model == ModelSettings(dim=256, num_members=2, moment_days=7.68)
    assert fit.objective == ObjectiveSettings()
    assert fit.loader == LoaderSettings(batch_positions=1_024)
    assert fit.trainer == TrainerSettings(
        max_epochs=15, patience=4, learning_rate=3e-3, ema_decay=round(1 - 1 / 147, 6)
    )
    # 25 million events: 12,500 a step → 16,384 positions, √16 × 0.003 beyond the highest; 1.26 epochs → 2.
    large = recipe(replace(SMALL, num_items=300_000, num_events=25_000_000), Preset.BEST).fit
    assert large.loader.batch_positions == 16_384
    assert large.trainer.learning_rate == 1e-2
    assert large.trainer.max_epochs == 2
    assert large.objective.kind is ObjectiveKind.SAMPLED_SOFTMAX
    assert (large.objective.negatives, large.objective.num_negatives) == (NegativeKind.MIXED, 4_096)


def test_several_interests_are_of_one_pair_of_towers() -> None:
    several = GivenSettings(model=Partly(ModelSettings, {"num_interests": 2}))
    model = recipe(SMALL, Preset.BEST, several).fit.model
    assert (model.num_interests, model.num_members) == (2, 1)


def test_a_gpu_scores_more_titles() -> None:
    for num_items, on_cpu, on_gpu in (
        (200_000, ObjectiveKind.FULL_SOFTMAX, ObjectiveKind.FULL_SOFTMAX),
        (200_001, ObjectiveKind.SAMPLED_SOFTMAX, ObjectiveKind.FULL_SOFTMAX),
        (1_000_001, ObjectiveKind.SAMPLED_SOFTMAX, ObjectiveKind.SAMPLED_SOFTMAX),
    ):
        log = replace(SMALL, num_items=num_items)
        kinds = [recipe(log, Preset.FAST, gpu=gpu).fit.objective.kind for gpu in (False, True)]
        assert kinds == [on_cpu, on_gpu]


def test_where_training_runs_is_what_was_asked_for() -> None:
    assert trains_on_gpu(Accelerator.GPU)
    assert not trains_on_gpu(Accelerator.CPU)
    assert trains_on_gpu(None) == trains_on_gpu(Accelerator.AUTO)


def test_what_is_given_stands_and_rules_that_look_at_it_follow() -> None:
    wanted = GivenSettings(
        model=Partly(ModelSettings, {"dim": 32}),
        objective=Partly(ObjectiveSettings, {"kind": ObjectiveKind.SAMPLED_SOFTMAX}),
        loader=Partly(LoaderSettings, {"batch_positions": 4_096}),
        trainer=Partly(TrainerSettings, {"devices": 2}),
        seed=7,
        features=FeatureSettings(profiles=[]),
    )
    found, alone = recipe(SMALL, Preset.FAST, wanted), recipe(SMALL, Preset.FAST)
    fit = found.fit
    assert fit.model == replace(alone.fit.model, dim=32)
    assert fit.objective.num_negatives == 4_096
    assert fit.loader.batch_positions == 4_096
    assert fit.trainer.learning_rate == 2 * alone.fit.trainer.learning_rate
    assert fit.trainer.devices == 2
    assert (fit.seed, fit.features, fit.warm_start) == (7, FeatureSettings(profiles=[]), None)
    why = found.to_json()["why"]
    assert why["model.dim"] == "given; the recipe has 64"
    assert why["trainer.devices"] == "given"


def test_a_run_that_is_taken_up_for_more_epochs_is_the_same_run() -> None:
    def trainer(max_epochs: int) -> TrainerSettings:
        given = GivenSettings(trainer=Partly(TrainerSettings, {"max_epochs": max_epochs}))
        return recipe(SMALL, Preset.BEST, given).fit.trainer

    assert trainer(3) == replace(trainer(30), max_epochs=3)


def test_what_is_given_and_does_not_go_together_is_refused() -> None:
    alone = Partly(ObjectiveSettings, {"kind": ObjectiveKind.SAMPLED_SOFTMAX, "shared": False})
    with pytest.raises(ConfigError, match=r"^objective\.shared: false with negatives=mixed"):
        recipe(SMALL, Preset.FAST, GivenSettings(objective=alone))
    with pytest.raises(ConfigError, match=r"^loader\.batch_positions: 0 is out of range; expected >= 1$"):
        recipe(SMALL, Preset.FAST, GivenSettings(loader=Partly(LoaderSettings, {"batch_positions": 0})))


def test_towers_that_go_on_from_an_export_have_its_model_unless_another_is_given(tmp_path: Path) -> None:
    dataset = dataset_from_tables(
        log_tables(
            [(profile, item, item * DAY_MS) for item in range(4) for profile in range(3)],
            num_items=4,
            num_profiles=3,
        )
    )
    encoder = fit_features(*training_rows(dataset, split(dataset, SplitSettings())), FeatureSettings())
    exported = ModelSettings(dim=24, num_heads=3, dropout=0.125, time=TimeUse.NONE)
    save_towers(TwoTower(exported, encoder), tmp_path)
    warm = GivenSettings(warm_start=str(tmp_path))
    found = recipe(SMALL, Preset.BEST, warm).fit
    assert found.model == exported
    assert found.warm_start == str(tmp_path)
    assert found.trainer == recipe(SMALL, Preset.BEST).fit.trainer
    other = replace(warm, model=Partly(ModelSettings, {"dim": 48}))
    assert recipe(SMALL, Preset.BEST, other).fit.model == replace(exported, dim=48)
    with pytest.raises(MissingDataError, match=r"no exported model"):
        recipe(SMALL, Preset.BEST, GivenSettings(warm_start=str(tmp_path / "nowhere")))


def test_the_table_shows_every_value_and_its_reason() -> None:
    given = GivenSettings(
        objective=Partly(ObjectiveSettings, {"matryoshka": [32, 64]}),
        trainer=Partly(TrainerSettings, {"compile": True}),
    )
    settled = recipe(SMALL, Preset.FAST, given)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(render(settled))
    text = shown.get()
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    for choice in settled.choices:
        assert choice.why in lines[choice.key]
    assert "[32, 64]" in lines["objective.matryoshka"]
    assert " true " in lines["trainer.compile"]
    assert "10,506 titles, 16,554 profiles, 100,000 events over 212 days, 6.0 of a profile" in text
    assert "without times" in str(render(recipe(replace(SMALL, timed=False), Preset.FAST)).title)


def test_the_settings_that_the_recipe_knows_are_those_of_a_fit() -> None:
    assert [item.name for item in fields(GivenSettings)] == [item.name for item in fields(FitSettings)]
