"""The deltas of the claim `gates`: injections of each fault into the rebuild job, and honest runs of it.

An injection is caught where the live release stays current and the job says that a gate failed or which error
of this project's stopped it. Whether the job makes a delta or builds anew is for the job to decide: what the
newer tables say of half of a catalogue is more than a delta carries.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.claims import BenchmarkError
from benchmarks.delta_faults import DELTA_FAULTS, BrokenDelta
from benchmarks.delta_worlds import LiveReleases, Step, rebuilt, steps
from benchmarks.gate_outcomes import Outcome, counted, failed_gates, works
from benchmarks.gate_worlds import GateWorld
from retrieval.rebuild.summary import Outcome as Ended
from retrieval.release.store import current

Outcomes = dict[str, list[Outcome]]


def deltas(world: GateWorld, num_injections: int, num_honest: int) -> tuple[Outcomes, list[Outcome]]:
    """What became of the injections of each fault, and of honest deltas."""
    world.make()
    every = list(steps(world, num_honest))
    with TemporaryDirectory(dir=world.folder) as name:
        releases = LiveReleases(world, Path(name))
        honest = [ended(releases, step, lambda broken: None, 0) for step in every]
        found = works(honest)
        print(f"honest deltas: {found} {counted(honest)}", file=sys.stderr, flush=True)
        if set(found) != {"delta"}:
            raise BenchmarkError(f"{world.folder}: of honest newer tables came {found}; expected deltas")
        caught: Outcomes = {}
        for fault, inject in DELTA_FAULTS.items():
            caught[fault] = [
                ended(releases, _drawn(every, turn), _of(world, inject), turn)
                for turn in range(num_injections)
            ]
            print(f"{fault}, deltas: {counted(caught[fault])}", file=sys.stderr, flush=True)
    return caught, honest


def _drawn(every: Sequence[Step], turn: int) -> Step:
    """By chance, as every way of a fault comes in turn, and steps do too."""
    return every[int(np.random.default_rng(turn).integers(len(every)))]


def _of(world: GateWorld, inject: Callable[[GateWorld, BrokenDelta], None]) -> Callable[[BrokenDelta], None]:
    return lambda broken: inject(world, broken)


def ended(releases: LiveReleases, step: Step, inject: Callable[[BrokenDelta], None], turn: int) -> Outcome:
    """What becomes of the job's run over the newer tables of a step, with a fault in it."""
    with TemporaryDirectory(dir=releases.world.folder) as name:
        artifacts = releases.artifacts(step, Path(name))
        root = artifacts / "releases"
        before = current(root)
        broken = BrokenDelta(artifacts, releases.newer(step), step, turn)
        inject(broken)
        with broken.breaking():
            summary = rebuilt(artifacts, broken.tables)
        is_published = summary.outcome is Ended.PUBLISHED
        if (current(root) != before) is not is_published:
            raise AssertionError(f"{root}: {current(root)} is current after {summary.to_json()}")
    work = "" if summary.plan is None else summary.plan.work.value
    match summary.outcome:
        case Ended.PUBLISHED:
            return Outcome((), work)
        case Ended.REFUSED:
            return Outcome(failed_gates(str(summary.error)), work)
        case Ended.FAILED:
            return Outcome(("error",), work)
        case _:
            raise BenchmarkError(
                f"{root}: the job ended with {summary.to_json()}; expected that it was at work"
            )
