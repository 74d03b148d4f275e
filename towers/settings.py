"""Ranges on settings: declared beside the field, checked with the key's full name.

Settings are frozen dataclasses that live beside the code they configure. Ranges are field metadata, so
that one walk can name the full dotted key of a value that breaks one, whoever built the dataclass.
"""

from collections.abc import Callable
from dataclasses import Field, field, fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar

from towers.errors import ConfigError

S = TypeVar("S")

_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (lambda value, bound: value >= bound, ">="),
    "gt": (lambda value, bound: value > bound, ">"),
    "le": (lambda value, bound: value <= bound, "<="),
    "lt": (lambda value, bound: value < bound, "<"),
}


def bounded(
    default: Any,
    *,
    ge: int | float | None = None,
    gt: int | float | None = None,
    le: int | float | None = None,
    lt: int | float | None = None,
) -> Any:
    """A dataclass field with a default and a range; None passes where the field allows it."""
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    return field(
        default=default, metadata={name: bound for name, bound in bounds.items() if bound is not None}
    )


def check_ranges(settings: Any, key: str = "") -> None:
    """Raises ConfigError naming the full key of the first value out of range, nested settings included."""
    for item in fields(settings):
        value = getattr(settings, item.name)
        full_key = f"{key}.{item.name}" if key else item.name
        if is_dataclass(value):
            check_ranges(value, full_key)
        elif value is not None:
            _check_field(item, value, full_key)


def settings_from_plain(kind: type[S], plain: Any, key: str) -> S:
    """The flat settings that `asdict` and JSON made plain: every field given, of its type and in its range.

    Nothing is left to a default: what was not written down is not known. Raises ConfigError naming the key.
    """
    wanted = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    if not isinstance(plain, dict) or set(plain) != set(wanted):
        found = sorted(plain) if isinstance(plain, dict) else type(plain).__name__
        raise ConfigError(f"{key}: {found}; expected the settings {sorted(wanted)}")
    settings = kind(**{name: _typed(item, plain[name], f"{key}.{name}") for name, item in wanted.items()})
    check_ranges(settings, key)
    return settings


def _typed(item: Field[Any], value: Any, full_key: str) -> Any:
    """A plain value as the field's type: members of a StrEnum by value, whole numbers as floats."""
    wanted = item.type
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        if value not in list(wanted):
            raise ConfigError(f"{full_key}: {value!r}; expected one of {', '.join(wanted)}")
        return wanted(value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise ConfigError(f"{full_key}: {value!r}; expected {getattr(wanted, '__name__', wanted)}")
    return value


def _check_field(item: Field[Any], value: Any, full_key: str) -> None:
    for name, bound in item.metadata.items():
        if name in _BOUNDS:
            holds, sign = _BOUNDS[name]
            # NaN compares false with everything, so it never holds and is refused like any other.
            if not holds(value, bound):
                raise ConfigError(f"{full_key}: {value!r} is out of range; expected {sign} {bound}")
