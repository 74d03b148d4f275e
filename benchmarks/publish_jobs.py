"""What `publish_kill` runs in processes of their own: changes of the releases, over and over, and at once.

Loads no torch, so that a process is there in no time.
"""

import json
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.release_world import Variant
from retrieval.release import store
from retrieval.release.operations import prune, roll_back
from retrieval.release.store import current, publish, release_ids
from towers.errors import ConflictError

Change = Callable[[Path, Sequence[Variant], random.Random], object]


def _publish(root: Path, known: Sequence[Variant], drawn: random.Random) -> object:
    return publish(root, drawn.choice(known).write)


def _roll_back(root: Path, known: Sequence[Variant], drawn: random.Random) -> object:
    return roll_back(root, drawn.choice(release_ids(root)))


def _prune(root: Path, known: Sequence[Variant], drawn: random.Random) -> object:
    return prune(root, 2)


CHANGES: tuple[Change, ...] = (_publish, _publish, _roll_back, _prune)
"""What is killed, as often as it stands here. A rebuild job is one more."""


def change(root: Path, known: Sequence[Variant], seed: int) -> None:
    """Changes the releases of a root, over and over."""
    drawn = random.Random(seed)
    while True:
        drawn.choice(CHANGES)(root, known, drawn)


def contend(
    root: Path, variant: Variant, num: int, barrier: Barrier, skew_seconds: float, said: Path
) -> None:
    """Publishes over what is current once a round; says which ids became current."""

    class Skewed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Skewed":
            return super().now(tz) + timedelta(seconds=skew_seconds)

    store.datetime = Skewed  # type: ignore[attr-defined]
    won: list[str | None] = []
    for _ in range(num):
        barrier.wait(60)
        over = current(root)
        barrier.wait(60)
        try:
            won.append(publish(root, variant.write, only_over=over).release_id)
        except ConflictError:
            won.append(None)
    said.write_text(json.dumps(won))
