"""Settings dataclasses → Hydra structured configs.

Settings are frozen, and their choices are StrEnum members spelled by value. OmegaConf refuses to override a
frozen node and spells enum members by name, so Hydra is given a mirror of the settings: the same keys, types
and defaults, open to overrides, with every choice as a string. `conf.compose.typed` turns what was composed
on the mirror into the settings themselves.

Settings that are given partly (`towers.settings.Partly`) are mirrored as the settings that they are of, with
every value null: null is what is not given.
"""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, field, fields, is_dataclass, make_dataclass
from enum import StrEnum
from functools import cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig

from towers.settings import Partly


def register(name: str, settings_type: type, group: str | None = None) -> None:
    """Registers settings under `name`, for the defaults list of an entry config or of a group's option."""
    ConfigStore.instance().store(name=name, node=mirror(settings_type), group=group)


def alternatives(hint: Any) -> tuple[type, ...]:
    """The dataclasses among which a group chooses, where a hint is a union of several; else none."""
    nested = tuple(arm for arm in arms(hint) if is_dataclass(arm) and isinstance(arm, type))
    return nested if len(nested) > 1 else ()


@cache
def mirror(settings_type: type) -> type:
    """The dataclass that Hydra composes on in place of `settings_type`; it has the same name."""
    hints = hints_of(settings_type)
    return make_dataclass(
        settings_type.__name__,
        [
            (item.name, _mirrored_hint(hints[item.name]), _mirrored_default(item, hints[item.name]))
            for item in fields(settings_type)
        ],
    )


@cache
def partial_mirror(settings_type: type) -> type:
    """As `mirror`, of settings of which nothing is given: every value may be null, and is."""
    return make_dataclass(
        settings_type.__name__,
        [
            (name, _mirrored_hint(hint), _not_given(hint))
            for name, hint in hints_of(Partly[settings_type]).items()  # type: ignore[valid-type]  # at run time
        ],
    )


def given_of(hint: Any) -> type | None:
    """The settings that a hint admits a part of, S of Partly[S]; None where it is another."""
    found: type | None = get_args(hint)[0] if get_origin(hint) is Partly else None
    return found


def hints_of(hint: Any) -> dict[str, Any]:
    """The types of the settings below a hint, by name; none where nothing stands below it.

    Of settings that are given partly, each may be null, and settings inside of them are given partly too.
    """
    given = given_of(hint)
    if given is not None:
        return {name: _partly(inner) for name, inner in get_type_hints(given).items()}
    return get_type_hints(hint) if is_dataclass(hint) and isinstance(hint, type) else {}


def arms(hint: Any) -> tuple[Any, ...]:
    """The types that a hint admits: those of a union, else the hint alone."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def is_choice(hint: Any) -> bool:
    """Whether a hint is a StrEnum."""
    return isinstance(hint, type) and issubclass(hint, StrEnum)


def hint_at(settings_type: type, full_key: str) -> Any:
    """The type of the setting under a dotted key, or of a list's element under `[i]`; None if unknown."""
    hint: Any = settings_type
    for name in full_key.replace("[", ".[").split("."):
        if name.startswith("["):
            hint = next((get_args(arm)[0] for arm in arms(hint) if get_origin(arm) is list), Any)
            continue
        if get_origin(hint) is dict:
            hint = get_args(hint)[1]
            continue
        nested = map(hints_of, arms(hint))
        hint = next((hints[name] for hints in nested if name in hints), None)
        if hint is None:
            return None
    return hint


def full_keys(settings_type: Any, prefix: str = "") -> list[str]:
    """Every dotted key of the settings, groups of settings included."""
    keys = []
    for name, hint in hints_of(settings_type).items():
        key = f"{prefix}{name}"
        keys.append(key)
        for arm in arms(hint):
            keys += full_keys(arm, f"{key}.")
    return keys


def elements(settings_type: Any, prefix: str = "") -> dict[str, type]:
    """The settings that lists hold, by the dotted key of the list."""
    found: dict[str, type] = {}
    for name, hint in hints_of(settings_type).items():
        key = f"{prefix}{name}"
        for arm in arms(hint):
            element = get_args(arm)[0] if get_origin(arm) is list else None
            if is_dataclass(element) and isinstance(element, type):
                found[key] = element
            else:
                found |= elements(arm, f"{key}.")
    return found


def spelled(hint: Any) -> str:
    """A hint as a user would say it: the values of a choice, the names of types."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join("null" if arm is NoneType else spelled(arm) for arm in get_args(hint))
    if is_choice(hint):
        return "one of " + ", ".join(hint)
    if get_origin(hint) is list:
        return f"a list of {spelled(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return f"a map of names to {spelled(get_args(hint)[1])}"
    if below := hints_of(hint):
        return "the keys " + ", ".join(below)
    return getattr(hint, "__name__", str(hint))


def _partly(hint: Any) -> Any:
    """What a field may hold of settings that are given partly."""
    return Partly[hint] if is_dataclass(hint) and isinstance(hint, type) else hint | None


def _not_given(hint: Any) -> Any:
    given = given_of(hint)
    return field(default=None) if given is None else field(default_factory=partial_mirror(given))


def _mirrored_hint(hint: Any) -> Any:
    if is_choice(hint):
        return str
    if alternatives(hint):
        # OmegaConf knows no union of dataclasses; the option of the group brings the one that it fills.
        return Any
    if given := given_of(hint):
        return partial_mirror(given)
    if is_dataclass(hint) and isinstance(hint, type):
        return mirror(hint)
    if get_origin(hint) in (Union, UnionType):
        return reduce(or_, (_mirrored_hint(arm) for arm in get_args(hint)))
    if get_origin(hint) is list:
        return list[_mirrored_hint(get_args(hint)[0])]  # type: ignore[misc]  # built at run time
    if get_origin(hint) is dict:
        return dict[str, _mirrored_hint(get_args(hint)[1])]  # type: ignore[misc]  # built at run time
    return hint


def _mirrored_default(item: Field[Any], hint: Any) -> Any:
    if item.default_factory is not NO_DEFAULT:
        factory = item.default_factory
        return field(default_factory=lambda: _mirrored_value(factory(), hint))
    if item.default is NO_DEFAULT:
        return field(default=MISSING)
    default = item.default
    if is_dataclass(default):
        return field(default_factory=lambda: _mirrored_value(default, hint))
    return field(default=_mirrored_value(default, hint))


def _mirrored_value(value: Any, hint: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list):
        return [_mirrored_value(element, None) for element in value]
    if isinstance(value, dict):
        return _open_map({name: _mirrored_value(element, None) for name, element in value.items()}, hint)
    if isinstance(value, Partly):
        kind: Any = value.kind
        hints = hints_of(Partly[kind])
        given = {name: _mirrored_value(element, hints[name]) for name, element in value.values.items()}
        return partial_mirror(kind)(**given)
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        named = {
            item.name: _mirrored_value(getattr(value, item.name), hints[item.name]) for item in fields(value)
        }
        return mirror(type(value))(**named)
    return value


def _open_map(value: dict[str, Any], hint: Any) -> DictConfig:
    """A map that takes keys of the user's: Hydra closes whatever does not say that it is open."""
    kind = _mirrored_hint(hint)
    return DictConfig(
        value, ref_type=kind, key_type=str, element_type=get_args(kind)[1], flags={"struct": False}
    )
