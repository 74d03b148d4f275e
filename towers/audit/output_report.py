"""The output audit: quality by group, exposure over merit, calibration and popularity, as tables and JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64
from rich.console import Group, RenderableType
from rich.text import Text

from towers.audit.exposure import GroupExposure, group_exposure, item_exposure
from towers.audit.fairness import Fairness, fairness
from towers.audit.segments import Dimension, profile_labels
from towers.audit.titles import title_labels
from towers.data.split import HeldOut
from towers.errors import QueryError
from towers.evaluation.calibration import genre_shares, miscalibration, shown_mix, wanted_mix
from towers.evaluation.concentration import Concentration, concentration
from towers.evaluation.metrics import find_hits, ndcg
from towers.evaluation.slices import head_of
from towers.evaluation.tables import NOTHING, Tables, number
from towers.recommender import Queries, Recommender
from towers.settings import bounded, check_ranges

_BATCH = 1024
_MOST_ROWS = 12
_CROSSED = (Dimension.REGION, Dimension.AGE_BAND)
_NO_GROUPS = "no profile says who it is: for whom the answers are worse is unknown, not fair"


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """k: places judged. min_questions: a group of fewer is unknown: too small to be the worst or the best."""

    k: int = bounded(10, ge=1)
    min_questions: int = bounded(30, ge=2)


@dataclass(frozen=True, slots=True)
class OutputAudit:
    """What part=output found of one recommender on held-out questions.

    ndcg: mean N@k. fairness: of N@k, by dimension, the last crossed. exposure: by kind of titles. divergence:
    of the genres shown from those of the history, in nats; None where nobody has a history.
    """

    title: str
    release_id: str
    num_questions: int
    settings: OutputSettings
    ndcg: float
    fairness: tuple[Fairness, ...]
    exposure: dict[str, tuple[GroupExposure, ...]]
    divergence: float | None
    concentration: Concentration

    def to_json(self) -> dict[str, Any]:
        """Plain values; nothing per profile."""
        return asdict(self)


def audit_output(
    recommender: Recommender,
    held_out: HeldOut,
    items: pa.Table,
    num_watches: Int64[np.ndarray, " N"],
    settings: OutputSettings,
    title: str,
    release_id: str,
) -> OutputAudit:
    """The audit of what a recommender answers. num_watches: train events of each title (Split.num_watches).

    Raises QueryError without questions, MissingExtraError without the extra `audit`.
    """
    check_ranges(settings, "output")
    if len(held_out) == 0:
        raise QueryError("output audit: no question is held out; expected at least one")
    k = settings.k
    queries = Queries(held_out.history, held_out.time_seconds, held_out.country, held_out.profiles)
    row = np.concatenate(
        [
            recommender.rank(queries.select(np.arange(start, min(start + _BATCH, len(queries)))), k).item_row
            for start in range(0, len(queries), _BATCH)
        ]
    )
    quality = ndcg(find_hits(row, held_out.target_offset, held_out.target_row), k)
    divergence = miscalibration(*_mixes(held_out, row, k, genre_shares(items)))
    known = ~np.isnan(divergence)
    year = datetime.fromtimestamp(int(held_out.time_seconds.max()), UTC).year
    head = np.where(head_of(num_watches, 0.8), "head", "tail")
    labels: dict[str, Sequence[Sequence[str]]] = {
        kind.value: found for kind, found in title_labels(items, year).items() if any(map(any, found))
    }
    labels["popularity"] = [[each] for each in head.tolist()]
    exposure = item_exposure(row, items.num_rows)
    merit = np.bincount(held_out.target_row, minlength=items.num_rows).astype(np.float64)
    return OutputAudit(
        title=title,
        release_id=release_id,
        num_questions=len(held_out),
        settings=settings,
        ndcg=float(quality.mean()),
        fairness=_fairness(quality, held_out, settings.min_questions),
        exposure={kind: group_exposure(exposure, merit, found) for kind, found in labels.items()},
        divergence=float(divergence[known].mean()) if known.any() else None,
        concentration=concentration(
            row, k, num_items=items.num_rows, num_watches=num_watches, history=held_out.history
        ),
    )


def _mixes(held_out: HeldOut, row: np.ndarray, k: int, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return wanted_mix(held_out.history, shares), shown_mix(row, k, shares)


def _fairness(quality: np.ndarray, held_out: HeldOut, min_questions: int) -> tuple[Fairness, ...]:
    labels = {} if held_out.profiles is None else profile_labels(held_out.profiles)
    found = [
        fairness(quality, [(dimension.value, label)], min_questions=min_questions)
        for dimension, label in labels.items()
    ]
    crossed = [(each.value, labels[each]) for each in _CROSSED if each in labels]
    if len(crossed) > 1:
        found.append(fairness(quality, crossed, min_questions=min_questions))
    return tuple(found)


def render(audit: OutputAudit) -> Group:
    """For a terminal."""
    k, shown = audit.settings.k, audit.concentration
    parts: list[RenderableType] = [
        Text(
            f"{audit.title}, {audit.release_id}: {audit.num_questions:,} questions, "
            f"N@{k} {number(audit.ndcg)}",
            style="bold",
        ),
        Text(
            f"worst / best: of mean N@{k} over groups of at least {audit.settings.min_questions} questions, "
            "with its 95 % interval; smaller groups are unknown. Exposure: Σ 1 / log2(place + 1); merit: "
            "held-out watches; ratio: their shares over each other.",
            style="dim",
        ),
        Tables(*fairness_cells(audit), num_names=1) if audit.fairness else Text(_NO_GROUPS, style="yellow"),
        Tables(*exposure_cells(audit), num_names=2),
        Text(),
        Text(
            f"genres shown from those watched: {number(audit.divergence)} nats (Steck's C_KL, α = .01); "
            f"Gini@{k} {number(shown.gini)}; popularity lift@{k} {number(shown.popularity_lift, '.2f')}"
        ),
    ]
    return Group(*parts)


def fairness_cells(audit: OutputAudit) -> tuple[list[str], list[list[str]]]:
    """One row per dimension: its best and worst group that is known."""
    rows = []
    for each in audit.fairness:
        known = [group for group in each.groups if group.known]
        ends = (known[0], known[-1]) if len(known) > 1 else ()
        best, worst = [f"{group.group} {number(group.mean)}" for group in ends] or [NOTHING, NOTHING]
        rows.append([each.dimension, f"{len(known)} of {len(each.groups)}", best, worst, _ratio(each)])
    return ["quality by", "known", "best", "worst", "worst / best [95 %]"], rows


def _ratio(each: Fairness) -> str:
    if each.ratio is None or each.low is None or each.high is None:
        return NOTHING
    return f"{each.ratio:.2f} [{each.low:.2f}, {each.high:.2f}]"


def exposure_cells(audit: OutputAudit) -> tuple[list[str], list[list[str]]]:
    """One row per group of titles that is shown, the largest of each kind."""
    return ["exposure by", "value", "titles", "exposure", "merit", "ratio"], [
        [
            kind.replace("_", " "),
            each.group or "unknown",
            f"{each.num_titles:,}",
            f"{each.exposure:.1%}",
            f"{each.merit:.1%}",
            number(each.ratio, ".2f"),
        ]
        for kind, groups in audit.exposure.items()
        for each in groups[:_MOST_ROWS]
    ]
