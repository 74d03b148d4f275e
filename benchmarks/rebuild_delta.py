"""Claim `rebuild-delta`: one title in a hundred is new; the rebuild job's delta beside a full build.

The towers and the log are those of the claim `serving`: a million titles. Of these, one in a hundred and its
events are left out, and the rest is built and published. Then the whole tables arrive, read as the job reads
them: in the order of what is live. The job's run, from its look at the tables to the delta's publish, is set
against a full build of the same tables by the same towers: every title embedded, the index compiled, the
gates passed and the release published. Reading the source is in neither. Then both answer the same profiles,
none of which an index was laid out for or gated by.
"""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from benchmarks.ann_encoders import TowersRecipe, learned
from benchmarks.claims import BenchmarkError
from benchmarks.environment import BENCH
from benchmarks.measurement import Measurement
from benchmarks.serving_release import RECIPE, TARGET_RECALL, folder_of
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.index.upkeep import UpkeepSettings
from retrieval.rebuild.due import Retrain, Signs
from retrieval.rebuild.full import build_anew, export_anew
from retrieval.rebuild.live_titles import built_items
from retrieval.rebuild.plan import Work
from retrieval.rebuild.run import Job, rebuild
from retrieval.rebuild.summary import Summary
from retrieval.rebuild.survey import Asked
from retrieval.release.gates import GateSettings
from retrieval.release.linked import link_tree
from retrieval.release.read import read_release
from retrieval.release.saved_index import gate_queries
from retrieval.release.store import current, open_release
from retrieval.release.verify import Verify
from retrieval.vectors import VectorAnswers
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import raw_from_tables
from towers.data.schema import Tables, read_tables
from towers.data.signals.settings import signals_of
from towers.exported import read_context
from towers.topk import topk

SHARE, SEED, K = 0.01, 0, 100
_NUM_JUDGED = 500
_VERSION = 2
"""To be raised where a release is made otherwise: a delta is not made from one of an older version."""
_SPEC = IndexSpec(IndexKind.COMPILED, target_recall=TARGET_RECALL)
# The recall that an index is compiled for is met on other questions than those of the gate.
_GATES = GateSettings(min_recall=TARGET_RECALL - 0.02)


@dataclass(frozen=True, slots=True)
class Places:
    """Where it lies. towers: their export. whole: tables of all titles. artifacts: the job's. full: built."""

    towers: Path
    whole: Path
    artifacts: Path
    full: Path


def measure() -> Measurement:
    """At a million titles; the first time it trains towers and builds the older release, an hour or so."""
    return measured(RECIPE, BENCH / "serving", BENCH / "rebuild_delta")


def measured(
    recipe: TowersRecipe, towers_root: Path, root: Path, gates: GateSettings = _GATES
) -> Measurement:
    """The figures of a recipe; its towers, tables and the older release are kept in the folders."""
    places = _made(recipe, towers_root, root, gates)
    summary, delta_seconds = _delta(places, gates)
    full = _build(places.towers, places.whole, places.full, places.full.with_name("export"), gates)
    full_seconds = sum(full.values())
    roots = {"delta": places.artifacts / "releases", "full": places.full}
    recall = {name: _recall(root_, places) for name, root_ in roots.items()}
    num_titles = open_release(places.full, Verify.TRUSTED).manifest.description.num_items
    return Measurement(
        figures={
            "time_over_full": round(delta_seconds / full_seconds, 4),
            "recall_loss": round(recall["full"] - recall["delta"], 4),
        },
        data=f"{num_titles:,} titles of a simulated log, one in {round(1 / SHARE)} of them new, {recipe.log}",
        seeds=(SEED,),
        details={
            "seconds": {"delta": round(delta_seconds, 2), "full": round(full_seconds, 2)},
            "seconds of the delta": {name: round(each, 3) for name, each in summary.seconds.items()},
            "seconds of the full build": full,
            "recall@100": {name: round(each, 4) for name, each in recall.items()},
            "changes": {} if summary.plan is None else dict(summary.plan.changes),
            "bytes written": {name: _own_bytes(root_) for name, root_ in roots.items()},
        },
    )


def _made(recipe: TowersRecipe, towers_root: Path, root: Path, gates: GateSettings) -> Places:
    """Towers, tables, and the release of all titles but the new ones; what stands is taken as it is."""
    made = folder_of(recipe, towers_root)
    learned(recipe, made)
    folder = folder_of(recipe, root)
    shutil.rmtree(folder / "full", ignore_errors=True)
    older, built = folder / "older", folder / f"built-{_VERSION}"
    newer = folder / f"newer-{_VERSION}"
    if not (older / "items.parquet").is_file():
        ingest(raw_from_tables(_older(read_tables(made / "whole"))), "a simulated log", older, RuleSettings())
    if current(built) is None:
        _build(made / "model", older, built, folder / "export", gates)
    # As the job reads a source: in the order of what is live.
    if not (newer / "items.parquet").is_file():
        log = raw_from_tables(read_tables(made / "whole"))
        ingest(log, "a simulated log", newer, RuleSettings(), order_of=built_items(built))
        read_dataset(newer, signals_of(read_context(made / "model")))  # the histories are laid out once
    places = Places(made / "model", newer, folder / "artifacts", folder / "full")
    # The older release stays as it is: the job works on links to it.
    shutil.rmtree(places.artifacts, ignore_errors=True)
    link_tree(built, places.artifacts / "releases")
    (places.artifacts / "releases" / "CURRENT").unlink()
    shutil.copyfile(built / "CURRENT", places.artifacts / "releases" / "CURRENT")
    return places


def _older(tables: Tables) -> Tables:
    """The log without the titles that are to be new, and without their events."""
    rng = np.random.default_rng(SEED)
    kept = np.ones(tables.items.num_rows, bool)
    kept[rng.choice(len(kept), round(SHARE * len(kept)), replace=False)] = False
    items = tables.items.filter(pa.array(kept))
    ids = items["item_id"].combine_chunks()
    there = pc.is_in(tables.events["item_id"], value_set=ids)
    return Tables(items, tables.events.filter(there), tables.profiles, tables.queries.slice(0, 0))


def _build(towers: Path, tables: Path, root: Path, export: Path, gates: GateSettings) -> dict[str, float]:
    """Embeds every title and publishes the release; seconds of both."""
    begun = time.perf_counter()
    context = read_context(towers)
    export_anew(export, towers, context, read_dataset(tables, signals_of(context)))
    embedded = time.perf_counter()
    build_anew(export, tables, root, _SPEC, gates, None)
    ended = time.perf_counter()
    return {"embed": round(embedded - begun, 2), "build and publish": round(ended - embedded, 2)}


def _delta(places: Places, gates: GateSettings) -> tuple[Summary, float]:
    """The job's run, and its seconds without the reading of the source."""

    def arrive(tables: Path, order_of: Path | None) -> None:
        shutil.rmtree(tables, ignore_errors=True)
        link_tree(places.whole, tables)

    def train() -> None:
        raise BenchmarkError("the job trains towers; expected a delta")

    asked = Asked(_SPEC, None, gates.max_parity_error, Retrain.NEVER, Signs(), 0)
    upkeep = UpkeepSettings(min_recall=gates.min_recall)
    summary = rebuild(Job(places.artifacts, asked, gates, upkeep, arrive, train))
    if summary.plan is None or summary.plan.work is not Work.DELTA or summary.release_id is None:
        raise BenchmarkError(f"the job ended with {summary.to_json()}; expected a delta")
    return summary, sum(took for step, took in summary.seconds.items() if step != "ingest")


def _recall(root: Path, places: Places) -> float:
    """Share of the exact best K that a release finds, of profiles between those that its gates asked."""
    release = read_release(root, Verify.TRUSTED)
    answers = release.answers
    if not isinstance(answers, VectorAnswers):
        raise BenchmarkError(f"{root}: answers from lists; expected an index")
    dataset = read_dataset(places.whole, signals_of(read_context(places.towers)))
    row = release.catalogue.vocabulary.rows(dataset.catalogue.ids)
    queries = gate_queries(dataset, 2 * _NUM_JUDGED + 1).select(np.arange(1, 2 * _NUM_JUDGED, 2))
    history = replace(queries.history, item_row=row[queries.history.item_row])
    vector = answers.encoder.encode(replace(queries, history=history))
    there = torch.zeros(release.catalogue.num_rows, dtype=torch.bool)
    there[torch.from_numpy(release.catalogue.rows)] = True
    exact = topk(torch.from_numpy(vector), torch.from_numpy(answers.vectors), K, allowed=there)[1].numpy()
    found = answers.index.search(vector, K)[1]
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]))


def _own_bytes(root: Path) -> int:
    """What the newest release of a root has on disk that is no other's."""
    folder = root / str(current(root))
    return sum(path.stat().st_size for path in folder.iterdir() if path.stat().st_nlink == 1)
