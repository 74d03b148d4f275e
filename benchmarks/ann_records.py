"""What the claim `ann` measured of each set of vectors: a record for each, committed with the figures.

A peer's sweep says which of its settings are the best. It stands as long as what made it does: the vectors,
its script and its settings; so it may be of another day and another machine, and no rate of it is compared.
What is compared is measured in one go: our own index, and the best settings of every peer once more.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ann_peers import PINS, Point, front, is_unit, rates, swept
from benchmarks.ann_sweeps import Peer, Setting, sweep
from benchmarks.ann_vectors import PLANS, SetName, made
from benchmarks.measurement import FIGURES, commit, machine
from benchmarks.results import Kept
from benchmarks.stages import ROOT
from towers.folders import replace_file

FOLDER = FIGURES / "ann"
_NUM_QUERIES, _ROUNDS = 1000, 3
_LEAST_RECALL = 0.85
"""Below, nothing is compared."""
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
    """The record of a set; where none stands, our own index and the best of every peer are measured.

    A peer whose sweep is neither in the last record nor kept here is swept first, which may take an hour.
    """
    standing = standing_set(name)
    if standing is not None:
        return standing
    versions = {peer: version(name, peer) for peer in peers_of(name)}
    sweeps = {peer: _sweep_of(name, peer) for peer in versions if peer is not Peer.OWN}
    best = {peer: best_settings(each["points"]) for peer, each in sweeps.items()}
    peers = {Peer.OWN: _measured(name, Peer.OWN)}
    for peer, settings in best.items():
        peers[peer] = _measured(name, peer, settings) | {"builds": sweeps[peer]["builds"]}
    found = {
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "peers": peers,
        "sweeps": sweeps,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    replace_file(_path(name), json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def best_settings(points: Sequence[dict[str, Any]]) -> list[Setting]:
    """Builds and searches of a sweep that no other beats in recall and rate, in either way to ask.

    A scan is always among them, where there is one: what it gives is compared by itself.
    """
    answered = [one for one in points if one["refused"] is None]
    chosen = [one for one in answered if one["build"].get("factory") == "Flat"]
    for mode in ("single", "batch"):
        recall, rate = f"{mode}_recall", f"{mode}_qps"
        best = set(front((one[recall], one[rate]) for one in answered))
        chosen += [
            one for one in answered if (one[recall], one[rate]) in best and one[recall] >= _LEAST_RECALL
        ]
    by_build: dict[str, dict[str, dict[str, Any]]] = {}
    for one in chosen:
        by_build.setdefault(json.dumps(one["build"]), {})[json.dumps(one["search"])] = one["search"]
    # A line each: in one, a search that gains little over the last would end it.
    return [
        Setting(json.loads(build), tuple((search,) for search in searches.values()))
        for build, searches in by_build.items()
    ]


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


def _sweep_of(name: SetName, peer: Peer) -> dict[str, Any]:
    """Builds and points of a peer's whole sweep: of the last record while it stands, or made now."""
    if _path(name).is_file():
        last = json.loads(_path(name).read_text(encoding="utf-8"))
        if last["versions"].get(peer) == version(name, peer) and peer in last["sweeps"]:
            found: dict[str, Any] = last["sweeps"][peer]
            return found
    made_now = _measured(name, peer)
    return {key: made_now[key] for key in ("date", "builds", "points")}


def _measured(name: SetName, peer: Peer, settings: Sequence[Setting] | None = None) -> dict[str, Any]:
    """Rates, builds and points of one peer over one set: of these settings, or of its whole sweep."""
    kept = Kept("ann", lambda: version(name, peer))
    key = f"{name}-{peer}" if settings is None else f"{name}-{peer}-best"
    begun_at, found = kept.commit(), kept.get(key)
    if found is None:
        path = made(name)
        if settings is None:
            items = np.load(path, allow_pickle=False)["items"]
            settings = sweep(peer, len(items), unit=is_unit(items))
            del items
        points = swept(peer, path, settings, rounds=_ROUNDS, num_queries=_NUM_QUERIES)
        found = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "qps": rates(points),
            "builds": _builds(points),
            "points": [asdict(one) for one in points],
        }
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
