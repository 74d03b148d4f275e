"""What the claim `ann` measured of each set of vectors: a record for each, committed with the figures.

A peer's sweep says which of its settings are the best. It is made in runs: a run measures what no earlier
one has, and stands as long as what measured it does. Runs may be of other days and machines: rates are
compared within one, and none of them is in a figure. What is compared is measured in one go: our own index,
and the best settings of every run of every peer once more.

`python -m benchmarks.ann_records <set> <peer> …` sweeps what is left of these peers, of all without a name,
and writes it to the record of the set build by build: broken off, it goes on from there. What is compared
there stays as it was measured last, and no longer stands where a sweep has other settings.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ann_peers import Point, front, rates, swept
from benchmarks.ann_sweeps import Peer, Setting, key_of, unswept
from benchmarks.ann_vectors import SetName, made
from benchmarks.ann_versions import SetShape, digest, measured_by, shape_of, version
from benchmarks.claims import BenchmarkError
from benchmarks.environment import BENCH
from benchmarks.measurement import FIGURES, commit, machine
from benchmarks.results import Kept
from towers.folders import replace_file

FOLDER = FIGURES / "ann"
_NUM_QUERIES = 1000
_ROUNDS, _ROUNDS_OF_A_SWEEP = 3, 1
_LEAST_RECALL = 0.85
"""Below, nothing is compared."""
_MILLIONS = (SetName.TOWERS_1M, SetName.FACTORS_1M)

Run = dict[str, Any]
"""What measured it (`measured_by`), when (`date`), its `builds` and its `points`."""


def peers_of(name: SetName) -> tuple[Peer, ...]:
    """Who is measured over a set: all, but over a million titles one graph alone.

    Over every smaller set hnswlib is the fastest of them, at .95 by two fifths at the least, and such a graph
    takes long to build.
    """
    slow = (Peer.USEARCH, Peer.VOYAGER) if name in _MILLIONS else ()
    return tuple(peer for peer in Peer if peer not in slow)


def measured_set(name: SetName) -> dict[str, Any]:
    """The record of a set; where none stands, our own index and the best of every peer are measured.

    What is left of a peer's sweep is measured first, which may take hours.
    """
    standing = standing_set(name)
    if standing is not None:
        return standing
    shape = shape_of(name)
    sweeps = {peer: swept_of(name, peer, shape) for peer in peers_of(name) if peer is not Peer.OWN}
    peers = {Peer.OWN: _measured(name, Peer.OWN, shape.settings(Peer.OWN), shape)}
    for peer, runs in sweeps.items():
        builds = [build for run in reversed(runs) for build in run["builds"]]
        peers[peer] = _measured(name, peer, best_settings(runs), shape) | {
            "builds": list({key_of(one["build"]): one for one in builds}.values())
        }
    found = {
        "machine": machine(),
        "commit": commit(),
        "date": _now(),
        "shape": asdict(shape),
        "versions": _versions(name, shape),
        "peers": peers,
        "sweeps": sweeps,
    }
    _write(name, found)
    return found


def swept_of(name: SetName, peer: Peer, shape: SetShape) -> list[Run]:
    """The runs of a peer's sweep, in order; what no run has measured is measured now.

    The points of settings that are no longer tried are left out.
    """
    now = measured_by(name, peer)
    last = _read(name).get("sweeps", {}).get(peer, [])
    runs: list[Run] = [run for run in last if run["measured_by"] == now]
    settings = shape.settings(peer)
    left = unswept(settings, [point for run in runs for point in run["points"]])
    if left:
        runs.append({"measured_by": now, "date": _now(), "builds": [], "points": []})
    for setting in left:
        points = swept(peer, made(name), [setting], rounds=_ROUNDS_OF_A_SWEEP, num_queries=_NUM_QUERIES)
        if measured_by(name, peer) != now:
            raise BenchmarkError(f"{peer} over {name}: the code that measures it changed meanwhile")
        runs[-1]["builds"] += _builds(points)
        runs[-1]["points"] += [asdict(one) for one in points]
        record = _read(name)
        _write(name, record | {"sweeps": record.get("sweeps", {}) | {peer: runs}})
    tried = {key_of(setting.build, one) for setting in settings for line in setting.lines for one in line}
    return [
        run | {"points": [one for one in run["points"] if key_of(one["build"], one["search"]) in tried]}
        for run in runs
    ]


def best_settings(runs: Iterable[Run]) -> list[Setting]:
    """Builds and searches that no other of their run beats in recall and rate, in either way to ask.

    A scan is always among them, where there is one: what it gives is compared by itself.
    """
    by_build: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        for one in _best(run["points"]):
            by_build.setdefault(json.dumps(one["build"]), {})[json.dumps(one["search"])] = one["search"]
    # A line each: in one, a search that gains little over the last would end it.
    return [
        Setting(json.loads(build), tuple((search,) for search in searches.values()))
        for build, searches in by_build.items()
    ]


def _best(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    answered = [one for one in points if one["refused"] is None]
    chosen = [one for one in answered if one["build"].get("factory") == "Flat"]
    for mode in ("single", "batch"):
        recall, rate = f"{mode}_recall", f"{mode}_qps"
        best = set(front((one[recall], one[rate]) for one in answered))
        chosen += [
            one for one in answered if (one[recall], one[rate]) in best and one[recall] >= _LEAST_RECALL
        ]
    return chosen


def standing_set(name: SetName) -> dict[str, Any] | None:
    """The record of a set, if what it compares was made by what there is now; None where there is none."""
    found = _read(name)
    if "versions" not in found:
        return None
    return found if found["versions"] == _versions(name, SetShape(**found["shape"])) else None


def _versions(name: SetName, shape: SetShape) -> dict[Peer, str]:
    return {peer: version(name, peer, shape) for peer in peers_of(name)}


def _measured(name: SetName, peer: Peer, settings: Sequence[Setting], shape: SetShape) -> dict[str, Any]:
    """Rates, builds and points of these settings of one peer over one set.

    Kept while nothing that is compared with it changes, so that what was broken off goes on.
    """
    kept = Kept("ann", lambda: digest(_versions(name, shape).values()), BENCH)
    key = f"{name}-{peer}"
    begun_at, found = kept.commit(), kept.get(key)
    if found is None:
        points = swept(peer, made(name), settings, rounds=_ROUNDS, num_queries=_NUM_QUERIES)
        found = {
            "date": _now(),
            "qps": rates(points),
            "builds": _builds(points),
            "points": [asdict(one) for one in points],
        }
        kept.put(key, found, begun_at)
    print(f"{name} {peer} {found['qps']}", file=sys.stderr, flush=True)
    return found


def _builds(points: Iterable[Point]) -> list[dict[str, Any]]:
    builds = {
        key_of(one.build): {"build": one.build, "seconds": one.build_seconds, "bytes": one.bytes_per_item}
        for one in points
    }
    return list(builds.values())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _path(name: SetName) -> Path:
    return FOLDER / f"{name}.json"


def _read(name: SetName) -> dict[str, Any]:
    """The record of a set as it is, whether it stands or not; empty where there is none."""
    if not _path(name).is_file():
        return {}
    found: dict[str, Any] = json.loads(_path(name).read_text(encoding="utf-8"))
    return found


def _write(name: SetName, record: dict[str, Any]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    replace_file(_path(name), json.dumps(record, indent=1, allow_nan=False) + "\n")


def main(name: str, peers: Sequence[str]) -> None:
    """Sweeps what is left of peers over a set."""
    of_set = SetName(name)
    others = [one for one in peers_of(of_set) if one is not Peer.OWN]
    asked = [Peer(one) for one in peers] or others
    if unknown := set(asked) - set(others):
        raise BenchmarkError(
            f"{name}: {', '.join(sorted(unknown))} is not swept; expected {', '.join(others)}"
        )
    shape = shape_of(of_set)
    for peer in asked:
        runs = swept_of(of_set, peer, shape)
        print(f"{name} {peer}: {sum(len(run['points']) for run in runs)} points of {len(runs)} runs")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
