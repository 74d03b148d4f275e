"""Faults of deltas, as they come about: in the newer tables, in the live release's files, between two steps.

What a job makes of new and changed titles is handed on inside one process until it is published. So a fault
of a step is put in where its result is handed on: the function that gives it is wrapped.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from safetensors.numpy import load_file, save_file

from benchmarks.delta_worlds import Step, with_titles
from benchmarks.gate_faults import collapse_users, copy_towers, nan_in_users, newest
from benchmarks.gate_worlds import GateWorld, with_feed
from retrieval.release.files import ADDED_FILE, read_rows
from retrieval.release.store import open_release
from retrieval.release.titles import Lines, read_titles
from retrieval.release.verify import Verify
from towers.data.schema import Tables, read_tables
from towers.data.titles import Titles
from towers.nets.two_tower import TwoTower, load_towers, save_towers

Array = np.ndarray
Wrapped = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(slots=True)
class BrokenDelta:
    """A rebuild to be with a fault: its artifacts and newer tables, and the steps of the job that are broken.

    turn: which injection it is; every way in which the fault comes about has its turn. steps: by the name of
    the function that gives a step's result, what it is wrapped in.
    """

    artifacts: Path
    tables: Tables
    step: Step
    turn: int
    steps: dict[str, Wrapped] = field(default_factory=dict)

    @property
    def rng(self) -> np.random.Generator:
        """Chance of this injection."""
        return np.random.default_rng(self.turn)

    @property
    def live(self) -> Path:
        """The folder of the live release; its files are shared: one is replaced, never written to."""
        return open_release(self.artifacts / "releases", Verify.TRUSTED).folder

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """Inside, the steps are broken."""
        with ExitStack() as stack:
            for name, wrapped in self.steps.items():
                stack.enter_context(patch(name, wrapped(resolve_name(name))))
            yield

    def break_vectors(self, broken: Callable[[np.ndarray, TwoTower, pa.Table], np.ndarray]) -> None:
        """The vectors of new and changed titles, (m, D), become others; given are towers and titles too."""

        def wrapped(embedded: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
            def call(towers: TwoTower, titles: Titles, chosen: np.ndarray) -> np.ndarray:
                asked = titles.some(np.flatnonzero(chosen))
                return broken(embedded(towers, titles, chosen), towers, asked)

            return call

        self.steps["retrieval.rebuild.delta.embedded"] = wrapped

    def break_rows(self, broken: Callable[[np.ndarray], np.ndarray]) -> None:
        """The vectors of all rows after the build's, new or not, become others."""
        self.steps["retrieval.rebuild.delta.gathered"] = lambda gathered: (
            lambda *args: broken(gathered(*args))
        )

    def break_lines(self, broken: Callable[[Lines], Lines]) -> None:
        """What is written of titles becomes something else."""
        self.steps["retrieval.rebuild.publish.write_lines"] = lambda write: (
            lambda folder, lines: write(folder, broken(lines))
        )

    def break_updates(
        self, broken: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> None:
        """The bitmap of the build's rows, and the vectors of those after it, become others in all files."""

        def wrapped(save: Callable[..., None]) -> Callable[..., None]:
            def call(
                folder: Path, living: np.ndarray, added: np.ndarray, row: np.ndarray, num: object
            ) -> None:
                living, added = broken(living, added)
                save(folder, living, added, row[: len(added)], num)
                arrays = load_file(folder / ADDED_FILE)
                save_file({**arrays, "vector": added}, folder / ADDED_FILE)

            return call

        self.steps["retrieval.rebuild.publish.save_updates"] = wrapped

    def break_towers(self, broken: Callable[[Path], None]) -> None:
        """The towers of the live release become others once the job has looked at it."""

        def wrapped(publish: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: object) -> object:
                self.replace_towers(broken)
                return publish(*args)

            return call

        self.steps["retrieval.rebuild.run.publish_delta"] = wrapped

    def replace_towers(self, broken: Callable[[Path], None]) -> None:
        """The towers of the live release become others, in files of its own."""
        aside = self.artifacts / "towers"
        aside.mkdir()
        copy_towers(self.live, aside)
        broken(aside)
        for name in aside.iterdir():
            name.replace(self.live / name.name)


def shuffled_ids(world: GateWorld, broken: BrokenDelta) -> None:
    """Vectors or facts of new titles, and ids, do not belong together."""
    rng = broken.rng
    match broken.turn % 6:
        case 0:  # written in another order, by a job with several workers
            broken.break_vectors(lambda vectors, *_: vectors[rng.permutation(len(vectors))])
        case 1:  # a line was lost at the beginning: all are shifted by one
            broken.break_vectors(lambda vectors, *_: np.roll(vectors, 1, axis=0))
        case 2:  # of two alone
            broken.break_vectors(lambda vectors, *_: _two_swapped(vectors, rng))
        case 3:  # the rows after the build's were numbered otherwise
            broken.break_rows(lambda vectors: vectors[rng.permutation(len(vectors))])
        case 4:  # what is said of titles was written in another order
            broken.break_lines(
                lambda lines: Lines(lines.row, lines.items.take(pa.array(rng.permutation(len(lines.row)))))
            )
        case _:  # ids were joined to the titles by place, after another sort; the log knows the right ones
            items = broken.tables.items
            ids = pa.array(sorted(items["item_id"].to_pylist(), key=lambda each: each[::-1]), pa.string())
            items = items.set_column(0, items.schema.field(0), ids)
            broken.tables = replace(broken.tables, items=items)


def popularity_collapse(world: GateWorld, broken: BrokenDelta) -> None:
    """New titles are what popular ones are, or everybody is shown what is popular."""
    rng = broken.rng
    vectors, num_events = read_rows(broken.live)
    popular = vectors[np.argsort(-num_events, kind="stable")[: 10 + 10 * (broken.turn % 5)]]
    direction = popular.mean(axis=0)
    match broken.turn % 4:
        case 0:  # all in one direction
            unit = direction / np.linalg.norm(direction)
            broken.break_vectors(lambda new, *_: np.tile(unit, (len(new), 1)))
        case 1:  # each has the vector of a popular one
            broken.break_vectors(lambda new, *_: popular[rng.integers(len(popular), size=len(new))])
        case 2:  # some have
            broken.break_vectors(
                lambda new, *_: _some(new, popular[rng.integers(len(popular))], 1 + broken.turn // 4, rng)
            )
        case _:

            def collapse(model: Path) -> None:
                towers = load_towers(model)
                collapse_users(towers, direction, 5.0 + broken.turn)
                save_towers(towers, model)

            broken.break_towers(collapse)


def nan_rows(world: GateWorld, broken: BrokenDelta) -> None:
    """Numbers that are none: in new vectors, or in weights, from which they spread."""
    rng, bad = broken.rng, np.float32((np.nan, np.inf)[broken.turn // 3 % 2])
    match broken.turn % 3:
        case 0:
            broken.break_vectors(lambda new, *_: _some(new, bad, 1 + broken.turn // 3, rng))
        case 1:  # as they were written
            broken.break_updates(lambda living, added: (living, _some(added, bad, 1 + broken.turn // 3, rng)))
        case _:
            broken.break_towers(lambda model: nan_in_users(model, bad, rng))


def wrong_tower(world: GateWorld, broken: BrokenDelta) -> None:
    """Towers of another training, or of another service, of the same width."""
    own = world.models.index(broken.step.live.made.model)
    other = world.trained(world.models[(own + 1) % len(world.models)])
    match broken.turn % 5:
        case 0:  # the files of another training were copied over those of the live release
            broken.replace_towers(lambda model: copy_towers(other, model))
        case 1:  # the same, while the job was at work
            broken.break_towers(lambda model: copy_towers(other, model))
        case 2:  # new titles were embedded by another training's
            towers = load_towers(other)
            broken.break_vectors(lambda new, _, items: towers.embed(towers.encoder.encode(items)))
        case 3:  # one of them was
            towers = load_towers(other)
            place = int(broken.rng.integers(1 << 30))

            def one_other(new: np.ndarray, _: TwoTower, items: pa.Table) -> np.ndarray:
                new = new.copy()
                new[place % len(new)] = towers.embed(towers.encoder.encode(items.slice(place % len(new), 1)))
                return new

            broken.break_vectors(one_other)
        case _:  # the training of another service, whose titles have the same ids, left its export here
            shutil.copytree(world.another(), broken.artifacts / "model")


def half_missing(world: GateWorld, broken: BrokenDelta) -> None:
    """Half of the catalogue, or of what is new, is not there: a feed or a file broke off."""
    items, rng = broken.tables.items, broken.rng
    num = items.num_rows
    match broken.turn % 5:
        case 0:  # the feed broke off in the middle
            broken.tables = with_titles(broken.tables, np.arange(num) < num // 2)
        case 1:  # one part of eight did not arrive: a delta may carry that
            broken.tables = with_titles(broken.tables, rng.permutation(num) >= num // 8)
        case 2:  # the newer half
            years = np.array([year or 0 for year in items["release_year"].to_pylist()])
            broken.tables = with_titles(broken.tables, years <= np.median(years))
        case 3:  # half of the rows of the build are said to have gone
            broken.break_updates(lambda living, added: (_half(living), added))
        case _:  # the new vectors broke off
            broken.break_updates(lambda living, added: (living, added[: len(added) // 2]))


def stale_eligibility(world: GateWorld, broken: BrokenDelta) -> None:
    """What may be shown is that of weeks ago: of all titles, or of those that changed."""
    tables = broken.tables
    live = newest(read_tables(world.tables(broken.step.live.made.day)))
    match broken.turn % 4:
        case 0 | 1:  # the feed of licences stood still
            stood_still = live - timedelta(days=28 + 7 * (broken.turn // 4 % 5))
            broken.tables = replace(tables, items=with_feed(tables.items, stood_still))
        case 2:  # titles that changed say what they said
            before = read_titles(broken.live)
            broken.break_lines(lambda lines: Lines(lines.row, _as_before(lines.items, before)))
        case _:  # all tables are older than those of the live release
            until = pa.scalar(live - timedelta(days=1 + broken.turn), tables.events["start"].type)
            older = tables.events.filter(pc.less_equal(tables.events["start"], until))
            broken.tables = replace(tables, events=older)


DELTA_FAULTS: dict[str, Callable[[GateWorld, BrokenDelta], None]] = {
    "shuffled id map": shuffled_ids,
    "popularity collapse": popularity_collapse,
    "NaN rows": nan_rows,
    "wrong tower": wrong_tower,
    "half the catalogue missing": half_missing,
    "stale eligibility": stale_eligibility,
}
"""What is injected, by its name."""


def _two_swapped(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of them in the place of the one that is least like it, and the other way."""
    one = int(rng.integers(len(vectors)))
    other = int(np.argmin(vectors @ vectors[one]))
    swapped = vectors.copy()
    swapped[[one, other]] = vectors[[other, one]]
    return swapped


def _some(
    vectors: np.ndarray, value: np.ndarray | np.float32, num: int, rng: np.random.Generator
) -> np.ndarray:
    """So many of them have this value."""
    vectors = vectors.copy()
    vectors[rng.choice(len(vectors), min(num, len(vectors)), replace=False)] = value
    return vectors


def _half(living: np.ndarray) -> np.ndarray:
    """The bitmap without its later bytes."""
    kept = np.arange(len(living)) < len(living) // 2
    return np.where(kept, living, 0).astype(np.uint8)


def _as_before(items: pa.Table, before: pa.Table) -> pa.Table:
    """Titles as another table has them, where it does."""
    place = pc.index_in(items["item_id"], value_set=before["item_id"].combine_chunks())
    of_both = pa.concat_tables([items, before])
    source = np.where(
        place.is_valid().to_numpy(), len(items) + place.fill_null(0).to_numpy(), np.arange(len(items))
    )
    return of_both.take(pa.array(source))
