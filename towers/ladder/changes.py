"""Changes to settings by dotted keys, each of the type that the settings declare."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from towers.errors import ConfigError

S = TypeVar("S")


def changed(settings: S, path: Sequence[str], value: Any, key: str) -> S:
    """The settings with a plain value at the path; a map stands for the settings that it names.

    Choices are spelled by value, whole numbers pass as floats. Ranges are not checked. Raises ConfigError
    that begins with `key`, that of the value, where there is no such setting or it is of another type.
    """
    if not path:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key}: found {value!r}; expected {_names(settings)} below it")
        for name, inner in value.items():
            settings = changed(settings, str(name).split("."), inner, f"{key}.{name}")
        return settings
    name, *rest = path
    hints = get_type_hints(type(settings))
    if name not in hints:
        raise ConfigError(f"{key}: no setting {name!r}; expected {_names(settings)}")
    held = getattr(settings, name)
    if is_dataclass(held) and not isinstance(held, type):
        new = changed(held, rest, value, key)
    elif rest:
        raise ConfigError(f"{key}: nothing stands below {name!r}; expected its value")
    else:
        new = _typed(hints[name], value, key)
    try:
        return replace(settings, **{name: new})  # type: ignore[type-var]  # a dataclass
    except ConfigError as error:  # of the settings themselves, which do not know where they stand
        raise ConfigError(f"{key}: {error}") from error


def _names(settings: object) -> str:
    return "one of " + ", ".join(get_type_hints(type(settings)))


def _typed(hint: Any, value: Any, key: str) -> Any:
    """A plain value as one of the types that a hint admits."""
    arms = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for arm in arms:
        if value is None and arm is NoneType:
            return None
        if type(value) is int and arm is float:
            return float(value)
        if isinstance(value, list) and get_origin(arm) is list:
            return [_typed(get_args(arm)[0], each, f"{key}[{place}]") for place, each in enumerate(value)]
        if isinstance(arm, type):
            if issubclass(arm, StrEnum) and value in list(arm):
                return arm(value)
            if is_dataclass(arm) and isinstance(value, Mapping):
                return _built(arm, value, key)
            if type(value) is arm:
                return value
    raise ConfigError(f"{key}: found {value!r}; expected {' or '.join(map(_spelled, arms))}")


def _built(kind: type[S], plain: Mapping[Any, Any], key: str) -> S:
    hints = get_type_hints(kind)
    required = {item.name for item in fields(kind) if item.default is item.default_factory is MISSING}  # type: ignore[arg-type]
    if not required <= set(plain) <= set(hints):
        raise ConfigError(f"{key}: found {sorted(map(str, plain))}; expected some of {', '.join(hints)}")
    return kind(**{name: _typed(hints[name], value, f"{key}.{name}") for name, value in plain.items()})


def _spelled(arm: Any) -> str:
    if arm is NoneType:
        return "null"
    if isinstance(arm, type) and issubclass(arm, StrEnum):
        return "one of " + ", ".join(arm)
    return str(arm) if get_origin(arm) else str(arm.__name__)
