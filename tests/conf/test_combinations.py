"""Every option that conf/ offers, and every stage beside others, composes into the settings of its script."""

from collections.abc import Sequence
from itertools import cycle

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf

import conf.schema
from conf.compose import CONF, compose_settings, typed
from conf.schema import PipelineSettings, Stage

ENTRIES = sorted(path.stem for path in CONF.glob("*.yaml"))
SCRIPTS = sorted(path.stem for path in (CONF.parent / "scripts").glob("[!_]*.py"))


def groups_of(entry: str) -> list[str]:
    """The config groups in the defaults list of an entry config."""
    read = OmegaConf.load(CONF / f"{entry}.yaml")
    assert isinstance(read, DictConfig)
    return [str(name) for each in read.defaults if isinstance(each, DictConfig) for name in each]


def options_of(group: str) -> list[str]:
    return [f"{group}={path.stem}" for path in sorted((CONF / group).glob("*.yaml"))]


def entries_that_differ() -> list[str]:
    """One entry of those that say the same: train.py and build_index.py take the same settings."""
    first_of = {
        OmegaConf.to_yaml(OmegaConf.load(CONF / f"{entry}.yaml")): entry for entry in reversed(ENTRIES)
    }
    return sorted(first_of.values())


def compose(entry: str, overrides: Sequence[str]) -> None:
    """Composes inside `initialize_config_dir`; what only the user can say, such as data.root, is made up."""
    cfg = hydra.compose(entry, overrides=list(overrides))
    for key in OmegaConf.missing_keys(cfg):
        OmegaConf.update(cfg, key, "given")
    registered = OmegaConf.get_type(cfg)
    assert registered is not None
    settings_type: type = getattr(conf.schema, registered.__name__)
    assert isinstance(typed(cfg, settings_type), settings_type), overrides


def test_every_script_has_its_entry_config_and_every_entry_config_its_script() -> None:
    assert ENTRIES == SCRIPTS
    assert {"train", "build_index", "evaluate", "recommend"} <= set(ENTRIES)


def test_every_group_in_conf_is_offered_by_an_entry() -> None:
    folders = {path.name for path in CONF.iterdir() if path.is_dir() and any(path.glob("*.yaml"))}
    assert folders == {group for entry in ENTRIES for group in groups_of(entry)}


def covering(entry: str) -> list[tuple[str, ...]]:
    """Overrides of every group but the stage at once, in which every option stands once at least."""
    groups = [options_of(group) for group in groups_of(entry) if group != "stage"]
    most = max(map(len, groups), default=0)
    return [tuple(options[turn % len(options)] for options in groups) for turn in range(most)]


@pytest.mark.parametrize("entry", entries_that_differ())
def test_every_option_composes(entry: str) -> None:
    options = {option for group in groups_of(entry) if group != "stage" for option in options_of(group)}
    assert {option for chosen in covering(entry) for option in chosen} == options
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        stages = options_of("stage") if "stage" in groups_of(entry) else []
        # A stage by itself too: where every group is named, nothing is left of what it chooses.
        for chosen in ((), *((stage,) for stage in stages), *covering(entry)):
            compose(entry, chosen)


def test_only_a_stage_chooses_for_other_groups() -> None:
    # So two options that are no stage cannot meet, and many are tried at once: each fills a key of its own.
    chooses = {path.parent.name for path in CONF.glob("*/*.yaml") if "override " in path.read_text()}
    assert chooses == {"stage"}


def other_stages(entry: str) -> list[str]:
    """The stages that an entry does not name itself."""
    read = OmegaConf.load(CONF / f"{entry}.yaml")
    assert isinstance(read, DictConfig)
    named = [
        f"stage={each.stage}" for each in read.defaults if isinstance(each, DictConfig) and "stage" in each
    ]
    others = [stage for stage in options_of("stage") if stage not in named]
    assert len(others) == len(options_of("stage")) - 1
    return others


@pytest.mark.slow
@pytest.mark.parametrize("entry", [entry for entry in entries_that_differ() if "stage" in groups_of(entry)])
def test_every_stage_gives_way_in_every_group(entry: str) -> None:
    # That of the entry itself has been composed with each, above. The others take turns: an option that is
    # named replaces what a stage chooses for its group before the file of either is read.
    rows = covering(entry)
    assert len(rows) >= 2 * len(other_stages(entry))
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        for stage, chosen in zip(cycle(other_stages(entry)), rows, strict=False):
            compose(entry, (stage, *chosen))


def test_an_option_on_the_command_line_wins_over_that_of_the_stage() -> None:
    settings = compose_settings(PipelineSettings, "train", ("stage=global_scale", "index=flat"))
    assert settings.stage is Stage.GLOBAL_SCALE
    assert settings.index == compose_settings(PipelineSettings, "train", ("index=flat",)).index
    assert settings.index != compose_settings(PipelineSettings, "train", ("stage=global_scale",)).index


def test_a_config_file_names_no_code() -> None:
    assert [path for path in CONF.rglob("*.yaml") if "_target_" in path.read_text()] == []
