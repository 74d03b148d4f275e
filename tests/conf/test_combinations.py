"""Every option that conf/ offers, and every stage beside others, composes into the settings of its script."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import get_type_hints

import hydra
import pytest
from hydra.core.config_store import ConfigStore
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


def settings_of(entry: str) -> type:
    """The settings that an entry config fills: it names their schema first."""
    read = OmegaConf.load(CONF / f"{entry}.yaml")
    assert isinstance(read, DictConfig)
    registered = OmegaConf.get_type(ConfigStore.instance().load(f"{read.defaults[0]}.yaml").node)
    assert registered is not None
    settings_type: type = getattr(conf.schema, registered.__name__)
    return settings_type


@cache
def covering() -> Mapping[str, list[tuple[str, ...]]]:
    """By entry, overrides of every group but the stage at once, as many as it takes.

    An option fills the key of its group alone. Where an earlier entry has a setting of the same type there,
    what fills that one fills this one: of such a group each further entry is given two options.
    """
    rows = {}
    filled: set[tuple[object, str]] = set()
    for entry in entries_that_differ():
        hints = get_type_hints(settings_of(entry))
        chosen = []
        for group in groups_of(entry):
            if group == "stage":
                continue
            # A group that fills what lies deeper is shared with no other entry.
            hint, options = hints.get(group, entry), options_of(group)
            fresh = [option for option in options if (hint, option) not in filled]
            filled |= {(hint, option) for option in options}
            known = [option for option in options if option not in fresh]
            chosen.append([*fresh, *known[: max(0, 2 - len(fresh))]])
        most = max(map(len, chosen), default=0)
        rows[entry] = [tuple(options[turn % len(options)] for options in chosen) for turn in range(most)]
    return rows


def test_every_option_is_composed_into_every_type_that_its_group_fills() -> None:
    wanted, composed = set(), set()
    for entry, rows in covering().items():
        hints = get_type_hints(settings_of(entry))
        groups = [group for group in groups_of(entry) if group != "stage"]
        wanted |= {(hints.get(group, entry), option) for group in groups for option in options_of(group)}
        for option in (option for row in rows for option in row):
            composed.add((hints.get(option.partition("=")[0], entry), option))
        for group in groups:
            several = {option for row in rows for option in row if option.startswith(f"{group}=")}
            assert len(several) >= min(2, len(options_of(group))), (entry, group)
    assert composed == wanted


@pytest.mark.parametrize("entry", entries_that_differ())
def test_every_option_composes(entry: str) -> None:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        stages = options_of("stage") if "stage" in groups_of(entry) else []
        # A stage by itself too: where every group is named, nothing is left of what it chooses.
        for chosen in ((), *((stage,) for stage in stages), *covering()[entry]):
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
    # That of the entry itself has been composed with each, above. Of the others each meets two options of
    # every group: one that is named replaces what a stage chooses before the file of either is read.
    first, second = covering()[entry][:2]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        for stage in other_stages(entry):
            compose(entry, (stage, *first))
            compose(entry, (stage, *second))


def test_an_option_on_the_command_line_wins_over_that_of_the_stage() -> None:
    settings = compose_settings(PipelineSettings, "train", ("stage=global_scale", "index=flat"))
    assert settings.stage is Stage.GLOBAL_SCALE
    assert settings.index == compose_settings(PipelineSettings, "train", ("index=flat",)).index
    assert settings.index != compose_settings(PipelineSettings, "train", ("stage=global_scale",)).index


def test_a_config_file_names_no_code() -> None:
    assert [path for path in CONF.rglob("*.yaml") if "_target_" in path.read_text()] == []
