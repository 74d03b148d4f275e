"""What follows from a decay study: curve, causes, ways of keeping up and schedule, or why none follows."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from towers.errors import QueryError
from towers.evaluation.decay import DecayCurve, QualityMatrix, fit_decay
from towers.evaluation.decay_causes import Cause, DecayStudy, Loss, Variant
from towers.evaluation.retraining import RetrainingSettings, check_retraining
from towers.evaluation.schedule import Schedule, Verdict, recommend_schedule, write_schedule
from towers.evaluation.upkeep import Upkeep, compare_ways, unknown_ways
from towers.folders import replace_file

log = logging.getLogger(__name__)

FINDINGS_FILE = "decay.json"
SCHEDULE_FILE = "schedule.json"


@dataclass(frozen=True, slots=True)
class Findings:
    """A study and what it shows.

    serving: the variant whose loss below a retrained model the curve is of.
    unknown: why there is no curve, no cause and no schedule; None where there are all three.
    ways: what each way of keeping up costs a day, in the order of `Way`, the unknown ones among them.
    """

    study: DecayStudy
    metric: str
    serving: Variant
    unknown: str | None
    curve: DecayCurve | None
    causes: Mapping[Cause, Loss]
    gaps: Mapping[Variant, Loss]
    ways: tuple[Upkeep, ...]
    schedule: Schedule | None

    @property
    def extrapolates(self) -> bool:
        """Whether the curve halves beyond the ages measured alone: then λ and A are guesses."""
        oldest = float(self.study.overall(self.serving).age_days[-1])
        return self.curve is not None and self.curve.decays and self.curve.half_life_days > oldest

    @property
    def says(self) -> str:
        """The schedule in one sentence."""
        if self.schedule is None:
            return f"unknown: {self.unknown}; no schedule is written"
        plan, evidence = self.schedule, self.schedule.evidence
        rarely = "never" if plan.every_days is None else f"every {plan.every_days} days, the longest allowed"
        match plan.verdict:
            case Verdict.PAYS:
                never = f"against {plan.never_cost_per_day:,.2f} without"
                if self.extrapolates:
                    never = "what none would cost lies beyond the ages measured"
                return (
                    f"retrain every {plan.every_days} days, or at once at a loss of {plan.at_loss:.4f}; "
                    f"{plan.cost_per_day:,.2f} a day, {never}"
                )
            case Verdict.NOT_WORTH_ITS_COST:
                return f"{rarely}: a retrain costs more than all it could win back"
            case Verdict.NO_DECAY_SHOWN:
                drop = evidence.drop
                return (
                    f"{rarely}: no decay is shown; over these ages {drop.value:+.4f} was lost, with an "
                    f"interval of [{drop.low:+.4f}, {drop.high:+.4f}]"
                )

    def to_json(self) -> dict[str, Any]:
        """All figures as JSON-ready values, null for what was not measured; nothing per profile."""
        variants = list(self.study.known)
        parts = {"known": self.study.known, "unknown": self.study.unknown}
        first = self.study.overall(variants[0])
        curve = self.curve
        found = {
            "metric": self.metric,
            "serving": self.serving.value,
            "says": self.says,
            "origin_seconds": first.origin_seconds.tolist(),
            "age_days": first.age_days.tolist(),
            "num_queries": first.num_queries.tolist(),
            "quality": {variant.value: _cells(self.study.overall(variant)) for variant in variants},
            "by_ids": {
                name: {
                    "num_queries": part[variants[0]].num_queries.tolist(),
                    "quality": {variant.value: _cells(matrix) for variant, matrix in part.items()},
                }
                for name, part in parts.items()
            },
            "causes": {cause.value: _loss(loss) for cause, loss in self.causes.items()},
            "gaps": {variant.value: _loss(loss) for variant, loss in self.gaps.items()},
            "curve": curve
            and {
                **{name: asdict(getattr(curve, name)) for name in ("rate", "amplitude", "floor", "drop")},
                "decays": curve.decays,
                "extrapolates": self.extrapolates,
                "half_life_days": curve.half_life_days,
            },
            "ways": [asdict(way) for way in self.ways],
            "schedule": self.schedule and asdict(self.schedule),
        }
        plain: dict[str, Any] = _finite(found)
        return plain


def find(
    study: DecayStudy, retraining: RetrainingSettings, *, metric: str, serving: Variant, seed: int = 0
) -> Findings:
    """The findings of a study at these prices.

    The curve goes through the quality less that of a retrained model on the same questions. With fewer than
    three origins or ages nothing is concluded, and the findings say so.
    """
    check_retraining(retraining)
    relative = study.relative(serving)
    try:
        curves = {
            variant: fit_decay(study.relative(variant), seed=seed)
            for variant in (Variant.FROZEN, Variant.REBUILT)
        }
        causes = study.causes(seed=seed)
        updates = [variant for variant in study.known if variant != Variant.RETRAINED]
        gaps: dict[Variant, Loss] = {variant: study.gap(variant, seed=seed) for variant in updates}
        ways = compare_ways(study, curves, retraining, seed=seed)
    except QueryError as error:
        reason = str(error)
        return Findings(study, metric, serving, reason, None, {}, {}, unknown_ways(reason), None)
    curve = curves[serving]
    schedule = recommend_schedule(curve, relative, retraining, metric=metric)
    return Findings(study, metric, serving, None, curve, causes, gaps, ways, schedule)


def write_findings(findings: Findings, folder: Path) -> None:
    """Writes FINDINGS_FILE, and SCHEDULE_FILE where a schedule follows; else an older one stays as it is."""
    replace_file(folder / FINDINGS_FILE, json.dumps(findings.to_json(), indent=1, allow_nan=False))
    path = folder / SCHEDULE_FILE
    if findings.schedule is not None:
        write_schedule(findings.schedule, path)
    elif path.exists():
        log.warning("no schedule follows from this study; the older one stays file=%s", path)


def _cells(matrix: QualityMatrix) -> list[list[float | None]]:
    return [
        [value if asked else None for value, asked in zip(values, counts, strict=True)]
        for values, counts in zip(matrix.quality.tolist(), matrix.num_queries.tolist(), strict=True)
    ]


def _loss(loss: Loss) -> dict[str, Any]:
    return {
        "overall": asdict(loss.overall),
        "by_age": [None if isnan(value) else value for value in loss.by_age.tolist()],
    }


def _finite(plain: Any) -> Any:
    """Plain values with null for the end that an interval does not have."""
    if isinstance(plain, dict):
        return {name: _finite(part) for name, part in plain.items()}
    if isinstance(plain, list):
        return [_finite(part) for part in plain]
    return None if isinstance(plain, float) and not isfinite(plain) else plain
