"""What a rebuild did or would do: JSON for a scheduler, a table for a terminal, an exit code for both."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from retrieval.rebuild.capacity import Needs
from retrieval.rebuild.plan import Work

FORMAT, VERSION = "rebuild-summary", 1


class Outcome(StrEnum):
    """How a rebuild ended."""

    PUBLISHED = "published"
    """A new release is current."""
    NOTHING = "nothing"
    """There was nothing to do."""
    PLANNED = "planned"
    """It was asked what it would do."""
    REFUSED = "refused"
    """A gate failed: what was current stays."""
    BUSY = "busy"
    """Another rebuild is under way."""
    NO_ROOM = "no_room"
    """Disk or memory are too small."""
    FAILED = "failed"
    """Something else went wrong, as `error` says; what was current stays."""
    STOPPED = "stopped"
    """It was told to stop; the next run goes on."""


class ExitCode(IntEnum):
    """What the process ends with."""

    DONE = 0
    FAILED = 2
    REFUSED = 3
    BUSY = 4
    NO_ROOM = 5
    STOPPED = 143


EXIT_CODES = {
    Outcome.PUBLISHED: ExitCode.DONE,
    Outcome.NOTHING: ExitCode.DONE,
    Outcome.PLANNED: ExitCode.DONE,
    Outcome.FAILED: ExitCode.FAILED,
    Outcome.REFUSED: ExitCode.REFUSED,
    Outcome.BUSY: ExitCode.BUSY,
    Outcome.NO_ROOM: ExitCode.NO_ROOM,
    Outcome.STOPPED: ExitCode.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rebuild is going to do, and why.

    changes: titles by what happened to them, see `Changes.counts`. notes: what else an operator should know.
    """

    work: Work
    reasons: tuple[str, ...]
    needs: Needs
    changes: Mapping[str, int | bool] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """How a rebuild went. plan: None where it ended before there was one.

    live, release_id: of the release before and of the one published. gates: value by name. seconds: by step.
    """

    outcome: Outcome
    plan: Plan | None = None
    live: str | None = None
    release_id: str | None = None
    gates: Mapping[str, float | None] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with."""
        return EXIT_CODES[self.outcome]

    def to_json(self) -> str:
        """One line."""
        plain: dict[str, Any] = {"format": FORMAT, "version": VERSION, "exit_code": int(self.exit_code)}
        plain |= asdict(self) | {"seconds": {name: round(value, 3) for name, value in self.seconds.items()}}
        return json.dumps(plain, allow_nan=False)


def plan_view(plan: Plan, live: str | None) -> RenderableType:
    """The plan for a terminal."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    needs = plan.needs
    table.add_row("live release", live or "none")
    table.add_row("work", plan.work.value)
    for place, reason in enumerate(plan.reasons):
        table.add_row("because" if place == 0 else "", reason)
    for name, value in plan.changes.items():
        said = str(value).lower() if isinstance(value, bool) else f"{value:,}"
        table.add_row(name.replace("_", " "), said)
    table.add_row("time", "not known yet" if needs.seconds is None else f"about {needs.seconds:,.0f} s")
    table.add_row("memory", f"about {needs.memory_bytes / 2**20:,.0f} MiB")
    table.add_row("disk", f"about {needs.disk_bytes / 2**20:,.0f} MiB more")
    return Group(table, *(Text(note, style="yellow") for note in plan.notes))
