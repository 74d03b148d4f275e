"""Ranges on settings: declared beside the field, checked with the key's full name.

Settings are frozen dataclasses that live beside the code they configure. Ranges are field metadata, so
that one walk can name the full dotted key of a value that breaks one, whoever built the dataclass.
"""

from collections.abc import Callable
from dataclasses import Field, field, fields, is_dataclass
from typing import Any

from towers.errors import ConfigError

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


def _check_field(item: Field[Any], value: Any, full_key: str) -> None:
    for name, bound in item.metadata.items():
        if name in _BOUNDS:
            holds, sign = _BOUNDS[name]
            # NaN compares false with everything, so it never holds and is refused like any other.
            if not holds(value, bound):
                raise ConfigError(f"{full_key}: {value!r} is out of range; expected {sign} {bound}")
