"""The climb: every rung measured one after another, then judged against the one below."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings
from towers.errors import ConfigError
from towers.ladder.measured import VALUE_K, Job, Row, measure_rung, read_row
from towers.ladder.rungs import RungName, RungSettings, asked_like
from towers.ladder.verdict import Judged, PriceSettings, judge, promoted
from towers.training.fit import FitSettings

log = logging.getLogger(__name__)

LADDER_FILE = "ladder.json"


@dataclass(frozen=True, slots=True)
class ClimbSettings:
    """names: the rungs to climb, in any order; they are climbed from the bottom up.

    ks: places of the metrics; 10 is among them. resume: take the rows of an earlier climb of the same data
    and settings; a rung that failed is tried again.
    """

    names: list[str] = field(default_factory=lambda: [name.value for name in RungName])
    ks: list[int] = field(default_factory=lambda: [10, 100])
    resume: bool = True
    prices: PriceSettings = field(default_factory=PriceSettings)
    rungs: RungSettings = field(default_factory=RungSettings)


@dataclass(frozen=True, slots=True)
class Climbed:
    """A row and a verdict per rung, from the bottom up; the rung that stands at the end."""

    rows: tuple[Row, ...]
    judged: tuple[Judged, ...]
    prices: PriceSettings

    @property
    def promoted(self) -> str | None:
        """The rung that stands at the end; None where all failed."""
        return promoted(self.judged)

    def to_json(self) -> dict[str, Any]:
        """All figures as JSON-ready values; nothing per profile."""
        return {
            "promoted": self.promoted,
            "metric": f"ndcg@{VALUE_K}",
            "prices": asdict(self.prices),
            "rungs": [
                {
                    "name": row.name.value,
                    "phase": int(row.name.phase),
                    "failure": row.failure,
                    "verdict": verdict.verdict.value,
                    "below": verdict.below,
                    "lead": None if verdict.lead is None else asdict(verdict.lead),
                    "cost_per_month": verdict.cost_per_month,
                    "extra_per_month": verdict.extra_per_month,
                    "worth_per_month": verdict.worth_per_month,
                    "spent": None if row.measured is None else asdict(row.measured.spent),
                    "evaluation": row.evaluation,
                }
                for row, verdict in zip(self.rows, self.judged, strict=True)
            ],
        }


def climb(
    tables: Path,
    signals: SignalSettings,
    split: SplitSettings,
    settings: ClimbSettings,
    towers: FitSettings,
    folder: Path,
) -> Climbed:
    """Measures every rung on the test questions of the split, judges them, and writes LADDER_FILE.

    towers: the settings of the rungs that are towers. A rung that fails has a row that says why, and the
    climb goes on. Raises ConfigError on a name that is no rung, or none, or where 10 is not among the ks.
    """
    unknown = sorted(set(settings.names) - set(RungName))
    if unknown or not settings.names or VALUE_K not in settings.ks:
        raise ConfigError(
            f"climb.names: {list(settings.names)}, climb.ks: {list(settings.ks)}; expected some of "
            f"{', '.join(RungName)}, and {VALUE_K} among the ks"
        )
    names = [name for name in RungName if name in settings.names]
    ks = tuple(sorted(set(settings.ks)))
    rungs = asked_like(settings.rungs, split.kind)
    jobs = [Job(name, tables, signals, split, rungs, towers, ks, folder) for name in names]
    rows = tuple(_rows(jobs, resume=settings.resume))
    verdicts = judge([(row.name.value, row.measured) for row in rows], settings.prices)
    climbed = Climbed(rows, verdicts, settings.prices)
    (folder / LADDER_FILE).write_text(json.dumps(climbed.to_json(), indent=1), encoding="utf-8")
    log.info("climbed num_rungs=%d promoted=%s", len(rows), climbed.promoted)
    return climbed


def _rows(jobs: Sequence[Job], *, resume: bool) -> list[Row]:
    rows = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("climbing", total=len(jobs))
        for job in jobs:
            bar.update(task, description=f"climbing: {job.name.value}")
            row = read_row(job) if resume else None
            if row is None or row.failure is not None:
                row = measure_rung(job)
            log.info("measured rung=%s failure=%s", job.name.value, row.failure)
            rows.append(row)
            bar.advance(task)
    return rows
