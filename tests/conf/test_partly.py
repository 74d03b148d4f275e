"""Settings of which a part is given: null is what is not, and all else is as strict as elsewhere."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from conf.compose import CONF, compose_settings
from conf.schema import LadderSettings, PipelineSettings, Stage
from conf.structured import full_keys, mirror
from towers.data.batches import LoaderSettings
from towers.errors import ConfigError, MissingDataError
from towers.ladder.rungs import RungName
from towers.ladder.tuned import TunedRung, write_tuned
from towers.nets.two_tower import ModelSettings
from towers.nets.user_tower import TimeUse
from towers.objectives.hard_negatives import HardNegativeSettings
from towers.objectives.settings import Correction, NegativeKind, ObjectiveKind, ObjectiveSettings
from towers.settings import Partly
from towers.training.recipe import Preset, Statistics
from towers.training.settings import FitSettings, Precision, TrainerSettings

LOG = Statistics(num_items=900, num_profiles=800, num_events=30_000, span_days=700.0, timed=True)
OBJECTIVES = sorted(path.stem for path in (CONF / "objective").glob("*.yaml"))


def composed(*overrides: str) -> PipelineSettings:
    return compose_settings(PipelineSettings, "train", overrides)


def test_nothing_is_given_unasked_but_where_to_train() -> None:
    settings = composed()
    assert settings.recipe is Preset.FAST
    assert settings.model == Partly(ModelSettings)
    assert settings.objective == Partly(ObjectiveSettings)
    assert settings.loader == Partly(LoaderSettings)
    assert settings.trainer == Partly(TrainerSettings, {"devices": 1, "precision": Precision.FLOAT32})


def test_what_is_given_is_typed_and_what_is_null_is_not_given() -> None:
    settings = composed(
        *("recipe=fast", "model.dim=96", "model.time=history", "model.dropout=0", "model.num_layers=null"),
        *("objective.hard.num=4", "objective.matryoshka=[16,32]", "objective.shared=false"),
        "trainer.precision=null",
    )
    assert settings.recipe is Preset.FAST
    assert settings.model == Partly(ModelSettings, {"dim": 96, "time": TimeUse.HISTORY, "dropout": 0.0})
    assert type(settings.model.values["dropout"]) is float
    hard = Partly(HardNegativeSettings, {"num": 4})
    given = {"hard": hard, "matryoshka": [16, 32], "shared": False}
    assert settings.objective == Partly(ObjectiveSettings, given)
    assert settings.trainer == Partly(TrainerSettings, {"devices": 1})
    fit = settings.settled(LOG).fit
    assert (fit.model.dim, fit.model.num_layers, fit.model.time) == (96, 1, TimeUse.HISTORY)
    assert fit.objective.hard == HardNegativeSettings(num=4)


def test_a_backbone_that_cannot_be_read_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    given = f"query_tower.backbone={tmp_path / 'none'}"
    with pytest.raises(MissingDataError, match=r"query_tower\.backbone: .*/none: no such folder; expected"):
        composed(given).settled(LOG)
    composed(given, "query_tower.epochs=0").settled(LOG)  # nothing would read it


def test_a_setting_that_may_be_null_by_itself_is_null_until_it_is_given() -> None:
    assert composed().settled(LOG).fit.trainer.checkpoint_steps is None
    assert composed("trainer.checkpoint_steps=7").settled(LOG).fit.trainer.checkpoint_steps == 7
    assert composed("trainer.checkpoint_steps=null").trainer == composed().trainer


def test_the_presets_differ_where_nothing_is_given() -> None:
    fast, best = (composed(f"recipe={preset}", "model.num_heads=4").settled(LOG).fit for preset in Preset)
    assert fast.model.dim < best.model.dim
    assert fast.model.num_heads == best.model.num_heads == 4


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.dim=abc", r"^model\.dim: found 'abc'; expected int or null$"),
        ("model.dmi=3", r"^model\.dmi: unknown key; did you mean model\.dim\?$"),
        ("+model.dmi=3", r"^model\.dmi: unknown key; did you mean model\.dim\?$"),
        ("model.dim=3", r"^model\.dim: 3 is out of range; expected >= 4$"),
        ("model.dropout=nan", r"^model\.dropout: nan is out of range"),
        ("model.time=now", r"^model\.time: 'now' is not a choice; expected one of request, history, none"),
        ("objective.hard.num=-1", r"^objective\.hard\.num: -1 is out of range; expected >= 0$"),
        ("objective.hard.nmu=1", r"^objective\.hard\.nmu: unknown key; did you mean objective\.hard\.num\?$"),
        ("objective.hard=3", r"^objective\.hard: .*; expected the keys num, skip, depth, share, margin$"),
        ("objective.matryoshka=[a]", r"^objective\.matryoshka\[0\]: found 'a'; expected int$"),
        ("objective.matryoshka=3", r"^objective\.matryoshka: .*; expected a list of int or null$"),
        ("trainer.checkpoint_steps=0", r"^trainer\.checkpoint_steps: 0 is out of range; expected >= 1$"),
        ("recipe=quick", r"^recipe: 'quick' is not a choice; expected one of fast, best$"),
        ("loader=small", r"^loader=small: no such option; expected one of by_recipe, large_batches, small_"),
        ("+model._target_=os.system", r"^model\._target_: .* a config names no code$"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_as_anywhere(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        composed(override)


def test_a_stage_says_where_to_train_and_leaves_the_rest_to_the_recipe() -> None:
    found = {stage: composed(f"stage={stage}") for stage in Stage}
    assert {stage: each.loader.values for stage, each in found.items()} == {
        Stage.ZERO_TO_ONE: {},
        Stage.ONE_TO_SCALE: {"batch_positions": 8_192},
        Stage.GLOBAL_SCALE: {"batch_positions": 8_192},
    }
    fit = found[Stage.ONE_TO_SCALE].settled(LOG).fit
    assert (fit.loader.batch_positions, fit.trainer.precision) == (8_192, Precision.BFLOAT16_MIXED)
    # The rate of the batches that the stage says.
    alone = found[Stage.ZERO_TO_ONE].settled(LOG).fit
    assert fit.trainer.learning_rate > 2 * alone.trainer.learning_rate


@pytest.mark.parametrize("option", OBJECTIVES)
@pytest.mark.parametrize("num_items", [900, 3_000_000])
def test_every_objective_goes_with_the_recipe_of_small_and_of_large_catalogues(
    option: str, num_items: int
) -> None:
    settings = composed(f"objective={option}")
    log = Statistics(num_items, num_profiles=800, num_events=30_000, span_days=700.0, timed=True)
    fit = settings.settled(log).fit
    for name, value in settings.objective.values.items():
        assert getattr(fit.objective, name) == value
    if option == "bce":
        assert fit.objective == ObjectiveSettings(
            ObjectiveKind.BCE, negatives=NegativeKind.UNIFORM, num_negatives=1, shared=False
        )
    if option == "sampled_softmax":
        assert fit.objective == ObjectiveSettings(
            ObjectiveKind.SAMPLED_SOFTMAX, num_negatives=4_096, correction=Correction.EXACT
        )


def test_an_export_says_what_it_was_fitted_under_and_why() -> None:
    settings = composed("model.dim=96", "recipe=fast", "artifacts=elsewhere", "seed=3")
    settled = settings.settled(LOG)
    context = settings.context("a log", settled)
    plain = asdict(settled.fit)
    assert {name: context[name] for name in plain} == plain
    assert context["title"] == "a log"
    assert context["recipe"]["preset"] == "fast"
    assert context["recipe"]["statistics"] == asdict(LOG)
    assert context["recipe"]["why"]["model.dim"].startswith("given")
    assert "artifacts" not in context
    assert {"data", "split", "signals", "stage", "index"} <= set(context)


def test_what_a_search_chose_is_given_and_the_recipe_decides_the_rest(tmp_path: Path) -> None:
    fields = {
        "towers.model.dim": 128,
        "towers.trainer.learning_rate": 0.02,
        "towers.objective.num_targets": 3,
    }
    tuned: dict[RungName, TunedRung] = {
        RungName.TOWERS: TunedRung(fields, 0.1, 0.2, 5),
        RungName.ITEM_KNN: TunedRung({"item_knn.num_neighbours": 77}, 0.1, 0.2, 5),
    }
    write_tuned(tuned, tmp_path / "tuned.json")
    told = (f"tuned={tmp_path / 'tuned.json'}", "model.dim=32", "model.num_heads=4")
    settings = compose_settings(LadderSettings, "ladder", told)
    found = settings.with_tuned()
    assert found.climb.rungs.item_knn.num_neighbours == 77
    assert found.model == Partly(ModelSettings, {"dim": 128, "num_heads": 4})
    fit, untuned = found.settled(LOG).fit, settings.settled(LOG).fit
    assert (fit.model.dim, untuned.model.dim) == (128, 32)
    assert (fit.trainer.learning_rate, fit.objective.num_targets) == (0.02, 3)
    assert fit.trainer.max_epochs == untuned.trainer.max_epochs


def test_a_variant_of_the_towers_may_say_what_the_recipe_would_not() -> None:
    # The default of the code, which the recipe does not choose: known only when the log is.
    default: Any = FitSettings().model.dim
    variant = f"climb.variants=[{{name: other, rung: towers, settings: {{towers.model.dim: {default}}}}}]"
    assert compose_settings(LadderSettings, "ladder", (variant,)).climb.variants[0].name == "other"
    with pytest.raises(ConfigError, match=r"climb\.variants\[0\]\.settings\.towers\.model\.dim: 3 is out of"):
        compose_settings(LadderSettings, "ladder", (variant.replace(f": {default}", ": 3"),))


def test_the_mirror_is_null_wherever_nothing_is_given() -> None:
    shown = OmegaConf.to_container(OmegaConf.structured(mirror(PipelineSettings)))
    assert isinstance(shown, dict)
    assert shown["recipe"] == "fast"
    assert shown["loader"] == dict.fromkeys(asdict(LoaderSettings()))
    whole = asdict(ObjectiveSettings())
    assert shown["objective"] == {**dict.fromkeys(whole), "hard": dict.fromkeys(whole["hard"])}
    keys = full_keys(PipelineSettings)
    assert {"model.dim", "objective.hard.num", "trainer.checkpoint_steps", "recipe"} <= set(keys)
