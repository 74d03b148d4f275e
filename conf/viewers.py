"""What the scripts that face viewers can be told: scripts/explain.py and scripts/control.py."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from conf.structured import register
from retrieval.control.controls import Controls
from retrieval.explain import MOST_CAUSES
from towers.errors import ConfigError
from towers.settings import bounded

__all__ = ["ControlSettings", "ExplainSettings"]


@dataclass(frozen=True, slots=True)
class ExplainSettings:
    """What explain.py explains of the current release of `artifacts`.

    profile: who asks; null shows the main parameters, and nothing of one title. item: the title; null is the
    first that is recommended. country: of the request, where it differs from the profile's. most: causes that
    are named. metadata: also what the title's own facts add; it needs towers, and the extra `audit`.
    store_key: the keys that the release may be sealed under, a path or env:NAME.
    """

    artifacts: str = "artifacts"
    profile: str | None = None
    item: str | None = None
    country: str | None = None
    most: int = bounded(MOST_CAUSES, ge=0)
    metadata: bool = False
    store_key: str | None = None

    def __post_init__(self) -> None:
        if self.profile is None and self.item is not None:
            raise ConfigError(f"item: {self.item!r} without a profile; expected profile=… to explain it to")


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """What control.py changes of one profile's controls in `artifacts`, before it shows them.

    The fields of `Controls`, null where they stay; no_max_age lifts a limit of age. pin: needed for what
    shows more than before. new_pin: to be set. forget: erases all that is held of the profile.
    """

    profile: str
    artifacts: str = "artifacts"
    excluded_genres: list[str] | None = None
    excluded_people: list[str] | None = None
    excluded_items: list[str] | None = None
    less_like: list[str] | None = None
    removed: list[str] | None = None
    personalised: bool | None = None
    max_age: int | None = bounded(None, ge=0, le=99)
    no_max_age: bool = False
    kids: bool | None = None
    pin: str | None = None
    new_pin: str | None = None
    forget: bool = False

    def change(self) -> Callable[[Controls], Controls] | None:
        """What is given of the controls, in the place of what they were; None where nothing is."""
        given = {item.name: getattr(self, item.name) for item in fields(Controls)}
        told: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None
        }
        if self.no_max_age:
            told["max_age"] = None
        return (lambda held: replace(held, **told)) if told else None


register("explain_settings", ExplainSettings)
register("control_settings", ControlSettings)
