"""A catalogue that changes by hand, an export of untrained towers over it, and rebuilds of its releases."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.index.upkeep import UpkeepSettings
from retrieval.rebuild.due import Retrain, Signs
from retrieval.rebuild.full import build_anew, export_anew
from retrieval.rebuild.run import Job
from retrieval.rebuild.survey import Asked
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings, LiveBounds
from retrieval.release.store import ReleaseInfo
from tests.worlds import DAY_SECONDS, SIGNALS, START_SECONDS, write_tables
from towers.data.dataset import dataset_from_tables, read_dataset
from towers.data.feature_encoder import fit_features, training_rows
from towers.data.features import FeatureSettings
from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, TIME, Tables, table
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings, split
from towers.nets.two_tower import ModelSettings, TwoTower
from towers.training.export import export

CONTEXT = {"split": {"kind": "leave_one_out", "validation_share": 0.1, "test_share": 0.1}, "signals": SIGNALS}
# Of catalogues so small a few titles are a large share, and the newest event may go with its title.
BOUNDS = LiveBounds(min_titles_kept=0.5, min_available=0.5, max_licences_changed=0.5, max_days_behind=30.0)
GATES = GateSettings(num_queries=20, k=10, live=BOUNDS)
UPKEEP = UpkeepSettings(max_added_share=1.0, max_removed_share=1.0, k=10)
EXACT = IndexSpec(IndexKind.EXACT)
GENRES = ("Comedy", "Drama", "Horror", "Western", "Romance")


@dataclass(frozen=True)
class Title:
    """A title: its name and licence, which the towers do not read, its genre and year, which they do."""

    name: str
    genre: int
    year: int
    country: str = "GB"


@dataclass(frozen=True)
class World:
    """Titles by id, and what profiles watched, oldest first."""

    titles: dict[str, Title]
    watched: dict[str, list[str]] = field(default_factory=dict)

    def with_titles(self, **titles: Title | None) -> "World":
        """The same with these titles, new or in place of others; None takes one and its watches away."""
        kept = {name: one for name, one in {**self.titles, **titles}.items() if one is not None}
        return World(kept, {who: [one for one in seen if one in kept] for who, seen in self.watched.items()})

    def with_watch(self, profile_id: str, item_id: str) -> "World":
        """The same after one more watch."""
        return World(self.titles, {**self.watched, profile_id: [*self.watched[profile_id], item_id]})

    def tables(self) -> Tables:
        """Its logs: a watch a day."""
        seen = [(who, one, day) for who, watched in self.watched.items() for day, one in enumerate(watched)]
        start_ms = [1000 * (START_SECONDS + DAY_SECONDS * day) for _, _, day in seen]
        titles = self.titles.values()
        items: dict[str, object] = {
            "item_id": list(self.titles),
            "title": [one.name for one in titles],
            "genres": [[GENRES[one.genre]] for one in titles],
            "release_year": [one.year for one in titles],
            "licences": [[{"country": one.country, "start": None, "end": None}] for one in titles],
        }
        events: dict[str, object] = {
            "profile_id": [who for who, _, _ in seen],
            "item_id": [one for _, one, _ in seen],
            "start": pa.array(start_ms, TIME),
            "minutes_watched": [90.0] * len(seen),
        }
        profiles: dict[str, object] = {
            "profile_id": list(self.watched),
            "country": ["GB"] * len(self.watched),
        }
        return Tables(
            table(ITEMS, items), table(EVENTS, events), table(PROFILES, profiles), table(QUERIES, {})
        )


def world(num_titles: int = 40, num_profiles: int = 12) -> World:
    """Titles of every genre, up to 200 each of a year of its own; each profile watched six of them."""
    rng = np.random.default_rng(0)
    titles = {f"t{row:03d}": Title(f"Name{row:03d}", row % 5, 1900 + row % 200) for row in range(num_titles)}
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

    def build(self, index: IndexSpec = EXACT) -> ReleaseInfo:
        """A release as scripts/build_index.py makes it."""
        return build_release(self.folder / "model", self.folder / "tables", self.root, index, GATES)

    def fresh(self, told: World, root: Path, index: IndexSpec = EXACT) -> ReleaseInfo:
        """A release of the same towers that is built of all that a world says now."""
        tables, made = root / "tables", root / "export"
        write_tables(told.tables(), tables)
        export_anew(made, self.folder / "model", CONTEXT, read_dataset(tables, SignalSettings()))
        return build_anew(made, tables, root / "releases", index, GATES, None)

    def job(
        self,
        told: World,
        *,
        index: IndexSpec = EXACT,
        train: Callable[[], None] | None = None,
        **asked: object,
    ) -> Job:
        """A rebuild to which a world says what there is now."""
        wanted = Asked(index, None, 1e-4, Retrain.DUE, Signs(), START_SECONDS + 60 * DAY_SECONDS)
        wanted = replace(wanted, **asked)  # type: ignore[arg-type]
        return Job(
            self.folder,
            wanted,
            GATES,
            UPKEEP,
            lambda tables, order_of: write_tables(told.tables(), tables, order_of),
            train or _no_training,
        )


def _no_training() -> None:
    raise AssertionError("towers are trained; expected that nobody does")


def artifacts(folder: Path, told: World) -> Artifacts:
    """Untrained towers over what a world says, exported."""
    tables = told.tables()
    train(tables, folder)
    write_tables(tables, folder / "tables")
    return Artifacts(folder)


def train(tables: Tables, folder: Path, seed: int = 0) -> None:
    """Exports towers that were drawn, not learned."""
    dataset = dataset_from_tables(tables)
    parts = split(dataset, SplitSettings())
    torch.manual_seed(seed)
    encoder = fit_features(*training_rows(dataset, parts), FeatureSettings())
    export(TwoTower(ModelSettings(dim=16), encoder), dataset, parts, folder / "model", context=CONTEXT)
