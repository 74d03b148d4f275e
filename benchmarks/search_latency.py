"""Claim `search-latency`: searches and suggestions over 60,000 titles, one at a time on one thread.

The titles are those of four real data sets, and some of them with their words turned round, up to 60,000. The
log is drawn, and the towers, that of texts among them, are not trained: they cost what trained ones do. A
search is all that `Retriever.search` does for a profile, under a rule of territory: matching, understanding,
the towers, the nearest titles of the vector and the order. Suggestions are asked for as each text is typed,
from its second letter on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import torch

from benchmarks.measurement import Measurement
from benchmarks.search_data import main_name
from benchmarks.stages import on_cores
from benchmarks.streaming_titles import real_titles, spoken_queries
from retrieval.eligibility.rules import Available
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.retriever import Retriever
from towers.data.dataset import dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import raw_from_tables
from towers.data.schema import EVENTS, PROFILES, QUERIES, TIME, Tables, read_tables, table
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings, split
from towers.evaluation.slips import mistyped
from towers.nets.query_tower import QueryTower, QueryTowerSettings
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

NUM_ITEMS, NUM_PROFILES, EVENTS_PER_PROFILE = 60_000, 2_000, 40
NUM_SEARCHES, NUM_ROUNDS = 2_000, 3
SEED, NOW = 0, 1_750_000_000
TARGET_RECALL = 0.97
K = 10


def measure() -> Measurement:
    """The median over three rounds of the 99th percentile of each."""
    rng = np.random.default_rng(SEED)
    torch.set_num_threads(1)
    with TemporaryDirectory() as name, on_cores(1):
        begun = time.perf_counter()
        retriever = served(Path(name), NUM_ITEMS, rng)
        opened = time.perf_counter() - begun
        texts = searches(retriever, NUM_SEARCHES, rng)
        profiles = rng.choice(retriever.profile_ids, len(texts)).tolist()
        rule = Available("FR", NOW)

        def search(place: int) -> object:
            return retriever.search(texts[place], profile_id=profiles[place], k=K, rule=rule)

        typed = [text[:end] for text in texts[::10] for end in range(2, min(len(text), 20) + 1)]

        def suggest(place: int) -> object:
            return retriever.suggest(typed[place], K, rule=rule)

        rounds = [(_ms(search, len(texts)), _ms(suggest, len(typed))) for _ in range(NUM_ROUNDS + 1)][1:]
    searching, suggesting = zip(*rounds, strict=True)
    return Measurement(
        figures={
            "p99_ms": round(median(float(np.percentile(ms, 99)) for ms in searching), 2),
            "suggest_p99_ms": round(median(float(np.percentile(ms, 99)) for ms in suggesting), 2),
        },
        data=f"{NUM_ITEMS:,} titles, {len(texts):,} searches by known profiles, {len(typed):,} texts typed",
        seeds=(SEED,),
        details={
            "search_ms": [_summary(ms) for ms in searching],
            "suggest_ms": [_summary(ms) for ms in suggesting],
            "by kind, search_ms": {
                kind: _summary(searching[-1][first :: len(KINDS)]) for first, kind in enumerate(KINDS)
            },
            "seconds_to_build_and_open": round(opened, 1),
        },
    )


KINDS = (
    "title",
    "mistyped title",
    "beginning",
    "person",
    "genre and year",
    "wishes",
    "spoken",
    "mistyped words",
)
"""What the searches are, in turn."""


def searches(retriever: Retriever, num: int, rng: np.random.Generator) -> list[str]:
    """So many texts, of each kind in turn."""
    items = retriever.items
    spoken = spoken_queries()
    texts: list[str] = []
    while len(texts) < num:
        item = items[items.vocabulary.ids[int(rng.integers(len(items)))]]
        title, year = main_name(item.title), item.release_year or 1994
        person = item.cast[0] if item.cast else title
        genre = item.genres[0] if item.genres else "Comedy"
        texts += [
            title,
            mistyped(title, 2, rng),
            title[: max(2, len(title) // 2)],
            person,
            f"{genre} {year}",
            f"{year // 10 * 10}s {genre} without horror",
            spoken[int(rng.integers(len(spoken)))],
            mistyped(f"{title} {person}", 3, rng),
        ]
    return texts[:num]


def served(folder: Path, num_items: int, rng: np.random.Generator) -> Retriever:
    """A release of these titles, a drawn log and towers that are not trained."""
    items = _licensed(real_titles(num_items), rng)
    ingest(raw_from_tables(_log(items, rng)), "real titles, drawn log", folder / "tables", RuleSettings())
    dataset = dataset_from_tables(read_tables(folder / "tables"))
    parts = split(dataset, SplitSettings())
    torch.manual_seed(SEED)
    towers = TwoTower(ModelSettings(), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    texts = QueryTower(QueryTowerSettings(), ModelSettings().dim)
    torch.nn.init.normal_(texts.gram.weight, std=0.1)
    texts.learned.fill_(True)
    context = {"split": asdict(SplitSettings()), "signals": asdict(SignalSettings()), "seed": SEED}
    export(towers, dataset, parts, folder / "model", context=context, query_tower=texts)
    spec = IndexSpec(IndexKind.COMPILED, target_recall=TARGET_RECALL)
    # The licences are drawn: they are not those of the time at which something was watched.
    gates = GateSettings(max_watched_unlicensed=1.0)
    build_release(folder / "model", folder / "tables", folder / "releases", spec, gates)
    return Retriever.open(folder / "releases")


def _licensed(items: pa.Table, rng: np.random.Generator) -> pa.Table:
    """The titles, one in five licensed for Germany alone."""
    german = [{"country": "DE", "start": None, "end": None}]
    licences = [german if one else None for one in rng.random(items.num_rows) < 0.2]
    place = items.schema.get_field_index("licences")
    field = items.schema.field("licences")
    return items.set_column(place, field, pa.array(licences, field.type))


def _log(items: pa.Table, rng: np.random.Generator) -> Tables:
    """Events of profiles that watch what many do, one a day."""
    num_events = NUM_PROFILES * EVENTS_PER_PROFILE
    row = (items.num_rows * rng.random(num_events) ** 3).astype(np.int64)
    profile_id = [f"p{row}" for row in range(NUM_PROFILES)]
    day = np.tile(np.arange(EVENTS_PER_PROFILE), NUM_PROFILES)
    start = 1000 * (NOW - 86_400 * (EVENTS_PER_PROFILE - day) + rng.integers(0, 40_000, num_events))
    events = table(
        EVENTS,
        {
            "profile_id": np.repeat(profile_id, EVENTS_PER_PROFILE),
            "item_id": items["item_id"].combine_chunks().take(pa.array(row)),
            "start": pa.array(start, TIME),
            "country": ["FR"] * num_events,
        },
    )
    profiles = table(PROFILES, {"profile_id": profile_id, "country": ["FR"] * NUM_PROFILES})
    return Tables(items, events, profiles, table(QUERIES, {}))


def _ms(ask: Callable[[int], object], num: int) -> np.ndarray:
    """Milliseconds of each call."""
    taken = np.empty(num)
    for place in range(num):
        begun = time.perf_counter()
        ask(place)
        taken[place] = time.perf_counter() - begun
    return 1e3 * taken


def _summary(ms: np.ndarray | Sequence[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(ms, share)), 2) for share in (50, 90, 99)}
