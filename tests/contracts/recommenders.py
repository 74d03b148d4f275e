"""Every Recommender that the contract suite runs through, and the little world they are made in.

To hold another recommender to the contract, append one Factory to FACTORIES.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.build_rung import Learned, ListSettings, release_rung
from retrieval.release.gates import GateSettings
from retrieval.retriever import Retriever
from tests.worlds import SIGNALS, write_tables
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.feature_encoder import fit_features
from towers.data.features import FeatureSettings
from towers.data.histories import Histories
from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, Tables, table
from towers.data.split import SplitSettings, split
from towers.evaluation.exact import ExactRecommender
from towers.ladder.affinity import fit_genre_affinity
from towers.ladder.continuing import fit_continuing
from towers.ladder.country import fit_country_popular
from towers.ladder.decayed import DecayedSettings, fit_decayed
from towers.ladder.ensemble import BlendSettings, FusionSettings, fit_blend, fit_fusion
from towers.ladder.factorisation import EASESettings, fit_ease, fit_ials
from towers.ladder.heuristics import PopularSettings, fit_popular
from towers.ladder.linear import fit_linear
from towers.ladder.markov import fit_markov
from towers.ladder.more_of import fit_more_of
from towers.ladder.neighbours import ItemKNNSettings, fit_item_knn
from towers.ladder.profiles import fit_profile_knn
from towers.ladder.trees import fit_trees
from towers.ladder.trending import TrendingSettings, fit_trending
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.recommender import Queries, Recommender
from towers.training.export import export

NUM_ITEMS = 30
NUM_PROFILES = 12
START_SECONDS = 1_700_000_000


@dataclass(frozen=True, slots=True)
class World:
    """A catalogue with behaviour, and questions that any recommender of it must be able to answer.

    queries: some with a history of train profiles, one of a new profile, one that watched one item.
    """

    tables: Tables
    dataset: Dataset
    queries: Queries


@dataclass(frozen=True, slots=True)
class Factory:
    """A name for the test's id, and what makes a Recommender of the world; the folder is an empty one."""

    name: str
    make: Callable[[World, Path], Recommender]


def queries_of(histories: list[list[int]]) -> Queries:
    """Questions with these item rows as histories, one watched an hour before the next."""
    lengths = [len(history) for history in histories]
    ages = [np.arange(length, 0, -1) for length in lengths]
    now = START_SECONDS + 90 * 86_400
    history = Histories(
        offset=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]),
        item_row=np.array([row for history in histories for row in history], dtype=np.int64),
        time_seconds=now - 3600 * np.concatenate([np.zeros(0, np.int64), *ages]).astype(np.int64),
        minutes=np.full(sum(lengths), 50.0, dtype=np.float32),
    )
    times = np.full(len(histories), now, dtype=np.int64)
    return Queries(history, times, np.full(len(histories), "SE"))


def make_world() -> World:
    """A world of 30 titles in two tastes and 12 profiles; the last title was never watched."""
    rng = np.random.default_rng(7)
    watched: list[tuple[int, int, int]] = []
    for profile in range(NUM_PROFILES):
        weight = np.where(np.arange(NUM_ITEMS - 1) % 2 == profile % 2, 5.0, 1.0)
        items = rng.choice(NUM_ITEMS - 1, size=4 + profile, replace=False, p=weight / weight.sum())
        watched += [(profile, item, place) for place, item in enumerate(items.tolist())]
    tables = _tables(watched)
    dataset = dataset_from_tables(tables)
    histories = [dataset.history.items_of(profile).tolist() for profile in range(NUM_PROFILES)]
    return World(tables, dataset, queries_of([*histories, [], [3]]))


def _tables(watched: list[tuple[int, int, int]]) -> Tables:
    genres = [["Drama"] if row % 2 else ["Comedy", "Family"] for row in range(NUM_ITEMS)]
    items: dict[str, object] = {
        "item_id": [f"m{row:02d}" for row in range(NUM_ITEMS)],
        "title": [f"Title {row:02d}" for row in range(NUM_ITEMS)],
        "release_year": [1990 + row for row in range(NUM_ITEMS)],
        "genres": genres,
    }
    events: dict[str, object] = {
        "profile_id": [f"p{profile:02d}" for profile, _, _ in watched],
        "item_id": [f"m{item:02d}" for _, item, _ in watched],
        "start": [1000 * (START_SECONDS + 86_400 * place + 60 * profile) for profile, _, place in watched],
        "minutes_watched": [float(20 + item) for _, item, _ in watched],
    }
    profiles: dict[str, object] = {
        "profile_id": [f"p{profile:02d}" for profile in range(NUM_PROFILES)],
        "country": ["SE"] * NUM_PROFILES,
    }
    return Tables(table(ITEMS, items), table(EVENTS, events), table(PROFILES, profiles), table(QUERIES, {}))


def _popular(world: World, folder: Path) -> Recommender:
    return fit_popular(world.dataset.history, NUM_ITEMS)


def _popular_lately(world: World, folder: Path) -> Recommender:
    return fit_popular(world.dataset.history, NUM_ITEMS, PopularSettings(days=3.0))


def _item_knn(world: World, folder: Path) -> Recommender:
    return fit_item_knn(world.dataset.history, NUM_ITEMS)


def _plain_item_knn(world: World, folder: Path) -> Recommender:
    settings = ItemKNNSettings(num_neighbours=3, shrinkage=0.0, recency=0.0)
    return fit_item_knn(world.dataset.history, NUM_ITEMS, settings)


def _fitted(fit: Callable[[Dataset], Recommender]) -> Callable[[World, Path], Recommender]:
    return lambda world, folder: fit(world.dataset)


def _members(train: Histories) -> dict[str, Recommender]:
    return {"markov": fit_markov(train, NUM_ITEMS), "popular": fit_popular(train, NUM_ITEMS)}


def _blend(dataset: Dataset) -> Recommender:
    parts = split(dataset, SplitSettings())
    return fit_blend(_members(parts.train), parts.validation, BlendSettings(depth=4))


def _with_series(items: pa.Table) -> pa.Table:
    """The catalogue with titles 1 to 9 as episodes of the first, and 11 to 15 of the tenth."""
    series = [None, *["m00"] * 9, None, *["m10"] * 5, *[None] * 14]
    return items.set_column(
        items.schema.get_field_index("series_id"), ITEMS.field("series_id"), [pa.array(series, pa.string())]
    )


def _exact(world: World, folder: Path) -> Recommender:
    vectors = np.random.default_rng(11).normal(size=(NUM_ITEMS, 8)).astype(np.float32)

    def encode(queries: Queries) -> np.ndarray:
        sums = np.ones((len(queries), 8), dtype=np.float32)
        np.add.at(sums, queries.history.profile_rows(), vectors[queries.history.item_row])
        return sums

    return ExactRecommender(encode, vectors)


def _towers(world: World, folder: Path) -> Recommender:
    """Towers as they are before training: the contract holds for any weights."""
    towers = _new_towers(world)
    vectors = towers.embed(towers.encoder.encode(world.dataset.items))
    item = torch.from_numpy(vectors)
    return ExactRecommender(lambda queries: towers.encode(queries, item), vectors)


def _served(kind: IndexKind, num_interests: int = 1) -> Callable[[World, Path], Recommender]:
    def make(world: World, folder: Path) -> Recommender:
        write_tables(world.tables, folder / "tables")
        parts = split(world.dataset, SplitSettings())
        export(
            _new_towers(world, num_interests),
            world.dataset,
            parts,
            folder / "model",
            context={"title": "contract", "signals": SIGNALS},
        )
        build_release(
            folder / "model", folder / "tables", folder / "releases", IndexSpec(kind), GateSettings(k=10)
        )
        return Retriever.open(folder / "releases")

    return make


def _released(fit: Callable[[Dataset], Recommender]) -> Callable[[World, Path], Recommender]:
    """The Retriever of a rung's release; its lists are shorter than some answers asked for."""

    def make(world: World, folder: Path) -> Recommender:
        num_events = np.bincount(world.dataset.history.item_row, minlength=NUM_ITEMS)
        learned = Learned(world.dataset, num_events, {"title": "contract"})
        release_rung(fit(world.dataset), learned, folder, IndexSpec(), ListSettings(12), GateSettings(k=10))
        return Retriever.open(folder)

    return make


def _new_towers(world: World, num_interests: int = 1) -> TwoTower:
    torch.manual_seed(0)
    encoder = fit_features(world.dataset.items, world.dataset.profile_table, FeatureSettings())
    settings = ModelSettings(dim=16, num_layers=1, num_interests=num_interests)
    return TwoTower(settings, encoder).eval()


FACTORIES: tuple[Factory, ...] = (
    Factory("popular", _popular),
    Factory("popular_lately", _popular_lately),
    Factory("item_knn", _item_knn),
    Factory("plain_item_knn", _plain_item_knn),
    Factory("decayed", _fitted(lambda d: fit_decayed(d.history, NUM_ITEMS, DecayedSettings(2.0)))),
    Factory("country", _fitted(lambda d: fit_country_popular(d.history, NUM_ITEMS, d.country))),
    Factory(
        "trending",
        _fitted(lambda d: fit_trending(d.history, NUM_ITEMS, TrendingSettings(2.0, 4.0, 1.0))),
    ),
    Factory("genre_affinity", _fitted(lambda d: fit_genre_affinity(d.history, d.items))),
    Factory("more_of", _fitted(lambda d: fit_more_of(d.history, d.items))),
    Factory("continuing", _fitted(lambda d: fit_continuing(d.history, _with_series(d.items)))),
    Factory("profile_knn", _fitted(lambda d: fit_profile_knn(d.history, NUM_ITEMS))),
    Factory("markov", _fitted(lambda d: fit_markov(d.history, NUM_ITEMS))),
    Factory("ease", _fitted(lambda d: fit_ease(d.history, NUM_ITEMS))),
    Factory("ease_of_few", _fitted(lambda d: fit_ease(d.history, NUM_ITEMS, EASESettings(max_items=7)))),
    Factory("ials", _fitted(lambda d: fit_ials(d.history, NUM_ITEMS))),
    Factory("linear", _fitted(lambda d: fit_linear(d.history, d.items, d.country))),
    Factory("trees", _fitted(lambda d: fit_trees(d.history, d.items, d.country))),
    Factory("fusion", _fitted(lambda d: fit_fusion(_members(d.history)))),
    Factory("shallow_fusion", _fitted(lambda d: fit_fusion(_members(d.history), FusionSettings(depth=4)))),
    Factory("blend", _fitted(_blend)),
    Factory("exact", _exact),
    Factory("towers", _towers),
    Factory("served_flat", _served(IndexKind.FLAT)),
    Factory("served_hnsw", _served(IndexKind.HNSW)),
    Factory("served_interests_flat", _served(IndexKind.FLAT, 3)),
    Factory("served_interests_hnsw", _served(IndexKind.HNSW, 3)),
    Factory("served_factors", _released(lambda d: fit_ials(d.history, NUM_ITEMS))),
    Factory("served_lists", _released(lambda d: fit_item_knn(d.history, NUM_ITEMS))),
)
