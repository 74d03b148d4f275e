"""What the claim `ann` measured of each set of vectors: a record for each, committed with the figures.

All peers of a set are measured on one machine, in one go; other sets may be of other days. A peer's sweep
stands as long as what made it does: the vectors, its script and settings, and for our own index its code.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ann_peers import PINS, Point, is_unit, rates, swept
from benchmarks.ann_sweeps import Peer, sweep
from benchmarks.ann_vectors import PLANS, SetName, made
from benchmarks.measurement import FIGURES, commit, machine
from benchmarks.results import Kept
from benchmarks.stages import ROOT
from towers.folders import replace_file

FOLDER = FIGURES / "ann"
_NUM_QUERIES, _ROUNDS = 1000, 3
_MILLIONS = (SetName.TOWERS_1M, SetName.FACTORS_1M)
_NOT_SEARCHED = frozenset(
    ("gpu", "groups", "group_kernels", "cuda_graphs", "updates", "delta", "upkeep", "curve_report")
)
"""Modules of our index that no figure here hangs on: another device, changes between builds, a report."""


def peers_of(name: SetName) -> tuple[Peer, ...]:
    """Who is measured over a set: all that a figure hangs on, but over a million titles one graph alone.

    Over every smaller set hnswlib is the fastest of them, at .95 by two fifths at the least, and such a graph
    takes long to build.
    """
    slow = (Peer.USEARCH, Peer.VOYAGER) if name in _MILLIONS else ()
    return tuple(peer for peer in Peer if peer not in (*slow, Peer.SCANN_TRANSFORMED))


def measured_set(name: SetName) -> dict[str, Any]:
    """The record of a set; where none stands, every peer is swept, and one that was swept here is kept."""
    standing = standing_set(name)
    if standing is not None:
        return standing
    peers = {peer: _swept(name, peer) for peer in peers_of(name)}
    found = {
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {peer: version(name, peer) for peer in peers_of(name)},
        "peers": peers,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    replace_file(_path(name), json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def standing_set(name: SetName) -> dict[str, Any] | None:
    """The record of a set, if it was made by what there is now; None where there is none."""
    if not _path(name).is_file():
        return None
    found: dict[str, Any] = json.loads(_path(name).read_text(encoding="utf-8"))
    return found if found["versions"] == {peer: version(name, peer) for peer in peers_of(name)} else None


def version(name: SetName, peer: Peer) -> str:
    """A hash of all that decides what a peer gives on a set: plan, pins, and code, its comments aside."""
    scripts = ROOT / "benchmarks"
    files = [scripts / "ann_sweeps.py", scripts / "ann_peers.py", scripts / "peers" / "ann_timing.py"]
    if peer is Peer.OWN:
        index = sorted((ROOT / "retrieval" / "index").rglob("*.py"))
        files += [scripts / "ann_own.py", *(path for path in index if path.stem not in _NOT_SEARCHED)]
    else:
        files.append(scripts / "peers" / f"ann_{peer}.py")
    if peer is Peer.SCANN_TRANSFORMED:
        files.append(scripts / "peers" / "ann_scann.py")
    said = [PLANS[name].key, *PINS.get(peer, ())]
    said += [ast.dump(ast.parse(path.read_text(encoding="utf-8"))) for path in files]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _swept(name: SetName, peer: Peer) -> dict[str, Any]:
    """Rates and builds of one peer over one set."""
    kept, key = Kept("ann", lambda: version(name, peer)), f"{name}-{peer}"
    begun_at, found = kept.commit(), kept.get(key)
    if found is None:
        path = made(name)
        items = np.load(path, allow_pickle=False)["items"]
        settings = sweep(peer, len(items), unit=is_unit(items))
        del items
        points = swept(peer, path, settings, rounds=_ROUNDS, num_queries=_NUM_QUERIES)
        found = {"qps": rates(points), "builds": _builds(points), "points": [asdict(one) for one in points]}
        kept.put(key, found, begun_at)
    print(f"{name} {peer} {found['qps']}", file=sys.stderr, flush=True)
    return found


def _builds(points: Iterable[Point]) -> list[dict[str, Any]]:
    builds = {
        str(one.build): {"build": one.build, "seconds": one.build_seconds, "bytes": one.bytes_per_item}
        for one in points
    }
    return list(builds.values())


def _path(name: SetName) -> Path:
    return FOLDER / f"{name}.json"
