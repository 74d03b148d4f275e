"""The climb: every rung measured one after another, then judged against the one below."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from towers.data.dataset import read_dataset
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings, split
from towers.errors import ConfigError, SchemaError
from towers.folders import only_one, replace_file
from towers.ladder.measured import VALUE_K, Job, Row, measure_rung, read_row
from towers.ladder.rungs import RungName, RungSettings, asked_like
from towers.ladder.variants import Compared, Variant, check_variants, compare
from towers.ladder.verdict import Judged, PriceSettings, judge, promoted
from towers.training.settings import FitSettings

log = logging.getLogger(__name__)

LADDER_FILE = "ladder.json"


@dataclass(frozen=True, slots=True)
class ClimbSettings:
    """names: the rungs to climb, in any order; they are climbed from the bottom up.

    curve_names, curve_shares: rungs that are also fitted on these shares of the profiles, for what more data
    would buy. variants: rungs that are measured once more, under other settings; none enters the chain of
    promotion. ks: places of the metrics; 10 is among them. resume: take the rows of an earlier climb of the
    same data and settings; a rung that failed is tried again.
    """

    names: list[str] = field(default_factory=lambda: [name.value for name in RungName])
    curve_names: list[str] = field(default_factory=lambda: ["item_knn", "markov", "trees", "towers"])
    curve_shares: list[float] = field(default_factory=lambda: [0.25, 0.5])
    variants: list[Variant] = field(default_factory=list)
    ks: list[int] = field(default_factory=lambda: [10, 100])
    resume: bool = True
    prices: PriceSettings = field(default_factory=PriceSettings)
    rungs: RungSettings = field(default_factory=RungSettings)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """N@10 of a rung that learned from a share of the profiles, on the same test questions as all others."""

    name: str
    share: float
    ndcg: float


@dataclass(frozen=True, slots=True)
class VariantRow:
    """A variant, its row, and how it compares with its rung."""

    variant: Variant
    row: Row
    compared: Compared


@dataclass(frozen=True, slots=True)
class Climbed:
    """A row and a verdict per rung, from the bottom up; the rung that stands; learning curves; variants."""

    rows: tuple[Row, ...]
    judged: tuple[Judged, ...]
    prices: PriceSettings
    curves: tuple[CurvePoint, ...] = ()
    variants: tuple[VariantRow, ...] = ()

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
            "curves": [asdict(point) for point in self.curves],
            "variants": [
                {
                    **asdict(each.variant),
                    "failure": each.row.failure,
                    **asdict(each.compared),
                    "spent": None if each.row.measured is None else asdict(each.row.measured.spent),
                    "evaluation": each.row.evaluation,
                }
                for each in self.variants
            ],
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
    split_settings: SplitSettings,
    settings: ClimbSettings,
    towers: FitSettings,
    folder: Path,
) -> Climbed:
    """Measures every rung on the test questions of the split, judges them, and writes LADDER_FILE.

    towers: the settings of the rungs that are towers. A rung that fails has a row that says why, and the
    climb goes on. Raises ConfigError on a name that is no rung, or none, where 10 is not among the ks, on a
    variant that cannot be, or while another climb is under way here; MissingDataError without tables,
    SchemaError where the split has nothing to learn from or to ask.
    """
    unknown = sorted({*settings.names, *settings.curve_names} - set(RungName))
    if unknown or not settings.names or VALUE_K not in settings.ks:
        raise ConfigError(
            f"climb.names: {list(settings.names)}, climb.curve_names: {list(settings.curve_names)}, "
            f"climb.ks: {list(settings.ks)}; expected some of {', '.join(RungName)}, "
            f"and {VALUE_K} among the ks"
        )
    if not all(0.0 < share <= 1.0 for share in settings.curve_shares):
        raise ConfigError(
            f"climb.curve_shares: {list(settings.curve_shares)}; expected shares above 0, up to 1"
        )
    names = [name for name in RungName if name in settings.names]
    ks = tuple(sorted(set(settings.ks)))
    rungs = asked_like(settings.rungs, split_settings.kind)
    check_variants(settings.variants, names, rungs, towers)
    _check_questions(tables, signals, split_settings)
    jobs = [Job(name, tables, signals, split_settings, rungs, towers, ks, folder) for name in names]
    shares = sorted(set(settings.curve_shares) - {1.0})
    points = [
        replace(job, share=share) for job in jobs if job.name in settings.curve_names for share in shares
    ]
    job_of = {job.name: job for job in jobs}
    varied = [replace(job_of[variant.rung], variant=variant) for variant in settings.variants]
    with only_one(folder, "climb"):
        found = _rows([*jobs, *points, *varied], resume=settings.resume)
        rows = tuple(found[: len(jobs)])
        verdicts = judge([(row.name.value, row.measured) for row in rows], settings.prices)
        learned_from_all = [job for job in jobs if job.name in settings.curve_names and shares]
        row_of = {job.row_path: row for job, row in zip([*jobs, *points, *varied], found, strict=True)}
        curves = _curves([*points, *learned_from_all], row_of)
        variants = _variants(varied, row_of)
        climbed = Climbed(rows, verdicts, settings.prices, curves, variants)
        replace_file(folder / LADDER_FILE, json.dumps(climbed.to_json(), indent=1))
    log.info("climbed num_rungs=%d promoted=%s", len(rows), climbed.promoted)
    return climbed


def _check_questions(tables: Path, signals: SignalSettings, settings: SplitSettings) -> None:
    """Raises here and once what every rung would fail by: no tables, no train events, no test question."""
    if len(split(read_dataset(tables, signals), settings).test) == 0:
        raise SchemaError(
            f"{tables}: the split {settings.kind} leaves no test question; expected a profile with three "
            "events or more, or a larger split.test_share"
        )


def _rows(jobs: Sequence[Job], *, resume: bool) -> list[Row]:
    rows = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("climbing", total=len(jobs))
        for job in jobs:
            bar.update(task, description=f"climbing: {job.row_path.stem}")
            row = read_row(job) if resume else None
            if row is None or row.failure is not None:
                row = measure_rung(job)
            log.info("measured rung=%s failure=%s", job.row_path.stem, row.failure)
            rows.append(row)
            bar.advance(task)
    return rows


def _variants(jobs: Sequence[Job], row_of: Mapping[Path, Row]) -> tuple[VariantRow, ...]:
    rows = [row_of[job.row_path] for job in jobs]
    own = [row_of[replace(job, variant=None).row_path] for job in jobs]
    compared = compare([(row.measured, rung.measured) for row, rung in zip(rows, own, strict=True)])
    return tuple(
        VariantRow(job.variant, row, each)
        for job, row, each in zip(jobs, rows, compared, strict=True)
        if job.variant is not None
    )


def _curves(jobs: Sequence[Job], row_of: Mapping[Path, Row]) -> tuple[CurvePoint, ...]:
    """The points of those jobs that went well, by rung and share."""
    points = [
        CurvePoint(job.name.value, job.share, float(measured.value.mean()))
        for job in sorted(jobs, key=lambda job: (list(RungName).index(job.name), job.share))
        if (measured := row_of[job.row_path].measured) is not None
    ]
    return tuple(points)
