"""Claim `publish-kill`: a process that changes the releases is killed at any moment, and nobody notices.

A process publishes, goes back and clears away, over and over; it gets SIGKILL, half of the times after a time
drawn, and half of the times at a call of the kernel drawn (`syscalls`), which falls between two others as
often as within. After each kill the current release is opened: it is unreadable where that raises, and torn
where its answers are not those of the one that it says it is. Then another publishes, and nothing may be left
but whole releases. A reader beside does the same without a break all the while.

In details: eight publishers for fifty rounds, whose clocks are up to an hour apart. In each round all of them
start from what is current, and one must win.
"""

import json
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.claims import BenchmarkError
from benchmarks.measurement import Measurement
from benchmarks.publish_jobs import change, contend
from benchmarks.publish_reading import read, state
from benchmarks.release_making import variants
from benchmarks.release_world import Variant, memory
from benchmarks.stages import ROOT
from benchmarks.syscalls import KILL, Call, preload, run, started
from retrieval.release import store
from retrieval.release.operations import prune, standing
from retrieval.release.store import current, publish, release_of
from retrieval.release.verify import Verify
from towers.errors import ReleaseError

NUM_KILLS = 500
NUM_PUBLISHERS, NUM_ROUNDS, SKEW_SECONDS = 8, 50, 3600
_MOST_SECONDS, _MOST_CALLS = 0.3, 900
"""A kill comes within so much: a few changes."""


def measure() -> Measurement:
    """Kills, and what was unreadable or torn after any of them or to the reader beside: five minutes."""
    known = variants(ROOT / ".bench" / "releases")
    with TemporaryDirectory(dir=memory()) as folder:
        found = kills(Path(folder), known, NUM_KILLS)
    with TemporaryDirectory(dir=memory()) as folder:
        won = rounds(Path(folder), known, NUM_PUBLISHERS, NUM_ROUNDS)
    return Measurement(
        figures={key: found[key] for key in ("kills", "unreadable", "torn")},
        data=f"{len(known)} small real releases that answer differently, by publish, roll_back and prune",
        seeds=(0,),
        details={"kills": found, "publishers at once": won},
    )


def kills(folder: Path, known: Sequence[Variant], num: int) -> dict[str, Any]:
    """Kills so many processes that change the releases of a root, with a reader beside."""
    preload("benchmarks.publish_jobs")
    root, ended = folder / "releases", folder / "ended"
    publish(root, known[0].write)
    drawn = random.Random(0)
    names = ("kills", "whole", "unreadable", "torn", "next publish failed", "left behind", "in a change")
    found: dict[str, Any] = dict.fromkeys(names, 0)
    with started(partial(read, root, known, folder)) as (_, connection):
        for turn in range(num):
            job = partial(change, root, known, turn)
            if turn % 2:
                killed = run(job, _killing(drawn.randrange(1, _MOST_CALLS), root)).killed
                found["kills"] += killed
            else:
                with started(job):
                    time.sleep(drawn.uniform(0, _MOST_SECONDS))
                found["kills"] += 1
            found["in a change"] += any(path.name.startswith(".aside") for path in root.iterdir())
            found[state(root, known)] += 1
            _go_on(root, known[turn % len(known)], found)
        ended.touch()
        said = connection.recv(1 << 16)
    if not said.startswith(b"\n"):
        raise BenchmarkError(f"the reader ended: {said.decode(errors='replace')}")
    beside = json.loads((folder / "read.json").read_text())
    for key in ("unreadable", "torn"):
        found[key] += beside[key]
    return found | {"read beside": sum(beside.values())}


def rounds(folder: Path, known: Sequence[Variant], num_publishers: int, num: int) -> dict[str, Any]:
    """Publishers that all begin at once from what is current, with clocks apart; who won each round."""
    preload("benchmarks.publish_jobs")
    root = folder / "releases"
    first = publish(root, known[0].write).release_id
    barrier = get_context("forkserver").Barrier(num_publishers)
    skews = [SKEW_SECONDS * (2 * number / max(1, num_publishers - 1) - 1) for number in range(num_publishers)]
    jobs = [
        partial(contend, root, known[number % len(known)], num, barrier, skew, folder / f"{number}.json")
        for number, skew in enumerate(skews)
    ]
    _all(jobs)
    won = [json.loads((folder / f"{number}.json").read_text()) for number in range(num_publishers)]
    by_round = [[each[turn] for each in won if each[turn]] for turn in range(num)]
    ids = [winners[0] for winners in by_round if len(winners) == 1]
    manifests = [release_of(root, release_id).manifest for release_id in ids]
    parents = [manifest.parent for manifest in manifests]
    created = [manifest.created for manifest in manifests]
    return {
        "publishers": num_publishers,
        "rounds": num,
        "rounds with one winner": len(ids),
        "winners, different": sum(any(each) for each in won),
        "versions rise by one": ids == [f"r{number + 2:06d}" for number in range(len(ids))],
        "each over the one before": parents == [first, *ids[:-1]],
        "clocks ran back": sum(after < before for before, after in pairwise(created)),
    }


def _all(jobs: Sequence[Callable[[], object]]) -> None:
    """Runs jobs at once; BenchmarkError where one raises."""
    if not jobs:
        return
    with started(jobs[0]) as (_, connection):
        _all(jobs[1:])
        said = connection.recv(1 << 16)
        if not said.startswith(b"\n"):
            raise BenchmarkError(f"a publisher ended: {said.decode(errors='replace')}")


def _killing(place: int, root: Path) -> Callable[[Call], int]:
    left = iter(range(place))

    def decide(call: Call) -> int:
        if call.is_below(root) and next(left, None) is None:
            return KILL
        return 0

    return decide


def _go_on(root: Path, variant: Variant, found: dict[str, Any]) -> None:
    """What the next publisher finds and leaves."""
    before = store.release_ids(root)
    try:
        published = publish(root, variant.write).release_id
        prune(root, 2)
    except ReleaseError:
        found["next publish failed"] += 1
        return
    left = any(path.name.startswith(".aside") for path in root.iterdir())
    damaged = any(one.fault for one in standing(root, Verify.FULL))
    is_newest = current(root) == published and published not in before[:-1]
    found["left behind"] += left or damaged or not is_newest
