"""A catalogue that changes by hand, an export of untrained towers over it, and its releases."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from retrieval.release.store import ReleaseInfo
from tests.worlds import SIGNALS, START_SECONDS, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, TIME, Tables, table
from towers.data.split import SplitSettings, split
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

CONTEXT = {"split": {"kind": "leave_one_out", "validation_share": 0.1, "test_share": 0.1}, "signals": SIGNALS}
GATES = GateSettings(num_queries=20, k=10)
EXACT = IndexSpec(IndexKind.EXACT)
GENRES = ("Comedy", "Drama", "Horror", "Western", "Romance")


@dataclass(frozen=True)
class Title:
    """A title: its name and genre, which the towers read, and where it has a licence, which they do not."""

    name: str
    genre: int
    country: str = "GB"


@dataclass(frozen=True)
class World:
    """Titles by id, and what profiles watched, oldest first."""

    titles: dict[str, Title]
    watched: dict[str, list[str]] = field(default_factory=dict)

    def with_titles(self, **titles: Title | None) -> "World":
        """The same with these titles, new or in place of others; None takes one away, and its watches."""
        kept = {name: one for name, one in {**self.titles, **titles}.items() if one is not None}
        watched = {who: [one for one in seen if one in kept] for who, seen in self.watched.items()}
        return World(kept, watched)

    def tables(self) -> Tables:
        """Its logs: a watch a day."""
        seen = [(who, one, day) for who, list_ in self.watched.items() for day, one in enumerate(list_)]
        start = [1000 * (START_SECONDS + 86_400 * day) for _, _, day in seen]
        return Tables(
            items=table(
                ITEMS,
                {
                    "item_id": list(self.titles),
                    "title": [one.name for one in self.titles.values()],
                    "genres": [[GENRES[one.genre]] for one in self.titles.values()],
                    "release_year": [1950 + 7 * one.genre for one in self.titles.values()],
                    "licences": [
                        [{"country": one.country, "start": None, "end": None}] for one in self.titles.values()
                    ],
                },
            ),
            events=table(
                EVENTS,
                {
                    "profile_id": [who for who, _, _ in seen],
                    "item_id": [one for _, one, _ in seen],
                    "start": np.array(start, "datetime64[ms]") if not start else _times(start),
                    "minutes_watched": [90.0] * len(seen),
                    "country": ["GB"] * len(seen),
                },
            ),
            profiles=table(
                PROFILES, {"profile_id": list(self.watched), "country": ["GB"] * len(self.watched)}
            ),
            queries=table(QUERIES, {}),
        )


def _times(start_ms: list[int]) -> object:
    import pyarrow as pa

    return pa.array(start_ms, TIME)


def world(num_titles: int = 40, num_profiles: int = 12, seed: int = 0) -> World:
    """Titles of every genre; each profile watched six of them."""
    rng = np.random.default_rng(seed)
    titles = {f"t{row:03d}": Title(f"Name{row:03d}", row % len(GENRES)) for row in range(num_titles)}
    watched = {
        f"p{row}": [f"t{one:03d}" for one in rng.permutation(num_titles)[:6]] for row in range(num_profiles)
    }
    return World(titles, watched)


@dataclass(frozen=True)
class Artifacts:
    """A folder as scripts/train.py leaves it, with its releases."""

    folder: Path

    @property
    def root(self) -> Path:
        """Its releases."""
        return self.folder / "releases"

    def say(self, told: World, name: str = "newer") -> Path:
        """Ingests what a world says now; the folder of its tables."""
        write_tables(told.tables(), self.folder / name)
        return self.folder / name

    def build(self, index: IndexSpec = EXACT) -> ReleaseInfo:
        """A release as scripts/build_index.py makes it."""
        return build_release(self.folder / "model", self.folder / "tables", self.root, index, GATES)


def artifacts(folder: Path, told: World, dim: int = 16) -> Artifacts:
    """Untrained towers over what a world says, exported."""
    tables = told.tables()
    dataset = dataset_from_tables(tables)
    parts = split(dataset, SplitSettings())
    torch.manual_seed(0)
    towers = TwoTower(ModelSettings(dim=dim), fit_features(*training_rows(dataset, parts), FeatureSettings()))
    write_tables(tables, folder / "tables")
    export(towers, dataset, parts, folder / "model", context=CONTEXT)
    return Artifacts(folder)


__all__ = ["EXACT", "GATES", "Artifacts", "Title", "World", "artifacts", "replace", "world"]
