"""Claim `membership`: whether the towers tell who they learned from; and an overfitted model that does.

Half of the profiles of a simulated service are learned from. Every history is scored by the model, without
the two events that the split holds out; three attacks take high scores for membership. The same with towers
that are made to learn by heart: few profiles, many epochs, nothing dropped, the last epoch kept.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.measurement import Measurement
from conf.compose import compose_settings
from conf.schema import PipelineSettings
from towers.audit.membership import MembershipReport, audit_membership, history_scores
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.histories import Histories
from towers.data.schema import Tables
from towers.data.sources.simulated import SimulatedSettings, read_simulated
from towers.data.split import HeldOut, SplitSettings, split
from towers.evaluation.evaluate import Metric, evaluate
from towers.training.fit import fit_towers
from towers.training.recipe import statistics

SERVICE = SimulatedSettings(num_items=400, num_profiles=4000, num_events=80_000, seed=7)
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
SEED = 0


@dataclass(frozen=True, slots=True)
class Audited:
    """Towers that learned from members alone. ndcg: N@10 of the members' own test questions."""

    attacks: MembershipReport
    ndcg: float


def measure() -> Measurement:
    """The highest upper end of the areas of the attacks on the default towers, and what a bad model gets."""
    tables = read_simulated(SERVICE)
    is_member = np.random.default_rng(SEED).random(tables.profiles.num_rows) < 0.5
    default = audit(tables, is_member).attacks
    few = is_member & (np.cumsum(is_member) <= NUM_OVERFITTED)
    overfitted = audit(tables, few, OVERFITTED, last_epoch=True).attacks
    return Measurement(
        figures={
            "auc_upper": round(default.auc_upper, 4),
            "overfit_model_caught": float(overfitted.leaks and not overfitted.passes(MOST_AUC)),
        },
        data=f"{SERVICE.num_profiles:,} simulated profiles, half learned from; {SERVICE.num_items} titles",
        seeds=(SEED,),
        details={
            name: {attack: asdict(found) for attack, found in report.attacks.items()}
            for name, report in (("default towers", default), ("overfitted towers", overfitted))
        },
    )


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
