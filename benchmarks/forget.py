"""Claim `forget`: planted profiles leave no byte behind, and a retrain is that of a log which never had them.

Canaries with ids and searches of their own, and events at moments that are nobody else's, are planted in a
simulated service. It is ingested, learned from, released and answered in full; then they are forgotten, and
every byte of the folder is looked at, as it stands and as it is read. Once under their own ids, and once
under pseudonyms. Then the towers are trained anew on what is left, beside towers of a log without canaries.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.measurement import Measurement
from benchmarks.traces import bytes_left
from conf.compose import compose_settings
from conf.schema import PipelineSettings
from retrieval.batch import recommend_all
from retrieval.forget.forget import forget
from retrieval.forget.settings import ErasureSettings
from retrieval.release.build import build_release
from retrieval.retriever import Retriever
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import ingest
from towers.data.privacy.guard import Guard
from towers.data.privacy.pseudonyms import PseudonymKey, Pseudonyms
from towers.data.privacy.tables import erase_from_tables
from towers.data.raw import raw_from_tables
from towers.data.schema import EVENTS, PROFILES, QUERIES, TIME, Tables, table
from towers.data.sources.simulated import SimulatedSettings, read_simulated
from towers.data.split import split
from towers.exported import VECTORS_FILE, WEIGHTS_FILE
from towers.training.export import export
from towers.training.fit import fit_towers
from towers.training.recipe import statistics

SERVICE = SimulatedSettings(num_items=200, num_profiles=300, num_events=6000, seed=3)
CANARIES = ("canary-7c1f0e93a5", "canary-ünïcode-44d1b2", "canary household")
EVENTS_OF_EACH = 8
TRAINING = ("trainer.accelerator=cpu", "trainer.max_epochs=2", "model.dim=16", "gates.num_queries=200")
KEY = PseudonymKey(bytes(range(32)))


@dataclass(frozen=True, slots=True)
class Planted:
    """A log with canaries, the log without, and what is theirs alone: texts and moments."""

    tables: Tables
    never: Tables
    texts: tuple[str, ...]
    moments_ms: tuple[int, ...]


def measure() -> Measurement:
    """Bytes left of the canaries, and whether weights and vectors of a retrain are those of a fresh one."""
    planted = plant(read_simulated(SERVICE))
    found, left = {}, {}
    with tempfile.TemporaryDirectory() as name:
        for kind, key in (("under their ids", None), ("under pseudonyms", KEY)):
            folder = Path(name) / kind.replace(" ", "_")
            run_service(folder, planted.tables, key)
            texts = planted.texts if key is None else (*planted.texts, *map(key.pseudonym, CANARIES))
            found[kind] = sum(bytes_left(folder, texts, planted.moments_ms).values())
            forget_canaries(folder, key)
            left[kind] = bytes_left(folder, texts, planted.moments_ms)
        identical = retrained(Path(name) / "under_their_ids") == fresh(Path(name) / "never", planted.never)
    return Measurement(
        figures={
            "bytes_left": float(sum(sum(files.values()) for files in left.values())),
            "retrain_identical": float(identical),
        },
        data=f"{len(CANARIES)} canaries among {SERVICE.num_profiles} simulated profiles",
        seeds=(SERVICE.seed,),
        details={"bytes before": found, "bytes left by file": left},
    )


def plant(tables: Tables) -> Planted:
    """The tables with canaries in the midst of them."""
    item_id = tables.items["item_id"].to_pylist()
    first_ms = int(pc.min(tables.events["start"]).cast(pa.int64()).as_py())
    rng = np.random.default_rng(0)
    who = np.repeat(CANARIES, EVENTS_OF_EACH)
    # Of no other event: an odd number of milliseconds, in a second that is theirs alone.
    moments = first_ms + 86_400_000 * np.arange(len(who)) + 777
    taken = set((tables.events["start"].cast(pa.int64()).to_numpy() // 1000).tolist())
    moments = np.array(
        [next(m for m in range(int(ms), int(ms) + 10**7, 1000) if m // 1000 not in taken) for ms in moments]
    )
    watched = [item_id[row] for row in rng.permutation(len(item_id))[: len(who)]]
    events = table(
        EVENTS,
        {
            "profile_id": who.tolist(),
            "item_id": watched,
            "start": pa.array(moments, TIME),
            "minutes_watched": np.full(len(who), 80.0, np.float32),
            "country": ["GB"] * len(who),
        },
    )
    profiles = table(
        PROFILES, {"profile_id": CANARIES, "country": ["GB"] * len(CANARIES), "household_id": CANARIES}
    )
    texts = tuple(f"the secret search of {id_}" for id_ in CANARIES)
    queries = table(
        QUERIES, {"profile_id": CANARIES, "text": texts, "time": pa.array(moments[: len(CANARIES)] + 1, TIME)}
    )
    middle = tables.profiles.num_rows // 2
    mixed = pa.concat_tables([tables.profiles.slice(0, middle), profiles, tables.profiles.slice(middle)])
    with_canaries = replace(
        tables,
        events=pa.concat_tables([events, tables.events]),
        profiles=mixed,
        queries=pa.concat_tables([queries, tables.queries]),
    )
    return Planted(with_canaries, tables, (*CANARIES, *texts), tuple(moments.tolist()))


def run_service(folder: Path, tables: Tables, key: PseudonymKey | None = None) -> None:
    """Ingests, learns, releases twice, and answers every profile: all that an artifacts folder can hold."""
    settings = _settings()
    ingest(raw_from_tables(tables), "a service", folder / "tables", settings.rules, guard=Guard(key=key))
    train(folder)
    for _ in range(2):
        build_release(
            folder / "model", folder / "tables", folder / "releases", settings.index, settings.gates
        )
    recommend_all(Retriever.open(folder / "releases"), folder / "recommendations.parquet", 10)


def train(folder: Path) -> None:
    """What scripts/train.py does with the tables that stand there."""
    settings = _settings()
    dataset = read_dataset(folder / "tables", settings.signals)
    parts = split(dataset, settings.split)
    settled = settings.settled(statistics(parts))
    towers = fit_towers(dataset, parts, settled.fit, folder / "checkpoints")
    export(towers, dataset, parts, folder / "model", context=settings.context("a service", settled))


def forget_canaries(folder: Path, key: PseudonymKey | None = None) -> None:
    """Forgets them, older releases at once."""
    forget(
        folder,
        CANARIES,
        ErasureSettings(releases_days=0.0),
        lambda tables, forgotten: erase_from_tables(tables, forgotten).num_rows,
        pseudonyms=None if key is None else Pseudonyms([key]),
    )


def retrained(folder: Path) -> tuple[bytes, bytes]:
    """Weights and vectors of towers trained anew on the tables that are left."""
    train(folder)
    return _learned(folder)


def fresh(folder: Path, tables: Tables) -> tuple[bytes, bytes]:
    """The same of a log that never had the canaries."""
    ingest(raw_from_tables(tables), "a service", folder / "tables", _settings().rules)
    train(folder)
    return _learned(folder)


def _learned(folder: Path) -> tuple[bytes, bytes]:
    weights, vectors = ((folder / "model" / name).read_bytes() for name in (WEIGHTS_FILE, VECTORS_FILE))
    return weights, vectors


def _settings() -> PipelineSettings:
    return compose_settings(PipelineSettings, "train", TRAINING)
