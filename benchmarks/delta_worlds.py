"""What the rebuild job makes of a live release of the claim `gates`: its releases, and the newer tables.

A live release is a build of towers over the tables of a day, or a delta upon one. One title in a hundred is
left out of its tables, with what was watched of it. Newer tables are those of the same day or a later one:
they have these titles and what came since, other facts of some titles, and some titles no longer.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.claims import BenchmarkError
from benchmarks.gate_faults import published
from benchmarks.gate_worlds import GateWorld, Made, export_over, ingest_tables
from retrieval.index.spec import IndexSpec
from retrieval.index.upkeep import UpkeepSettings
from retrieval.rebuild.due import Retrain, Signs
from retrieval.rebuild.plan import Work
from retrieval.rebuild.run import Job, rebuild
from retrieval.rebuild.summary import Outcome, Summary
from retrieval.rebuild.survey import Asked
from retrieval.release.gates import GateSettings
from retrieval.release.linked import link_tree
from retrieval.release.writer import CURRENT_FILE
from towers.data.schema import Tables, read_tables

_NEW_SHARE, _REMOVED_SHARE, _CHANGED_SHARE = 0.01, 0.01, 0.003


@dataclass(frozen=True, slots=True)
class Live:
    """A live release: of which towers and day; chained where it is itself a delta, upon such a build."""

    made: Made
    chained: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A live release, the day of the newer tables, and what chance draws the changes of them."""

    live: Live
    day: int
    seed: int


def steps(world: GateWorld, num: int) -> Iterator[Step]:
    """So many steps, of every live release and every day that is not before it in turn."""
    days = range(len(world.days))
    every = [
        (Live(Made(model, live), chained), newer)
        for model in world.models
        for live in days
        for newer in days
        if model.day <= live <= newer
        for chained in (False, True)
    ]
    for turn in range(num):
        live, day = every[turn % len(every)]
        yield Step(live, day, turn)


class LiveReleases:
    """The folders of artifacts whose releases are live, each made when it is first asked for."""

    def __init__(self, world: GateWorld, folder: Path) -> None:
        self.world, self._folder = world, folder

    def artifacts(self, step: Step, folder: Path) -> Path:
        """A folder of artifacts with the live release of a step, whose files are links to those kept here."""
        _link_releases(self._live(step.live), folder)
        return folder

    def newer(self, step: Step) -> Tables:
        """The newer tables of a step, as they honestly are."""
        return _changed(read_tables(self.world.tables(step.day)), np.random.default_rng([1, step.seed]))

    def _live(self, live: Live) -> Path:
        model = live.made.model
        name = f"live-{model.day}-{model.seed}-{live.made.day}{'-chained' * live.chained}"
        folder = self._folder / name
        if not folder.is_dir():
            (self._chained if live.chained else self._built)(live, folder)
        return folder

    def _built(self, live: Live, folder: Path) -> None:
        tables, made = read_tables(self.world.tables(live.made.day)), live.made
        rng = np.random.default_rng([0, made.model.day, made.model.seed, made.day])
        ingest_tables(with_titles(tables, rng.random(tables.items.num_rows) >= _NEW_SHARE), folder / "tables")
        export_over(self.world.trained(made.model), folder / "tables", folder / "export")
        published(folder / "export", folder / "tables", folder / "releases", becomes_current=True)

    def _chained(self, live: Live, folder: Path) -> None:
        """A delta upon the build, which has half of what was left out of that."""
        built = self._live(replace(live, chained=False))
        _link_releases(built, folder)
        whole, known = read_tables(self.world.tables(live.made.day)), read_tables(built / "tables").items
        left_out = ~pc.is_in(whole.items["item_id"], value_set=known["item_id"].combine_chunks()).to_numpy()
        kept = ~left_out | (np.cumsum(left_out) % 2 == 0)
        summary = rebuilt(folder, with_titles(whole, kept))
        planned = None if summary.plan is None else summary.plan.work
        if (summary.outcome, planned) != (Outcome.PUBLISHED, Work.DELTA):
            raise BenchmarkError(f"{folder}: the job ended with {summary.to_json()}; expected a delta")


def _link_releases(source: Path, artifacts: Path) -> None:
    """The releases of one folder of artifacts in another; what names the current one is a file of its own."""
    link_tree(source / "releases", artifacts / "releases")
    (artifacts / "releases" / CURRENT_FILE).unlink()
    shutil.copyfile(source / "releases" / CURRENT_FILE, artifacts / "releases" / CURRENT_FILE)


def rebuilt(artifacts: Path, tables: Tables) -> Summary:
    """The rebuild job's run over newer tables, by gates and upkeep as they stand where nothing is set."""

    def train() -> None:
        raise BenchmarkError(f"{artifacts}: the job trains towers; expected that it never does")

    gates = GateSettings()
    asked = Asked(IndexSpec(), None, gates.max_parity_error, Retrain.NEVER, Signs(), 0)
    upkeep = UpkeepSettings()

    def ingest(folder: Path, order_of: Path | None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        ingest_tables(tables, folder, order_of)

    return rebuild(Job(artifacts, asked, gates, upkeep, ingest, train))


def with_titles(tables: Tables, kept: np.ndarray) -> Tables:
    """The tables of the titles kept, bool (n,), and what was watched of them."""
    items = tables.items.filter(pa.array(kept))
    known = pc.is_in(tables.events["item_id"], value_set=items["item_id"].combine_chunks())
    return replace(tables, items=items, events=tables.events.filter(known))


def _changed(tables: Tables, rng: np.random.Generator) -> Tables:
    """Some titles have gone, and some have the genres and the year of another."""
    tables = with_titles(tables, rng.random(tables.items.num_rows) >= _REMOVED_SHARE)
    items = tables.items
    changed = np.flatnonzero(rng.random(items.num_rows) < _CHANGED_SHARE)
    source = np.arange(items.num_rows)
    source[changed] = rng.integers(items.num_rows, size=len(changed))
    for name in ("genres", "sub_genres", "release_year"):
        place = items.schema.get_field_index(name)
        items = items.set_column(place, items.schema.field(place), items[name].take(pa.array(source)))
    return replace(tables, items=items)
