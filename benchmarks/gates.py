"""Claim `gates`: what is broken does not become current, what is sound does, and going back takes no time.

Twenty injections of each of six faults, each into the files or inputs of an honest release, in several of the
ways in which it comes about; then the build with its gates, as scripts/build_index.py does it, beside a live
release. An injection is caught where nothing is published and the error is one of this project's. Honest
releases are stopped falsely where a gate refuses them.
"""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.environment import BENCH
from benchmarks.gate_faults import FAULTS, Broken, published
from benchmarks.gate_worlds import GateWorld, Honest, Made, Model
from benchmarks.measurement import Measurement
from retrieval.release.operations import roll_back
from retrieval.release.store import ReleaseInfo, current
from retrieval.release.writer import single_writer
from towers.data.sources.simulated import SimulatedSettings
from towers.errors import GateError, TowersError

NUM_INJECTIONS, NUM_HONEST, NUM_ROLLBACKS = 20, 80, 20
WORLD = GateWorld(
    BENCH / "gates",
    SimulatedSettings(num_events=40_000, num_profiles=1_500, num_items=900),
    days=(42, 28, 21, 14, 7, 0),
    models=(Model(0, 0), Model(0, 1), Model(2, 2), Model(4, 3)),
    training=("trainer.max_epochs=4",),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a build: the gates, or the error, that stopped it; none where it was published."""

    stopped_by: tuple[str, ...]

    @property
    def published(self) -> bool:
        """Whether it was published."""
        return not self.stopped_by


def measure() -> Measurement:
    """Every injection and honest release, some minutes beside the training of four models."""
    return measured(WORLD, NUM_INJECTIONS, NUM_HONEST)


def measured(world: GateWorld, num_injections: int, num_honest: int) -> Measurement:
    """The figures of a world."""
    world.make()
    honest = list(world.honest())
    pairs = [honest[at] for at in np.linspace(0, len(honest) - 1, min(num_honest, len(honest))).astype(int)]
    with TemporaryDirectory(dir=world.folder) as name:
        roots = Roots(world, Path(name))
        builds = [roots.build_honest(pair) for pair in pairs]
        caught: dict[str, list[Outcome]] = {}
        for fault, inject in FAULTS.items():
            caught[fault] = []
            for turn in range(num_injections):
                pair = pairs[turn * len(pairs) // num_injections]
                caught[fault].append(roots.build_broken(pair, partial(inject, world), turn))
            print(f"{fault}: {_counted(caught[fault])}", file=sys.stderr, flush=True)
        seconds, size_bytes = roots.rollbacks(pairs[-1])
    stopped = [build for build in builds if not build.published]
    print(f"honest: {len(stopped)} of {len(builds)} stopped {_counted(stopped)}", file=sys.stderr, flush=True)
    every = [one for outcomes in caught.values() for one in outcomes]
    return Measurement(
        figures={
            "caught_share": sum(not one.published for one in every) / len(every),
            "false_stop_share": len(stopped) / len(builds),
            "rollback_seconds": round(max(seconds), 4),
        },
        data=(
            f"{len(every)} injections and {len(builds)} honest releases of a simulated service, "
            f"{world.service.items:,} titles, {world.service.profiles:,} profiles, {world.days[0]} days"
        ),
        seeds=tuple(range(num_injections)),
        details={
            "caught": {
                fault: sum(not one.published for one in outcomes) for fault, outcomes in caught.items()
            },
            "stopped by": {fault: _counted(outcomes) for fault, outcomes in caught.items()},
            "honest stopped by": _counted(stopped),
            "rollback median seconds": round(float(np.median(seconds)), 4),
            "rollback release bytes": size_bytes,
        },
    )


class Roots:
    """A root of releases for each live release, made when it is first asked for."""

    def __init__(self, world: GateWorld, folder: Path) -> None:
        self._world, self._folder = world, folder
        self._of: dict[Made, Path] = {}

    def build_honest(self, pair: Honest) -> Outcome:
        """The build of the candidate beside the live release, as both honestly are."""
        broken = Broken(self._world.exported(pair.candidate), self._world.tables(pair.candidate.day), pair, 0)
        return self._outcome(pair, broken)

    def build_broken(self, pair: Honest, inject: Callable[[Broken], None], turn: int) -> Outcome:
        """The build of the candidate with a fault, which is put into copies of its files."""
        with TemporaryDirectory(dir=self._folder) as name:
            model, tables = Path(name, "model"), Path(name, "tables")
            shutil.copytree(self._world.exported(pair.candidate), model)
            shutil.copytree(self._world.tables(pair.candidate.day), tables)
            broken = Broken(model, tables, pair, turn)
            inject(broken)
            return self._outcome(pair, broken)

    def rollbacks(self, pair: Honest) -> tuple[list[float], int]:
        """Seconds of going back and forth between two releases, each verified in full, and their size."""
        root = self._root(pair.live)
        info = self._published(root, pair)
        seconds = []
        for target in ["r000001", info.release_id] * (NUM_ROLLBACKS // 2):
            begun = time.perf_counter()
            roll_back(root, target)
            seconds.append(time.perf_counter() - begun)
        return seconds, sum(entry.size_bytes for entry in info.manifest.files.values())

    def _published(self, root: Path, pair: Honest) -> ReleaseInfo:
        candidate = pair.candidate
        return published(
            self._world.exported(candidate), self._world.tables(candidate.day), root, becomes_current=True
        )

    def _root(self, live: Made) -> Path:
        if live not in self._of:
            root = self._folder / f"root-{len(self._of)}"
            published(self._world.exported(live), self._world.tables(live.day), root, becomes_current=True)
            self._of[live] = root
        return self._of[live]

    def _outcome(self, pair: Honest, broken: Broken) -> Outcome:
        root = self._root(pair.live)
        before = current(root)
        try:
            info = broken.build(root)
        except GateError as error:
            lines = str(error).splitlines()
            failed = tuple(line.split()[1].rstrip(":") for line in lines if line.split()[0] == "FAILED")
            return Outcome(failed or ("GateError",))
        except TowersError as error:
            return Outcome((type(error).__name__,))
        finally:
            if current(root) != before:
                raise AssertionError(f"{root}: {current(root)} became current; expected {before}")
        with single_writer(root) as writer:
            writer.remove(info.release_id)
        return Outcome(())


def _counted(outcomes: list[Outcome]) -> dict[str, int]:
    """How often each gate was the first that stopped a build."""
    return dict(Counter(one.stopped_by[0] if one.stopped_by else "published" for one in outcomes))
