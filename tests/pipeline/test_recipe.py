"""scripts/train.py with nothing given but the log: what is exported is what the recipe settled on."""

import logging
from pathlib import Path

import pytest

from conf.compose import compose_settings
from conf.schema import PipelineSettings
from scripts.train import train
from towers.data.batches import LoaderSettings
from towers.data.dataset import read_dataset
from towers.data.signals.settings import signals_of
from towers.data.split import split, split_of
from towers.exported import read_context
from towers.nets.two_tower import ModelSettings, load_towers
from towers.settings import settings_from_plain
from towers.training.recipe import Preset, recipe, statistics

LOG = ("data.num_profiles=60", "data.num_items=50", "data.num_events=900", "trainer.accelerator=cpu")


def trained(folder: Path, *overrides: str) -> PipelineSettings:
    told = (f"artifacts={folder}", *LOG, "recipe=fast", *overrides)
    settings = compose_settings(PipelineSettings, "train", told)
    train(settings)
    return settings


def test_an_export_holds_the_settled_settings_and_a_warm_start_takes_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    first = tmp_path / "first"
    with caplog.at_level(logging.INFO, "towers.training.recipe"):
        trained(first, "model.dim=24", "trainer.max_epochs=2")
    context = read_context(first / "model")
    dataset = read_dataset(first / "tables", signals_of(context))
    found = statistics(split(dataset, split_of(context)))
    wanted = recipe(found, Preset.FAST).fit
    model = settings_from_plain(ModelSettings, context["model"], "model")
    assert load_towers(first / "model").settings == model
    assert (model.dim, model.num_members, model.moment_days) == (24, 1, wanted.model.moment_days)
    assert settings_from_plain(LoaderSettings, context["loader"], "loader") == wanted.loader
    assert context["trainer"]["max_epochs"] == 2
    assert context["trainer"]["learning_rate"] == wanted.trainer.learning_rate
    assert context["recipe"]["statistics"]["num_events"] == found.num_events
    shown = capsys.readouterr().out
    assert "given; the recipe has 64" in shown
    assert "loader.batch_positions" in shown
    (line,) = caplog.messages
    assert "settled recipe=fast" in line
    assert "model.dim=24" in line

    second = tmp_path / "second"
    trained(second, f"warm_start={first / 'model'}", "recipe=best", "trainer.max_epochs=1")
    assert load_towers(second / "model").settings == model
