"""The rung that a release is made of, and what is said of it there."""

from typing import Any

from towers.errors import ConfigError
from towers.ladder.climb import Climbed
from towers.ladder.rungs import RungName

PROMOTED = "promoted"
"""The name that means the rung that stands when all are judged."""

_SAID = ("name", "phase", "verdict", "below", "lead", "cost_per_month", "spent")


def check_publish(publish: str | None, names: list[str]) -> None:
    """Raises ConfigError unless the rung to publish is one that is climbed, PROMOTED or none."""
    if publish not in (None, PROMOTED, *names):
        raise ConfigError(
            f"publish: {publish!r}; expected {PROMOTED}, or a rung that is climbed: {', '.join(names)}"
        )


def judged_rung(climbed: Climbed, publish: str) -> tuple[RungName, dict[str, Any]]:
    """The rung of that name, or the one promoted, and how it was judged, as plain values.

    Raises ConfigError where it could not be measured.
    """
    name = climbed.promoted if publish == PROMOTED else publish
    said = climbed.to_json()
    for rung in said["rungs"]:
        if rung["name"] == name and rung["failure"] is None:
            value = rung["evaluation"][said["metric"]]
            return RungName(rung["name"]), {key: rung[key] for key in _SAID} | {said["metric"]: value}
    raise ConfigError(f"publish: {publish!r} was not measured; see its row, or publish another rung")
