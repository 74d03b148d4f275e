"""The membership audit of an export: who is a member and who is not, what the attacks found, as it is read.

Whoever is compared with the members must differ from them in nothing but that nobody learned from them. Drawn
by chance they do (`split.unlearned_share`). Profiles that came later may not: what they watch is newer, and
that alone can tell them apart. So attacks that never ask the model, blind ones, are made besides: where one
of those tells the groups apart, what the others find says nothing of the model: the finding is unknown.
Source: Das, Zhang and Tramèr 2024, Blind Baselines Beat Membership Inference Attacks for Foundation Models,
arXiv 2406.16201.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int64
from rich.console import Group, RenderableType
from rich.text import Text

from towers.audit.membership import Attack, MembershipReport, audit_membership, blind_scores, history_scores
from towers.data.dataset import Dataset, read_dataset
from towers.data.ingest.ingest import read_report
from towers.data.signals.settings import signals_of
from towers.data.split import Split, SplitSettings, split, split_of
from towers.errors import ReleaseError
from towers.evaluation.tables import Tables
from towers.exported import read_context
from towers.nets.two_tower import fingerprint, load_towers
from towers.settings import bounded, check_ranges

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_FILE = "membership.png"

_MODEL_INK, _BLIND_INK = "#0072B2", "#999999"
_HOW = "train again with split.unlearned_share=0.05, which keeps profiles drawn by chance out of training"


@dataclass(frozen=True, slots=True)
class MembershipSettings:
    """When a model tells who it learned from, and when that is unknown.

    max_auc: the area that no attack may be above. level: of all intervals together. most_events: of each
    history, the newest, are asked for. min_profiles: with fewer members or others nothing is known.
    max_profiles: of each group, drawn by chance with `seed`, are looked at.
    """

    max_auc: float = bounded(0.55, gt=0.5, lt=1.0)
    level: float = bounded(0.95, gt=0.5, lt=1.0)
    most_events: int = bounded(5, ge=1)
    min_profiles: int = bounded(200, ge=2)
    max_profiles: int = bounded(5000, ge=2)
    seed: int = bounded(0, ge=0)


class Others(StrEnum):
    """Who was not learned from."""

    UNLEARNED = "kept out of training by chance"
    LATER = "not known before the last event that was learned"
    NONE = "nobody"


class MembershipFinding(StrEnum):
    """What the attacks say of a model. That none succeeds is never called private."""

    TELLS = "tells members"
    WITHIN = "within the bound"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MembershipAudit:
    """What part=membership found of an export.

    num_members, num_others: with a history of two events or more. attacks, blind: with the model and without;
    empty where they were not made. reason: of the finding, in words, with what to do where it is unknown.
    """

    title: str
    model_fingerprint: str
    settings: MembershipSettings
    others: Others
    num_members: int
    num_others: int
    finding: MembershipFinding
    reason: str
    attacks: Mapping[str, Attack] = field(default_factory=dict)
    blind: Mapping[str, Attack] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values; nothing per profile."""
        return asdict(self)


def audit_export(
    model: Path, tables: Path, num_watches: Int64[np.ndarray, " N"], settings: MembershipSettings
) -> MembershipAudit:
    """The audit of exported towers on the tables that they learned from.

    num_watches: train events of each title, as the export has them beside its vectors. Raises ReleaseError
    where the tables are others, or the settings of the training are not known.
    """
    check_ranges(settings, "membership")
    context = read_context(model)
    dataset, chosen = read_dataset(tables, signals_of(context)), split_of(context)
    parts = split(dataset, chosen)
    if not np.array_equal(parts.num_watches, num_watches):
        raise ReleaseError(
            f"{tables}: not what the towers in {model} learned from, by the train events of the titles; "
            "expected an export and its own tables: run scripts/train.py again"
        )
    others, num_events = compared(dataset, parts, chosen)
    is_member = parts.num_train > 0
    enough = num_events > 1
    num_members, num_others = int((is_member & enough).sum()), int((~is_member & enough).sum())
    audit = MembershipAudit(
        title=read_report(tables).title,
        model_fingerprint=fingerprint(model),
        settings=settings,
        others=others,
        num_members=num_members,
        num_others=num_others,
        finding=MembershipFinding.UNKNOWN,
        reason="",
    )
    if context.get("warm_start") is not None:
        reason = "the towers go on from others, which may have learned from anybody: train without warm_start"
        return replace(audit, reason=reason)
    if min(num_members, num_others) < settings.min_profiles:
        reason = (
            f"{num_members:,} members and {num_others:,} others have two events or more; expected "
            f"{settings.min_profiles:,} of each: {_HOW}"
        )
        return replace(audit, reason=reason)
    asked = _drawn(is_member & enough, settings) | _drawn(~is_member & enough, settings)
    history = parts.learned.first(np.where(asked, num_events, 0))
    towers = load_towers(model)
    found = history_scores(
        towers.exact(towers.encoder.encode(dataset.items)),
        dataset,
        history,
        parts.num_watches,
        temperature=_temperature(context),
        most_events=settings.most_events,
    )
    blind = blind_scores(history, parts.num_watches, is_member, most_events=settings.most_events)
    scores = {name: score[asked] for name, score in {**found, **blind}.items()}
    attacks = audit_membership(scores, is_member[asked], settings.level).attacks
    return judged(
        replace(
            audit,
            attacks={name: attacks[name] for name in found},
            blind={name: attacks[name] for name in blind},
        )
    )


def compared(
    dataset: Dataset, parts: Split, settings: SplitSettings
) -> tuple[Others, Int64[np.ndarray, " P"]]:
    """Who is not a member, and so many events of each profile that are looked at, the first ones.

    Of members these are the ones that they were learned from. Of profiles kept out by chance those that would
    have been; of later ones, where there are no such, all; 0 of a profile that is neither.
    """
    if settings.unlearned_share > 0.0:
        would = split(dataset, replace(settings, unlearned_share=0.0)).num_train
        return Others.UNLEARNED, would
    later = parts.num_train == 0
    lengths = dataset.history.lengths
    num_events = np.where(later, lengths, parts.num_train)
    return (Others.LATER if (later & (lengths > 0)).any() else Others.NONE), num_events


def judged(audit: MembershipAudit) -> MembershipAudit:
    """The same with the finding that its attacks come to, and why."""
    most = audit.settings.max_auc
    report = MembershipReport(audit.attacks)
    seen = [name for name, one in audit.blind.items() if not one.auc_low <= 0.5 <= one.auc_high]
    if seen:
        finding = MembershipFinding.UNKNOWN
        reason = f"{' and '.join(seen)} tells members from others without the model: {_HOW}"
    elif report.passes(most):
        finding = MembershipFinding.WITHIN
        reason = f"no attack here is above {most:g}; another may be"
    elif report.leaks:
        finding = MembershipFinding.TELLS
        reason = f"an attack is better than chance beyond doubt, and not beyond doubt within {most:g}"
    else:
        finding = MembershipFinding.UNKNOWN
        reason = (
            f"the attacks may be no better than chance or above {most:g}: too few profiles to tell; "
            "expected more of them, as by a larger split.unlearned_share"
        )
    return replace(audit, finding=finding, reason=reason)


def _drawn(group: Bool[np.ndarray, " P"], settings: MembershipSettings) -> Bool[np.ndarray, " P"]:
    """At most so many of a group, by chance."""
    rows = np.flatnonzero(group)
    num = min(len(rows), settings.max_profiles)
    drawn = np.zeros(len(group), bool)
    drawn[np.random.default_rng(settings.seed).choice(rows, num, replace=False)] = True
    return drawn


def _temperature(context: Mapping[str, Any]) -> float:
    objective = context.get("objective")
    found = objective.get("temperature") if isinstance(objective, Mapping) else None
    if not isinstance(found, int | float):
        raise ReleaseError(
            f"training settings: objective.temperature is {found!r}; expected a number, as scripts/train.py "
            "writes it"
        )
    return float(found)


def render(audit: MembershipAudit) -> Group:
    """For a terminal."""
    parts: list[RenderableType] = [
        Text(
            f"{audit.title}, towers {audit.model_fingerprint[:12]}: {audit.num_members:,} members, "
            f"{audit.num_others:,} others ({audit.others.value})",
            style="bold",
        )
    ]
    if audit.attacks:
        parts += [
            Text(
                "area: how often a member has the higher score, .5 by chance; found: members, at 1 % of the "
                "others taken for some, .01 by chance; intervals hold jointly at "
                f"{audit.settings.level:.0%}. Blind: without the model, and must find nothing.",
                style="dim",
            ),
            Tables(*attack_cells(audit), num_names=1),
            Text(),
        ]
    style = "bold red" if audit.finding is MembershipFinding.TELLS else "bold"
    return Group(*parts, Text(f"membership: {audit.finding.value}: {audit.reason}", style=style))


def attack_cells(audit: MembershipAudit) -> tuple[list[str], list[list[str]]]:
    """One row per attack, the blind ones last."""
    named = {**audit.attacks, **{f"blind: {name}": one for name, one in audit.blind.items()}}
    return ["attack", "area", "joint interval", "found", "joint interval"], [
        [
            name,
            f"{one.auc:.3f}",
            f"[{one.auc_low:.3f}, {one.auc_high:.3f}]",
            f"{one.tpr:.3f}",
            f"[{one.tpr_low:.3f}, {one.tpr_high:.3f}]",
        ]
        for name, one in named.items()
    ]


def write_plot(audit: MembershipAudit, folder: Path) -> Path | None:
    """Draws areas and true positives with their intervals; None where no attack was made."""
    from matplotlib import style
    from matplotlib.figure import Figure

    if not audit.attacks:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    num = len(audit.attacks) + len(audit.blind)
    with style.context(["default", {"font.size": 8.0, "axes.spines.top": False, "axes.spines.right": False}]):
        figure = Figure(figsize=(9.0, 0.3 * num + 1.2), dpi=120, layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, title, chance in (
            (left, "Area under the ROC curve", 0.5),
            (right, "Members found at 1 % of others", 0.01),
        ):
            _draw(axes, audit, title, chance)
        left.axvline(audit.settings.max_auc, color="#D55E00", linewidth=0.8, linestyle=":")
        figure.savefig(folder / PLOT_FILE, metadata={"Software": None})
    return folder / PLOT_FILE


def _draw(axes: "Axes", audit: MembershipAudit, title: str, chance: float) -> None:
    drawn = [(name, one, _MODEL_INK) for name, one in audit.attacks.items()]
    drawn += [(f"blind: {name}", one, _BLIND_INK) for name, one in audit.blind.items()]
    for place, (_, one, ink) in enumerate(drawn):
        value, low, high = (
            (one.auc, one.auc_low, one.auc_high) if chance == 0.5 else (one.tpr, one.tpr_low, one.tpr_high)
        )
        axes.plot([low, high], [place, place], color=ink, linewidth=1.2)
        axes.plot([value], [place], "o", color=ink, markersize=3.5)
    axes.axvline(chance, color="#000000", linewidth=0.8)
    axes.set_yticks(range(len(drawn)), [name for name, _, _ in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.set_title(title, loc="left", fontsize=9.0)
