"""The settings that a search chose, as a file, and the settings of a climb with them in place."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Any

from towers.errors import ConfigError, MissingDataError
from towers.ladder.changes import changed
from towers.ladder.rungs import RungName, RungSettings
from towers.ladder.search_spaces import SPACES, Plain
from towers.settings import check_ranges
from towers.training.settings import FitSettings

TUNED_FILE = "tuned.json"
_FORMAT, _VERSION = "tuned-rungs", 1


@dataclass(frozen=True, slots=True)
class TunedRung:
    """What a search chose for one rung.

    fields: dotted key of RungSettings, or of FitSettings below `towers` → value, of all that were searched.
    default, best: validation N@10 of the settings it began with, None where those failed, and of these.
    num_trials: that were measured whole, stopped early, or failed.
    """

    fields: Mapping[str, Plain]
    default: float | None
    best: float
    num_trials: int


Tuned = Mapping[RungName, TunedRung]


def write_tuned(tuned: Tuned, path: Path) -> None:
    """Writes what was chosen as JSON: a reader finds the older file, whole, or this one."""
    rungs = {name.value: asdict(rung) for name, rung in tuned.items()}
    plain = {"format": _FORMAT, "version": _VERSION, "metric": "validation ndcg@10", "rungs": rungs}
    aside = path.with_name(f".{path.name}.new")
    with aside.open("w", encoding="utf-8") as file:
        file.write(json.dumps(plain, indent=2, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def read_tuned(path: Path) -> Tuned:
    """What `write_tuned` wrote, every field known, typed and in its range.

    Raises MissingDataError where there is no file, ConfigError naming the place where it is another.
    """
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; run scripts/tune.py first")
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        found = (plain["format"], plain["version"])
        rungs = dict(plain["rungs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: {error!r}; expected tuned settings in JSON") from error
    if found != (_FORMAT, _VERSION):
        raise ConfigError(
            f"{path}: {found[0]!r} version {found[1]!r}; expected {_FORMAT!r} version {_VERSION}"
        )
    unknown = sorted(set(rungs) - set(SPACES))
    if unknown:
        raise ConfigError(f"{path}: rungs: {unknown}; expected some of {', '.join(SPACES)}")
    tuned = {RungName(name): _read_rung(each, f"{path}: {name}") for name, each in rungs.items()}
    with_tuned(RungSettings(), FitSettings(), tuned, str(path))
    return tuned


def with_tuned(
    rungs: RungSettings, towers: FitSettings, tuned: Tuned, where: str = "tuned"
) -> tuple[RungSettings, FitSettings]:
    """The settings of rungs and towers with what was chosen in place; all else stays as it is.

    Raises ConfigError naming a field that is unknown, of another rung, of the wrong type or out of range.
    """
    for name, rung in tuned.items():
        rungs, towers = with_fields(name, rung.fields, rungs, towers, f"{where}: rungs.{name}.fields")
    return rungs, towers


def with_fields(
    name: RungName, chosen: Mapping[str, Plain], rungs: RungSettings, towers: FitSettings, key: str
) -> tuple[RungSettings, FitSettings]:
    """The same with the fields of one rung."""
    known = [parameter.field for parameter in SPACES[name]]
    for field, value in chosen.items():
        if field not in known:
            raise ConfigError(f"{key}.{field}: unknown field of {name}; expected some of {', '.join(known)}")
        first, *rest = path = field.split(".")
        if first == RungName.TOWERS:
            towers = changed(towers, rest, value, f"{key}.{field}")
        else:
            rungs = changed(rungs, path, value, f"{key}.{field}")
    check_ranges(rungs, key)
    check_ranges(towers, f"{key}.{RungName.TOWERS}")
    return rungs, towers


def field_of(field: str, rungs: RungSettings, towers: FitSettings) -> Plain:
    """The plain value of a dotted field that a search tries."""
    first, *rest = path = field.split(".")
    held: Any = towers if first == RungName.TOWERS else rungs
    for name in rest if first == RungName.TOWERS else path:
        held = getattr(held, name)
    plain: Plain = held.value if isinstance(held, StrEnum) else held
    return plain


def _read_rung(plain: Any, where: str) -> TunedRung:
    wanted = [item.name for item in fields(TunedRung)]
    if not isinstance(plain, dict) or sorted(plain) != sorted(wanted):
        found = sorted(plain) if isinstance(plain, dict) else plain
        raise ConfigError(f"{where}: {found!r}; expected {wanted}")
    if not isinstance(plain["fields"], dict):
        raise ConfigError(f"{where}: fields: {plain['fields']!r}; expected fields and their values")
    ndcg = {name: plain[name] for name in ("default", "best") if name == "best" or plain[name] is not None}
    for name, value in ndcg.items():
        if type(value) not in (int, float) or not isfinite(value) or not 0.0 <= value <= 1.0:
            raise ConfigError(f"{where}: {name}: {value!r}; expected an N@10 from 0 to 1")
    if type(plain["num_trials"]) is not int or plain["num_trials"] < 1:
        raise ConfigError(f"{where}: num_trials: {plain['num_trials']!r}; expected a count from 1")
    default = None if plain["default"] is None else float(plain["default"])
    return TunedRung(plain["fields"], default, float(plain["best"]), plain["num_trials"])
