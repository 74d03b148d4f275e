"""How the columns of a log become signals: every knob in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towers.errors import ConfigError, ReleaseError
from towers.settings import bounded, settings_from_plain

_NEVER_READ = ("session_gap_minutes",)


@dataclass(frozen=True, slots=True)
class SignalSettings:
    """What counts as a preference, and what belongs together.

    weights: whether events weigh by how much was watched; false: every event that is kept weighs 1.
    stars: whether a profile's own rating weighs an event of which nothing else is known.
    min_minutes, min_completion: a play that reaches neither is an accident, and left out; with 0 that bound
    is off. See `preference.preference_weight`.
    episodes_to_series: whether an event of an episode counts for its series.
    query_window_minutes: how long after a search a play is still its answer.
    """

    weights: bool = True
    stars: bool = True
    min_minutes: float = bounded(5.0, ge=0.0)
    min_completion: float = bounded(0.1, ge=0.0, le=1.0)
    episodes_to_series: bool = True
    query_window_minutes: float = bounded(30.0, gt=0.0)


def signals_of(context: Mapping[str, Any]) -> SignalSettings:
    """The signals that towers were trained under, so that they are served and judged on no others.

    context: the settings of the training, as plain values; those of before may name what nothing ever read.
    Raises ReleaseError where it does not say them.
    """
    told = context.get("signals")
    if isinstance(told, Mapping):
        told = {name: value for name, value in told.items() if name not in _NEVER_READ}
    try:
        return settings_from_plain(SignalSettings, told, "signals")
    except ConfigError as error:
        raise ReleaseError(f"training settings: {error}; expected the signals of the training") from error
