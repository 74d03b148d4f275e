"""Claim `control`: no answer breaks what a viewer decided, in a million random requests.

The titles of four streaming catalogues, with their certificates, genres and people; profiles with random
histories; towers as they are before training, which no promise here depends on. Every profile of each round
gets other random controls and is answered in a batch; a part of the requests is made one by one, of every
kind: recommend, with and without a history given, search, suggest and similar, by the store of controls on
disk. `control_oracle` says from the raw rows what is forbidden. A violation is a title that is forbidden or
watched, a short answer where more could be shown, and an answer without personalisation that differs from
another's of the same controls.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.control_oracle import Oracle, Viewers
from benchmarks.measurement import Measurement
from benchmarks.streaming_titles import data_folder
from retrieval.batch import recommend_all
from retrieval.control.controls import Controls
from retrieval.control.store import CONTROLS_FILE, ControlsStore
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.read import Release, read_release
from retrieval.retriever import Retriever
from retrieval.vectors import VectorAnswers
from towers.data.dataset import dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import raw_from_tables
from towers.data.schema import EVENTS, PROFILES, QUERIES, TIME, Tables, read_table, read_tables, table
from towers.data.signals.settings import SignalSettings
from towers.data.sources.catalogues import CatalogueSettings
from towers.data.sources.read import ingest_source
from towers.data.split import SplitSettings, split
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

_NUM_ITEMS, _NUM_PROFILES, _POOL = 8_000, 5_000, 2_000
_NUM_BATCH, _NUM_SINGLE = 1_000_000, 10_000
_K = 20
# Questions of every kind to one profile before its controls change: a PIN takes a while to set.
_TURNS = 3
_MOST_TIES = 20
_COUNTRIES = ("FR", "DE", "US", "")
_TEXTS = ("without horror", "comedies for kids", "the", "love", "xqzw vv", "drama 2019", "murder mystery")


def measure() -> Measurement:
    """A million requests, some minutes."""
    with TemporaryDirectory() as folder:
        release = made(Path(folder), _NUM_ITEMS, _NUM_PROFILES)
        return measured(release, Path(folder), _POOL, _NUM_BATCH, _NUM_SINGLE)


@dataclass(slots=True)
class _Drawn:
    """The controls of a round: each profile's are of a pool, by chance."""

    pool: Sequence[Controls]
    of_profile: dict[str, int]

    def of(self, profile_id: str) -> Controls:
        return self.pool[self.of_profile[profile_id]]

    def of_many(self, profile_ids: Sequence[str]) -> list[Controls]:
        return list(map(self.of, profile_ids))


def measured(release: Release, folder: Path, pool: int, num_batch: int, num_single: int) -> Measurement:
    """The figures over one release; pool: distinct controls of the requests in batches."""
    assert isinstance(release.answers, VectorAnswers)
    oracle = Oracle(release.catalogue.table, release.answers.vectors)
    viewers, rng = Viewers(oracle, seed=0), random.Random(1)
    controls = [viewers.draw() for _ in range(pool)]
    forbidden = [oracle.forbidden(one) for one in controls]
    requests = violations = num_empty = 0
    while requests < num_batch:
        drawn = _Drawn(controls, {one: rng.randrange(pool) for one in release.profiles.profiles.ids})
        answers, path = Retriever(release, drawn), folder / "answers.parquet"
        recommend_all(answers, path, _K)
        off: dict[int, list[str]] = {}
        for line in pq.read_table(path, columns=["profile_id", "item_id"]).to_pylist():
            which, found = drawn.of_profile[line["profile_id"]], line["item_id"]
            seen = _watched(release, line["profile_id"], controls[which])
            violations += _breaks(found, forbidden[which], seen, _K, oracle)
            if not controls[which].personalised:
                violations += off.setdefault(which, found) != found
            num_empty += not found
            requests += 1
    kinds, broken = _singly(release, folder, oracle, viewers, num_single)
    return Measurement(
        figures={"requests": requests + sum(kinds.values()), "violations": violations + broken},
        data=f"{len(oracle.ids):,} titles of svod-catalogues, {len(release.profiles.profiles):,} profiles",
        seeds=(0, 1),
        details={
            "requests by kind": {"batch": requests, **kinds},
            "titles forbidden, quartiles": np.percentile(list(map(len, forbidden)), [25, 50, 75]).tolist(),
            "answers without a title that may be shown": num_empty,
        },
    )


def _singly(
    release: Release, folder: Path, oracle: Oracle, viewers: Viewers, num: int
) -> tuple[dict[str, int], int]:
    """Requests one by one, by a store on disk: how many of each kind, and violations."""
    store, rng = ControlsStore.create(folder / CONTROLS_FILE), random.Random(2)
    retriever = Retriever(release, store)
    kinds, violations = dict.fromkeys(("recommend", "history", "search", "suggest", "similar"), 0), 0
    while sum(kinds.values()) < num:
        profile_id = rng.choice(release.profiles.profiles.ids)
        decided = viewers.draw(list(dict.fromkeys(_history(release, profile_id))))
        store.forget(profile_id)
        if decided.age_limit is not None:
            store.set_pin(profile_id, "4711")
        store.change(profile_id, lambda _, to=decided: to)  # type: ignore[misc]
        forbidden, seen = oracle.forbidden(decided), _watched(release, profile_id, decided)
        for _ in range(_TURNS):
            title, given = rng.choice(oracle.ids), rng.sample(oracle.ids, 5)
            text = rng.choice([*_TEXTS, retriever.items[title].title])
            told = frozenset(given) - {*decided.removed, *decided.less_like}
            # What is left out besides; None where what a text finds may be fewer than k.
            left_out: dict[str, frozenset[str] | None] = {
                "recommend": seen,
                "history": told if decided.personalised else frozenset(),
                "search": None,
                "suggest": None,
                "similar": frozenset([title]),
            }
            for kind, found in _answers(retriever, profile_id, given, text, title).items():
                besides = left_out[kind]
                k = None if besides is None else _K
                violations += _breaks(found, forbidden, besides or frozenset(), k, oracle)
                kinds[kind] += 1
    return kinds, violations


def _answers(
    retriever: Retriever, profile_id: str, given: list[str], text: str, item_id: str
) -> dict[str, Sequence[str]]:
    """What one profile is answered to every kind of question."""
    return {
        "recommend": retriever.recommend(profile_id, k=_K).item_id,
        "history": retriever.recommend(profile_id, history=given, k=_K).item_id,
        "search": retriever.search(text, profile_id=profile_id, k=_K).item_id,
        "suggest": retriever.suggest(text[:3], _K, profile_id=profile_id),
        "similar": retriever.similar(item_id, _K, profile_id=profile_id).item_id,
    }


def _breaks(
    found: Sequence[str], forbidden: frozenset[str], seen: frozenset[str], k: int | None, oracle: Oracle
) -> bool:
    """Whether an answer holds what it must not, or a title twice, or is short of k where more may be shown.

    Of titles like those of which less is wanted ties are not told: a few more may be left out.
    """
    if not forbidden.isdisjoint(found) or not seen.isdisjoint(found) or len(set(found)) < len(found):
        return True
    if k is None or len(found) == k:
        return False
    return len(found) < min(k, len(oracle.ids) - len(forbidden | seen) - _MOST_TIES)


def _history(release: Release, profile_id: str) -> list[str]:
    rows = release.profiles.history.items_of(release.profiles.profiles.row(profile_id))
    return [release.catalogue.vocabulary.ids[row] for row in rows.tolist()]


def _watched(release: Release, profile_id: str, controls: Controls) -> frozenset[str]:
    """What of a history is left out of answers: none of it where it is not read."""
    if not controls.personalised:
        return frozenset()
    return frozenset(_history(release, profile_id)) - {*controls.removed, *controls.less_like}


def made(folder: Path, num_items: int, num_profiles: int) -> Release:
    """A release of so many titles and profiles, built, published and read back."""
    ingest_source(
        CatalogueSettings(str(data_folder("svod-catalogues"))),
        folder / "raw",
        RuleSettings(),
        SignalSettings(),
        None,
    )
    items = read_table(folder / "raw", "items")
    spread = np.unique(np.linspace(0, items.num_rows - 1, num_items).astype(int))
    items = items.take(pa.array(spread)).combine_chunks()
    rng = np.random.default_rng(0)
    length = rng.integers(1, 30, num_profiles)
    who = np.repeat(np.arange(num_profiles), length)
    what = rng.integers(0, items.num_rows, len(who))
    start = 1_700_000_000_000 + rng.integers(0, 10**10, len(who))
    country = [_COUNTRIES[one] or None for one in rng.integers(0, len(_COUNTRIES), num_profiles)]
    tables = Tables(
        items=items,
        events=table(
            EVENTS,
            {
                "profile_id": [f"p{one}" for one in who.tolist()],
                "item_id": items["item_id"].take(pa.array(what)),
                "start": pa.array(start, pa.int64()).cast(TIME),
            },
        ),
        profiles=table(
            PROFILES, {"profile_id": [f"p{one}" for one in range(num_profiles)], "country": country}
        ),
        queries=table(QUERIES, {}),
    )
    ingest(raw_from_tables(tables), "random histories", folder / "tables", RuleSettings())
    dataset = dataset_from_tables(read_tables(folder / "tables"))
    parts = split(dataset, SplitSettings())
    torch.manual_seed(0)
    towers = TwoTower(ModelSettings(dim=32), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    context = {"split": asdict(SplitSettings()), "signals": asdict(SignalSettings()), "seed": 0}
    export(towers, dataset, parts, folder / "model", context=context)
    spec, gates = IndexSpec(IndexKind.EXACT), GateSettings()
    build_release(folder / "model", folder / "tables", folder / "releases", spec, gates)
    return read_release(folder / "releases")
