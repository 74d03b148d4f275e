"""Claim `gates`: what is broken does not become current, what is sound does, and going back takes no time.

Twenty injections of each of six faults, each into the files or inputs of an honest release, in several of the
ways in which it comes about; then the build with its gates, as scripts/build_index.py does it, beside a live
release. An injection is caught where nothing is published and the error is one of this project's. Honest
releases are stopped falsely where a gate refuses them. The same of the deltas of scripts/rebuild.py, of
another service whose titles are more than the gates of a delta embed again (benchmarks/gate_deltas.py).
"""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.environment import BENCH
from benchmarks.gate_deltas import Outcomes, deltas
from benchmarks.gate_faults import FAULTS, Broken, published
from benchmarks.gate_outcomes import Outcome, counted, failed_gates, works
from benchmarks.gate_worlds import GateWorld, Honest, Made, Model
from benchmarks.measurement import Measurement
from retrieval.release.operations import roll_back
from retrieval.release.store import ReleaseInfo, current
from retrieval.release.writer import single_writer
from towers.data.sources.simulated import SimulatedSettings
from towers.errors import GateError, TowersError

NUM_INJECTIONS, NUM_HONEST, NUM_HONEST_DELTAS, NUM_ROLLBACKS = 20, 80, 40, 20
WORLD = GateWorld(
    BENCH / "gates",
    SimulatedSettings(num_events=40_000, num_profiles=1_500, num_items=900),
    days=(42, 28, 21, 14, 7, 0),
    models=(Model(0, 0), Model(0, 1), Model(2, 2), Model(4, 3)),
    training=("trainer.max_epochs=4",),
)
DELTAS = GateWorld(
    BENCH / "gates" / "deltas",
    SimulatedSettings(num_events=60_000, num_profiles=2_000, num_items=2_400),
    days=(28, 14, 0),
    models=(Model(0, 0), Model(0, 1)),
    training=("trainer.max_epochs=4",),
)


def measure() -> Measurement:
    """Every injection, honest release and honest delta, some minutes beside the training of seven models."""
    return measured(WORLD, DELTAS, NUM_INJECTIONS, NUM_HONEST, NUM_HONEST_DELTAS)


def measured(
    world: GateWorld, of_deltas: GateWorld, num_injections: int, num_honest: int, num_honest_deltas: int
) -> Measurement:
    """The figures of the world whose releases are built and of the one whose releases are deltas."""
    caught, builds, seconds, size_bytes = _built(world, num_injections, num_honest)
    caught_deltas, honest_deltas = deltas(of_deltas, num_injections, num_honest_deltas)
    every = [one for faults in (caught, caught_deltas) for outcomes in faults.values() for one in outcomes]
    honest = [*builds, *honest_deltas]
    return Measurement(
        figures={
            "caught_share": sum(not one.published for one in every) / len(every),
            "false_stop_share": sum(not one.published for one in honest) / len(honest),
            "rollback_seconds": round(max(seconds), 4),
        },
        data=(
            f"{num_injections} injections of each of {len(caught)} faults and {len(builds)} honest releases "
            f"of {_spelled(world)}; as many injections and {len(honest_deltas)} honest deltas of "
            f"{_spelled(of_deltas)}"
        ),
        seeds=tuple(range(num_injections)),
        details={
            **_told(caught, builds),
            "deltas": _told(caught_deltas, honest_deltas)
            | {"work": {fault: works(outcomes) for fault, outcomes in caught_deltas.items()}},
            "rollback median seconds": round(float(np.median(seconds)), 4),
            "rollback release bytes": size_bytes,
        },
    )


def _built(
    world: GateWorld, num_injections: int, num_honest: int
) -> tuple[Outcomes, list[Outcome], list[float], int]:
    """What became of the injections and of honest releases; seconds of going back, and bytes of a release."""
    world.make()
    honest = list(world.honest())
    pairs = [honest[at] for at in np.linspace(0, len(honest) - 1, min(num_honest, len(honest))).astype(int)]
    with TemporaryDirectory(dir=world.folder) as name:
        roots = Roots(world, Path(name))
        builds = [roots.build_honest(pair) for pair in pairs]
        print(f"honest: {counted(builds)}", file=sys.stderr, flush=True)
        caught: Outcomes = {}
        for fault, inject in FAULTS.items():
            caught[fault] = []
            for turn in range(num_injections):
                pair = pairs[turn * len(pairs) // num_injections]
                caught[fault].append(roots.build_broken(pair, partial(inject, world), turn))
            print(f"{fault}: {counted(caught[fault])}", file=sys.stderr, flush=True)
        return caught, builds, *roots.rollbacks(pairs[-1])


def _told(caught: Outcomes, honest: Sequence[Outcome]) -> dict[str, object]:
    """By fault, how many were caught and by what; and what stopped honest ones."""
    return {
        "caught": {fault: sum(not one.published for one in outcomes) for fault, outcomes in caught.items()},
        "stopped by": {fault: counted(outcomes) for fault, outcomes in caught.items()},
        "honest stopped by": counted([one for one in honest if not one.published]),
    }


def _spelled(world: GateWorld) -> str:
    service = world.service
    return (
        f"a simulated service, {service.items:,} titles, {service.profiles:,} profiles, {world.days[0]} days"
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
            return Outcome(failed_gates(str(error)))
        except TowersError as error:
            return Outcome((type(error).__name__,))
        finally:
            if current(root) != before:
                raise AssertionError(f"{root}: {current(root)} became current; expected {before}")
        with single_writer(root) as writer:
            writer.remove(info.release_id)
        return Outcome(())
