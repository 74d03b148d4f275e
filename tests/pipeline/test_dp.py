"""scripts/train.py with trainer.dp: the export says what was spent, and what ε does not cover."""

from pathlib import Path

import pytest

from conf.compose import compose_settings
from conf.schema import LadderSettings, PipelineSettings
from scripts.train import train
from towers.errors import ConfigError
from towers.exported import read_context
from towers.nets.two_tower import load_towers
from towers.training.recipe import Statistics

LOG = Statistics(num_items=900, num_profiles=800, num_events=30_000, span_days=700.0, timed=True)


def test_an_export_says_what_the_training_has_spent(tmp_path: Path) -> None:
    settings = compose_settings(
        PipelineSettings,
        "train",
        [
            f"artifacts={tmp_path}",
            *("data.num_profiles=60", "data.num_items=50", "data.num_events=900"),
            *("trainer=private", "query_tower=none", "trainer.accelerator=cpu", "trainer.max_epochs=2"),
            *(
                "trainer.dp.target_epsilon=5",
                "trainer.dp.accountant=rdp",
                "trainer.dp.expected_batch_size=20",
            ),
        ],
    )
    train(settings)
    context = read_context(tmp_path / "model")
    said = context["differential_privacy"]
    assert 4.9 < said["epsilon"] <= 5.0
    assert (said["num_profiles"], said["num_steps"], said["max_grad_norm"]) == (60, 6, 1.0)
    assert said["sample_rate"] == pytest.approx(1 / 3)
    assert said["delta"] <= 1 / 60
    assert any("num_events" in each for each in said["not_covered"])
    assert context["trainer"]["dp"]["target_epsilon"] == 5.0
    # Every title of the catalogue has a row, watched or not: which were watched is not public.
    encoder = load_towers(tmp_path / "model").encoder
    assert len(encoder.items.vocabularies["item_id"]) == 50


def test_what_learns_beside_the_towers_and_what_compares_models_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"query_tower\.epochs: 4 with trainer\.dp: .* expected query_tower=none"
    ):
        compose_settings(PipelineSettings, "train", ["trainer=private"]).settled(LOG)
    with pytest.raises(ConfigError, match=r"trainer\.dp: this job compares models"):
        compose_settings(LadderSettings, "ladder", ["trainer=private"]).settled(LOG)
    settled = compose_settings(PipelineSettings, "train", ["trainer=private", "query_tower=none"]).settled(
        LOG
    )
    assert (settled.fit.model.dropout, settled.fit.trainer.learning_rate) == (0.0, 0.01)
    assert settled.fit.trainer.dp.target_epsilon == 8.0
