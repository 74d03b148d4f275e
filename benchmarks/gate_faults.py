"""Faults of releases, as they come about: put into copies of an export and of its tables before the build."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from safetensors.numpy import load_file, save_file

from benchmarks.gate_worlds import GateWorld, Honest, export_over, ingest_tables, with_feed
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.build_rung import Learned, ListSettings, release_rung
from retrieval.release.gates import GateSettings
from retrieval.release.store import ReleaseInfo
from towers.data.dataset import read_dataset
from towers.data.schema import Tables, read_tables
from towers.data.signals.settings import signals_of
from towers.data.split import split, split_of
from towers.evaluation.measured import measured
from towers.exported import FINGERPRINT, MODEL_FILE, TRAINING_FILE, VECTORS_FILE, WEIGHTS_FILE, read_context
from towers.ladder.heuristics import fit_popular
from towers.nets.two_tower import TwoTower, fingerprint, load_towers, save_towers


@dataclass(slots=True)
class Broken:
    """A release to be with a fault: copies of its export and tables, and how it is built.

    turn: which injection it is; every way in which the fault comes about has its turn.
    build: gives the release published beside the live one; raises what stops it.
    """

    model: Path
    tables: Path
    pair: Honest
    turn: int
    by_popularity: bool = False

    @property
    def rng(self) -> np.random.Generator:
        """Chance of this injection."""
        return np.random.default_rng(self.turn)

    def build(self, root: Path) -> ReleaseInfo:
        """Builds it with its gates; it does not become current, which no gate looks at."""
        if self.by_popularity:
            return _published_popularity(self, root)
        return published(self.model, self.tables, root, becomes_current=False)

    def ingest(self, tables: Tables) -> None:
        """Takes other tables in place of what is there, as scripts/ingest.py would."""
        ingest_tables(tables, self.tables)


def published(model: Path, tables: Path, root: Path, *, becomes_current: bool) -> ReleaseInfo:
    """The release of an export by the gates as they stand in conf/gates/standard.yaml."""
    return build_release(model, tables, root, IndexSpec(), GateSettings(), becomes_current=becomes_current)


def shuffled_ids(world: GateWorld, broken: Broken) -> None:
    """Vectors and ids do not belong together: by another order of one, or of an id map inside the model."""
    rng = broken.rng
    match broken.turn % 4:
        case 0:  # the vectors were written in another order, by a job with several workers
            arrays = load_file(broken.model / VECTORS_FILE)
            order = rng.permutation(len(arrays["vector"]))
            _save_vectors(broken.model, arrays["vector"][order], arrays["num_events"])
        case 1:  # a line was lost at the beginning: all are shifted by one
            arrays = load_file(broken.model / VECTORS_FILE)
            _save_vectors(broken.model, np.roll(arrays["vector"], 1, axis=0), arrays["num_events"])
        case 2:  # ids were joined to the titles by place, after another sort; the log knows the right ones
            _replace_ids(broken, lambda ids: [ids[place] for place in rng.permutation(len(ids))])
            _exported_again(broken)
        case _:  # the same, sorted by id where the titles are not
            _replace_ids(broken, lambda ids: sorted(ids, key=lambda each: each[::-1]))
            _exported_again(broken)


def popularity_collapse(world: GateWorld, broken: Broken) -> None:
    """Everybody is shown what is popular: the user tower has collapsed, or a heuristic took its place."""
    if broken.turn % 4 == 3:
        broken.by_popularity = True
        return
    towers = load_towers(broken.model)
    arrays = load_file(broken.model / VECTORS_FILE)
    top = np.argsort(-arrays["num_events"], kind="stable")[: 10 + 10 * (broken.turn % 5)]
    direction = arrays["vector"][top].mean(axis=0)
    collapse_users(towers, direction, 5.0 + broken.turn)
    save_towers(towers, broken.model)
    _save_vectors(broken.model, arrays["vector"], arrays["num_events"])
    _measured_again(broken)


def nan_rows(world: GateWorld, broken: Broken) -> None:
    """Numbers that are none: in rows of the vectors, or in weights, from which they spread."""
    rng, bad = broken.rng, np.float32((np.nan, np.inf)[broken.turn % 2])
    arrays = load_file(broken.model / VECTORS_FILE)
    match broken.turn % 4:
        case 0 | 1:
            rows = rng.choice(len(arrays["vector"]), 1 + broken.turn, replace=False)
            arrays["vector"][rows, rng.integers(arrays["vector"].shape[1])] = bad
            _save_vectors(broken.model, arrays["vector"], arrays["num_events"])
        case _:
            nan_in_users(broken.model, bad, rng)
            _save_vectors(broken.model, arrays["vector"], arrays["num_events"])


def wrong_tower(world: GateWorld, broken: Broken) -> None:
    """Towers of another training, or of another service, of the same width."""
    own = broken.pair.candidate.model
    other = world.models[
        (world.models.index(own) + 1 + broken.turn // 4 % (len(world.models) - 1)) % len(world.models)
    ]
    arrays = load_file(broken.model / VECTORS_FILE)
    match broken.turn % 4:
        case 0:  # the weights were copied from another training, the vectors were not
            copy_towers(world.trained(other), broken.model)
        case 1:  # the same, of vectors written before they named their towers
            copy_towers(world.trained(other), broken.model)
            save_file(arrays, broken.model / VECTORS_FILE)
        case 2:  # the user tower alone is of another training, and everything says that it belongs
            ours, theirs = (load_towers(each) for each in (broken.model, world.another()))
            state = {
                name: theirs.state_dict()[name] if _fits(name, theirs, value) else value
                for name, value in ours.state_dict().items()
            }
            ours.load_state_dict(state)
            save_towers(ours, broken.model)
            _save_vectors(broken.model, arrays["vector"], arrays["num_events"])
        case _:  # the export of another service, whose titles have the same ids
            copy_towers(world.another(), broken.model)
            _exported_again(broken)


def half_missing(world: GateWorld, broken: Broken) -> None:
    """Half of the catalogue is not there: the feed broke off, or left out what is new, old or of a kind."""
    items = read_tables(broken.tables).items
    num, half = items.num_rows, items.num_rows // 2
    match broken.turn % 4:
        case 0:  # broke off in the middle
            kept = np.arange(num) < half
        case 1:  # one of two parts did not arrive
            kept = broken.rng.random(num) < 0.5
        case 2:  # the newer half
            years = np.array([year or 0 for year in items["release_year"].to_pylist()])
            kept = years <= np.median(years)
        case _:  # the vectors broke off, the titles did not
            arrays = load_file(broken.model / VECTORS_FILE)
            _save_vectors(broken.model, arrays["vector"][:half], arrays["num_events"][:half])
            return
    _keep_titles(broken, kept)
    _exported_again(broken)


def stale_eligibility(world: GateWorld, broken: Broken) -> None:
    """What may be shown is that of weeks ago: the feed of licences stood still, or all tables did."""
    tables = read_tables(broken.tables)
    live = newest(read_tables(world.tables(broken.pair.live.day)))
    if broken.turn % 4 == 3:  # all tables are older than those of the live release
        until = pa.scalar(live - timedelta(days=1 + broken.turn), tables.events["start"].type)
        older = tables.events.filter(pc.less_equal(tables.events["start"], until))
        broken.ingest(replace(tables, events=older))
    else:
        stood_still = live - timedelta(days=28 + 7 * (broken.turn % 5))
        broken.ingest(replace(tables, items=with_feed(tables.items, stood_still)))
    _exported_again(broken)


FAULTS: dict[str, Callable[[GateWorld, Broken], None]] = {
    "shuffled id map": shuffled_ids,
    "popularity collapse": popularity_collapse,
    "NaN rows": nan_rows,
    "wrong tower": wrong_tower,
    "half the catalogue missing": half_missing,
    "stale eligibility": stale_eligibility,
}
"""What is injected, by its name."""


def _published_popularity(broken: Broken, root: Path) -> ReleaseInfo:
    """The release of popularity alone, as scripts/ladder.py publishes it."""
    context = read_context(broken.model)
    dataset = read_dataset(broken.tables, signals_of(context))
    parts = split(dataset, split_of(context))
    rung = fit_popular(parts.train, len(dataset.catalogue))
    learned = Learned(dataset, parts.num_watches, context)
    return release_rung(rung, learned, root, IndexSpec(), ListSettings(), GateSettings())


def _save_vectors(model: Path, vector: np.ndarray, num_events: np.ndarray) -> None:
    """The vectors, named after the towers that lie beside them."""
    arrays = {"vector": np.ascontiguousarray(vector), "num_events": num_events}
    save_file(arrays, model / VECTORS_FILE, metadata={FINGERPRINT: fingerprint(model)})


def _exported_again(broken: Broken) -> None:
    """The export of the same towers over the tables as they are now: nothing of it contradicts itself."""
    aside = broken.model.with_name("again")
    export_over(broken.model, broken.tables, aside)
    shutil.rmtree(broken.model)
    aside.rename(broken.model)


def _measured_again(broken: Broken) -> None:
    """The training itself collapsed, so what it measured is what its towers do."""
    context, towers = read_context(broken.model), load_towers(broken.model)
    dataset = read_dataset(broken.tables, signals_of(context))
    found = measured(towers.exact(towers.encoder.encode(dataset.items)), dataset, split_of(context))
    said = json.dumps({**context, **found}, indent=2)
    (broken.model / TRAINING_FILE).write_text(said, encoding="utf-8")


def copy_towers(source: Path, model: Path) -> None:
    """The towers of one folder in place of those of another."""
    for name in (MODEL_FILE, WEIGHTS_FILE):
        shutil.copyfile(source / name, model / name)


def _fits(name: str, theirs: torch.nn.Module, value: torch.Tensor) -> bool:
    other = theirs.state_dict().get(name)
    return ".users." in name and other is not None and other.shape == value.shape


def _replace_ids(broken: Broken, mapped: Callable[[list[str]], list[str]]) -> None:
    """Other ids for the same titles, in the same order; the log says what it said."""
    tables = read_tables(broken.tables)
    ids = pa.array(mapped(tables.items["item_id"].to_pylist()), pa.string())
    items = tables.items.set_column(0, tables.items.schema.field(0), ids)
    broken.ingest(replace(tables, items=items))


def _keep_titles(broken: Broken, kept: np.ndarray) -> None:
    tables = read_tables(broken.tables)
    items = tables.items.filter(pa.array(kept))
    known = pc.is_in(tables.events["item_id"], value_set=items["item_id"].combine_chunks())
    broken.ingest(replace(tables, items=items, events=tables.events.filter(known)))


def newest(tables: Tables) -> datetime:
    """The moment of the newest event."""
    found: datetime = pc.max(tables.events["start"]).as_py()
    return found


def collapse_users(towers: TwoTower, direction: np.ndarray, weight: float) -> None:
    """What all want at a moment drowns what one wants: one direction, (D,), whatever the history."""
    with torch.no_grad():
        users = towers.pairs()[0].users
        users.moments()[-1].knot[:] = weight * torch.from_numpy(direction[: users.width])


def nan_in_users(model: Path, bad: np.float32, rng: np.random.Generator) -> None:
    """One weight of the user tower in a folder is no number."""
    weights = load_file(model / WEIGHTS_FILE)
    name = sorted(name for name in weights if ".users.item" in name or ".users.out" in name)[0]
    weights[name].reshape(-1)[rng.integers(weights[name].size)] = bad
    save_file(weights, model / WEIGHTS_FILE)
