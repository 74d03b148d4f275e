"""Hydra's and OmegaConf's errors in this project's words: which key, what was found, what was expected."""

import re
from difflib import SequenceMatcher, get_close_matches

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from conf.structured import elements, full_keys, hint_at, spelled
from towers.errors import ConfigError

# Ratio of difflib: above it stand misspellings (dmi, dim: 0.67), below it chance (lr, loader: 0.5).
_NEAR = 0.6


def config_error(error: HydraException | OmegaConfBaseException, settings_type: type) -> ConfigError:
    """The ConfigError, one line long, that says what a failed composition of `settings_type` means."""
    if isinstance(error, MissingConfigException):
        return ConfigError(_missing_config(error))
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    # An error in a YAML file carries the cause in its message alone.
    said = str(cause if isinstance(cause, OmegaConfBaseException) else error)
    full_key = re.search(r"^\s*full_key: (\S+)", said, re.MULTILINE)
    if full_key is None:
        return ConfigError(_one_line(str(error)))
    origin = re.match(r"In '([^']+)': \w+ raised while composing config:\n", said)
    where = f" (in {origin[1]}.yaml)" if origin else ""
    reason = said[origin.end() if origin else 0 :].splitlines()[0].rstrip(".")
    reason = re.sub(r"^Value (.*?) (?:of type|is not) .*$", r"found \1", reason)
    # An element is checked before it is put into its list, so its key is short of that of the list.
    kind = re.search(r"^\s*object_type=(\w+)", said, re.MULTILINE)
    lists = {key: held for key, held in elements(settings_type).items() if kind and held.__name__ == kind[1]}
    if lists and hint_at(settings_type, full_key[1]) is None:
        about = _about_key(full_key[1], reason, cause, next(iter(lists.values())))
        return ConfigError(f"{' or '.join(f'{key}[…]' for key in lists)}: {about}{where}")
    return ConfigError(_about_key(full_key[1], reason, cause, settings_type) + where)


def unknown_key(full_key: str, settings_type: type) -> str:
    """What to say of a key that the settings do not have: the nearest key that they have, or all beside it.

    Keys are near by their last name, wherever it stands: `max_epoch` means `trainer.max_epochs`.
    """
    known = list(dict.fromkeys(full_keys(settings_type)))
    group, _, name = full_key.rpartition(".")
    last_names = {key.rpartition(".")[2] for key in known}
    near = get_close_matches(name, last_names, n=1, cutoff=_NEAR)
    if near:
        same_name = (key for key in known if key.rpartition(".")[2] == near[0])
        best = max(same_name, key=lambda key: SequenceMatcher(None, key, full_key).ratio())
        return f"{full_key}: unknown key; did you mean {best}?"
    beside = [key for key in known if key.rpartition(".")[0] == group]
    expected = beside or [key for key in known if "." not in key]
    return f"{full_key}: unknown key; expected one of {', '.join(expected)}"


def _about_key(full_key: str, reason: str, cause: BaseException | None, settings_type: type) -> str:
    if full_key.startswith("hydra."):
        return f"{full_key}: {reason}"
    hint = hint_at(settings_type, full_key)
    if hint is None:
        return unknown_key(full_key, settings_type)
    elsewhere = re.fullmatch(r"Key '.*' not in '(\w+)'", reason)
    if elsewhere:
        group = full_key.rpartition(".")[0]
        return f"{full_key}: not a key of {elsewhere[1]}, the option chosen; choose another with {group}=…"
    if isinstance(cause, MissingMandatoryValue):
        return f"{full_key}: not set; expected {spelled(hint)}; set it with {full_key}=…"
    if isinstance(cause, InterpolationResolutionError):
        return f"{full_key}: {reason}"
    return f"{full_key}: {reason}; expected {spelled(hint)}"


def _missing_config(error: MissingConfigException) -> str:
    if error.missing_cfg_file is None or not error.options:
        return str(error).splitlines()[0]
    group, _, option = error.missing_cfg_file.rpartition("/")
    return f"{group}={option}: no such option; expected one of {', '.join(sorted(error.options))}"


def _one_line(message: str) -> str:
    return "; ".join(line.strip() for line in message.splitlines() if line.strip() and "hydra.cc" not in line)
