"""A small service over some weeks, its models, and the releases that it would honestly make of them.

The service is simulated. Of each of some days there are the tables as they were then: the events so far, and
titles and licences as a feed knew them, without windows and ends still to come. Towers are trained by
scripts/train.py, on the tables of several days and with several seeds, and once on another service whose
titles have the same ids. An honest release is one of these towers over the tables of its day of training
or a later one. All is kept in one folder, and made once.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.stages import run_script
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import ingest
from towers.data.ingest.rules import RuleSettings
from towers.data.raw import raw_from_tables
from towers.data.schema import ITEMS, Tables
from towers.data.signals.settings import signals_of
from towers.data.sources.simulated import SimulatedSettings, read_simulated
from towers.data.split import split, split_of
from towers.exported import read_context
from towers.nets.two_tower import load_towers
from towers.training.export import export


@dataclass(frozen=True, slots=True)
class Model:
    """Towers: of the tables of which day, and with which seed."""

    day: int
    seed: int


@dataclass(frozen=True, slots=True)
class Made:
    """A release to be: which towers over the tables of which day."""

    model: Model
    day: int


@dataclass(frozen=True, slots=True)
class Honest:
    """A release that is live and one that honestly follows it."""

    live: Made
    candidate: Made


@dataclass(frozen=True, slots=True)
class GateWorld:
    """The service, its days and its models; what is made of them lies in `folder`.

    days: how many days before the end of the log each day is, oldest first.
    training: overrides of scripts/train.py.
    """

    folder: Path
    service: SimulatedSettings
    days: tuple[int, ...]
    models: tuple[Model, ...]
    training: tuple[str, ...]

    def make(self) -> None:
        """Simulates, ingests and trains whatever is not there yet."""
        log: Tables | None = None
        for day in range(len(self.days)):
            if not (self.tables(day) / "ingest.json").is_file():
                log = log or read_simulated(self.service)
                ingest_tables(as_of(log, self.moment(log, day)), self.tables(day))
        if not (self.tables_of_another() / "ingest.json").is_file():
            other = read_simulated(replace(self.service, seed=self.service.seed + 1))
            ingest_tables(as_of(other, self.moment(other, 0)), self.tables_of_another())
        for model in self.models:
            self._train(self.tables(model.day), self.trained(model), model.seed)
        self._train(self.tables_of_another(), self.another(), 0)

    def moment(self, log: Tables, day: int) -> datetime:
        """The end of a day."""
        newest: datetime = pc.max(log.events["start"]).as_py()
        return newest - timedelta(days=self.days[day])

    def tables(self, day: int) -> Path:
        """The tables as they were on a day."""
        return self.folder / f"day-{day}" / "tables"

    def trained(self, model: Model) -> Path:
        """The export of a model over the tables of its own day."""
        return self.folder / f"model-{model.day}-{model.seed}" / "model"

    def tables_of_another(self) -> Path:
        """The tables of the other service."""
        return self.folder / "another-day" / "tables"

    def another(self) -> Path:
        """The export of the other service's model."""
        return self.folder / "another" / "model"

    def exported(self, made: Made) -> Path:
        """The export of a model over the tables of a day, made where there is none."""
        folder = self.folder / f"export-{made.model.day}-{made.model.seed}-{made.day}"
        if not folder.is_dir():
            export_over(self.trained(made.model), self.tables(made.day), folder)
        return folder

    def honest(self) -> Iterator[Honest]:
        """Pairs of releases of which the later has no older tables and no older model."""
        releases = [
            Made(model, day) for model in self.models for day in range(len(self.days)) if model.day <= day
        ]
        for live in releases:
            for candidate in releases:
                later = candidate.day >= live.day and candidate.model.day >= live.model.day
                if later and candidate != live:
                    yield Honest(live, candidate)

    def _train(self, tables: Path, model: Path, seed: int) -> None:
        if model.is_dir():
            return
        artifacts = model.parent
        shutil.copytree(tables, artifacts / "tables", dirs_exist_ok=True)
        run_script("train", "reuse_tables=true", *self.training, f"seed={seed}", f"artifacts={artifacts}")


def export_over(model: Path, tables: Path, folder: Path) -> None:
    """The export of trained towers over other tables than those of their training."""
    context = read_context(model)
    dataset = read_dataset(tables, signals_of(context))
    parts = split(dataset, split_of(context))
    export(load_towers(model), dataset, parts, folder, context=context)


def as_of(log: Tables, moment: datetime) -> Tables:
    """The tables as they were at a moment: what had happened, and what a feed of licences knew."""
    items = with_feed(log.items, moment)
    known = np.array([licences is None or len(licences) > 0 for licences in items["licences"].to_pylist()])
    kept = items.filter(pa.array(known))
    events = log.events.filter(
        pc.less_equal(log.events["start"], pa.scalar(moment, log.events["start"].type))
    )
    events = events.filter(pc.is_in(events["item_id"], value_set=kept["item_id"].combine_chunks()))
    return Tables(items=kept, events=events, profiles=log.profiles, queries=log.queries.slice(0, 0))


def with_feed(items: pa.Table, moment: datetime) -> pa.Table:
    """The titles with the licences as a feed knew them: windows that had begun, and ends that had come."""
    known = []
    for licences in items["licences"].to_pylist():
        begun = [one for one in licences or () if one["start"] is None or one["start"] <= moment]
        ends = [None if one["end"] is None or one["end"] > moment else one["end"] for one in begun]
        told = [one | {"end": end} for one, end in zip(begun, ends, strict=True)]
        known.append(None if licences is None else told)
    place = ITEMS.get_field_index("licences")
    return items.set_column(place, ITEMS.field(place), pa.array(known, ITEMS.field(place).type))


def ingest_tables(tables: Tables, folder: Path, order_of: Path | None = None) -> None:
    """Takes a service's tables into a folder, as scripts/ingest.py does; order_of: as rebuild.py."""
    ingest(raw_from_tables(tables), "simulated service", folder, RuleSettings(), order_of=order_of)
