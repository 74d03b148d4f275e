"""Claim `membership`: whether the towers tell who they learned from; and an overfitted model that does.

Half of the profiles of a simulated service are learned from. Every history is scored by the model, without
the two events that the split holds out; three attacks take high scores for membership. One service of this
size says an area to ± .02 and no better, so there are several, each with profiles, titles and towers of its
own, and the mean of an attack over them counts. The same with towers that are made to learn by heart: few
profiles, many epochs, nothing dropped, the last epoch kept.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.progress import track

from benchmarks.measurement import Measurement
from conf.compose import compose_settings
from conf.schema import PipelineSettings
from towers.audit.membership import Attack, MembershipReport, audit_membership, history_scores
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.histories import Histories
from towers.data.schema import Tables
from towers.data.sources.simulated import SimulatedSettings, read_simulated
from towers.data.split import HeldOut, SplitSettings, split
from towers.evaluation.evaluate import Metric, evaluate
from towers.training.fit import fit_towers
from towers.training.recipe import statistics

SERVICE = SimulatedSettings(num_items=400, num_profiles=4000, num_events=80_000, seed=7)
NUM_SERVICES = 16
NUM_OVERFITTED = 200
OVERFITTED = (
    "model.dropout=0",
    "model.item_dropout=0",
    "model.event_dropout=0",
    "model.embedding_dropout=0",
    "model.id_dropout=0",
    "model.feature_dropout=0",
    "trainer.max_epochs=60",
    "trainer.learning_rate=0.003",
    "trainer.weight_decay=0",
)
"""How towers learn profiles by heart."""
MOST_AUC = 0.55


@dataclass(frozen=True, slots=True)
class Audited:
    """Towers that learned from members alone. ndcg: N@10 of the members' own test questions."""

    attacks: MembershipReport
    ndcg: float


def measure() -> Measurement:
    """The highest upper end of the areas of the attacks on the default towers, and what a bad model gets."""
    seeds = range(SERVICE.seed, SERVICE.seed + NUM_SERVICES)
    console = Console(stderr=True)
    of_services = [
        _of_default_towers(seed)
        for seed in track(seeds, "services", console=console, disable=not console.is_terminal)
    ]
    default = pooled([report for report, _ in of_services])
    tables, is_member = _service(SERVICE.seed)
    few = is_member & (np.cumsum(is_member) <= NUM_OVERFITTED)
    overfitted = audit(tables, few, OVERFITTED, last_epoch=True).attacks
    reports = {"default towers": default, "overfitted towers": overfitted} | {
        f"default towers, service {seed}": report
        for seed, (report, _) in zip(seeds, of_services, strict=True)
    }
    return Measurement(
        figures={
            "auc_upper": round(default.auc_upper, 4),
            "overfit_model_caught": float(overfitted.leaks and not overfitted.passes(MOST_AUC)),
        },
        data=f"{NUM_SERVICES} services of {SERVICE.num_profiles:,} simulated profiles and "
        f"{SERVICE.num_items} titles, half of each one's profiles learned from",
        seeds=tuple(seeds),
        details={
            "N@10 of each service": [round(ndcg, 4) for _, ndcg in of_services],
            **{
                name: {attack: asdict(found) for attack, found in report.attacks.items()}
                for name, report in reports.items()
            },
        },
    )


def pooled(reports: Sequence[MembershipReport]) -> MembershipReport:
    """Of each attack the mean over independent services: half an interval is the root of the sum of the
    squares of theirs, over how many they are. Members and others are added up.
    """
    num = len(reports)

    def mean(name: str, attacks: Sequence[Attack]) -> tuple[float, float, float]:
        middle, low, high = (
            np.array([getattr(one, f"{name}{end}") for one in attacks]) for end in ("", "_low", "_high")
        )
        below, above = (float(np.linalg.norm(half)) / num for half in (middle - low, high - middle))
        return float(middle.mean()), float(middle.mean()) - below, float(middle.mean()) + above

    def one(attacks: Sequence[Attack]) -> Attack:
        members, others = sum(each.num_members for each in attacks), sum(each.num_others for each in attacks)
        return Attack(members, others, *mean("auc", attacks), *mean("tpr", attacks))

    return MembershipReport(
        {name: one([report.attacks[name] for report in reports]) for name in reports[0].attacks}
    )


def _of_default_towers(seed: int) -> tuple[MembershipReport, float]:
    found = audit(*_service(seed))
    return found.attacks, found.ndcg


def _service(seed: int) -> tuple[Tables, np.ndarray]:
    """A service, and which of its profiles are members."""
    tables = read_simulated(replace(SERVICE, seed=seed))
    return tables, np.random.default_rng(seed).random(tables.profiles.num_rows) < 0.5


def audit(
    tables: Tables, is_member: np.ndarray, given: Sequence[str] = (), *, last_epoch: bool = False
) -> Audited:
    """The attacks on towers that learned from the members alone; the others are all that are not.

    given: settings in place of the recipe's. last_epoch: it is taken, and not that of the best validation.
    """
    whole = dataset_from_tables(tables)
    members = dataset_from_tables(_of(tables, is_member))
    parts = split(members, SplitSettings())
    composed = compose_settings(PipelineSettings, "train", ["trainer.accelerator=cpu", *given])
    settings = composed.settled(statistics(parts)).fit
    learned = replace(parts, validation=_no_questions(members)) if last_epoch else parts
    with tempfile.TemporaryDirectory() as folder:
        towers = fit_towers(members, learned, settings, Path(folder))
    exact = towers.exact(towers.encoder.encode(whole.items))
    history = whole.history.first(np.maximum(whole.history.lengths - 2, 0))
    scores = history_scores(
        exact,
        whole,
        history,
        parts.num_watches,
        temperature=settings.objective.temperature,
    )
    scored = history.lengths > 1
    attacks = audit_membership({name: score[scored] for name, score in scores.items()}, is_member[scored])
    judged = evaluate(exact, parts.test, num_items=len(members.catalogue), ks=(10,))
    return Audited(attacks, float(judged.per_query(Metric.NDCG.at(10)).mean()))


def _of(tables: Tables, is_member: np.ndarray) -> Tables:
    profiles = tables.profiles.filter(pa.array(is_member))
    events = tables.events.filter(
        pc.is_in(tables.events["profile_id"], value_set=profiles["profile_id"].combine_chunks())
    )
    return replace(tables, events=events, profiles=profiles, queries=tables.queries.slice(0, 0))


def _no_questions(dataset: Dataset) -> HeldOut:
    """Nothing to select an epoch by: the last one is taken."""
    none = np.zeros(0, np.int64)
    return HeldOut(
        none, Histories.empty(0), none, dataset.country[:0], np.zeros(1, np.int64), none,
        dataset.profile_table.slice(0, 0),
    )  # fmt: skip
