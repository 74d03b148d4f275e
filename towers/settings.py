"""Ranges on settings: declared beside the field, checked with the key's full name.

Settings are frozen dataclasses that live beside the code they configure. Ranges are field metadata, so
that one walk can name the full dotted key of a value that breaks one, whoever built the dataclass.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

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


@dataclass(frozen=True, slots=True)
class Partly(Generic[S]):
    """Some of the values of settings: what a user gave, where a rule decides the others.

    kind: the settings dataclass. values: by the names of its fields, each of the field's type; of settings
    inside of settings another Partly. Raises ConfigError on a name that `kind` does not have.
    """

    kind: type[S]
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [item.name for item in fields(self.kind)]  # type: ignore[arg-type]  # a dataclass
        for name in self.values:
            if name not in known:
                raise ConfigError(
                    f"{name}: no setting of {self.kind.__name__}; expected some of {', '.join(known)}"
                )

    def over(self, default: S, key: str = "") -> S:
        """The default with what is given in its place; ConfigError where the two do not go together."""
        settled = {
            name: value.over(getattr(default, name), f"{key}.{name}" if key else name)
            if isinstance(value, Partly)
            else value
            for name, value in self.values.items()
        }
        found = replace(default, **settled)  # type: ignore[type-var]  # a dataclass
        check_ranges(found, key)
        return found

    def also(self, values: Mapping[str, Any]) -> "Partly[S]":
        """The same with other values given too, or in place of those that are."""
        return Partly(self.kind, {**self.values, **values})


def check_ranges(settings: Any, key: str = "") -> None:
    """Raises ConfigError naming the full key of the first value out of range, nested settings included.

    Of settings that are given partly, what is given is checked.
    """
    partly = settings if isinstance(settings, Partly) else None
    for item in fields(settings if partly is None else partly.kind):
        value = getattr(settings, item.name) if partly is None else partly.values.get(item.name)
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
