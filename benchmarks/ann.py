"""Claim `ann`: queries per second at equal recall, beside plain FAISS, ScaNN and graphs.

Recall@100 against the exact answer on a thousand held-out queries, over seven sets of vectors, of towers and
of factors that were trained on logs; one at a time on one thread, and by 1,024 on two. Every library is swept
over its settings, and what counts is the best of it at a recall. Each peer's sweep of a set is kept: broken
off, it goes on from there.
"""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.ann_peers import PINS, Point, is_unit, rates, swept
from benchmarks.ann_sweeps import Peer, sweep
from benchmarks.ann_vectors import PLANS, SetName, made
from benchmarks.claims import BenchmarkError
from benchmarks.measurement import Measurement
from benchmarks.results import Kept

LARGE = (SetName.TOWERS_200K, SetName.FACTORS_200K, SetName.TOWERS_1M, SetName.FACTORS_1M)
SMALL = SetName.TOWERS_50K
_NUM_QUERIES, _ROUNDS = 1000, 3
_AT, _AT_SMALL = "0.95", "0.99"


def measure() -> Measurement:
    """The smallest ratios over the sets; hours, of which the graphs over a million titles take most."""
    kept, sets = Kept("ann"), dict[str, dict[str, Any]]()
    for name in SetName:
        sets[name] = {peer: _swept(kept, name, peer) for peer in Peer}
    return Measurement(
        figures={
            "single_over_faiss": _over(sets, LARGE, "single", (Peer.FAISS,)),
            "batch_over_faiss": _over(sets, LARGE, "batch", (Peer.FAISS,)),
            "single_over_scann": _over(sets, LARGE, "single", (Peer.SCANN,)),
            "batch_over_scann": _over(sets, LARGE, "batch", (Peer.SCANN,)),
            "single_over_graphs": _over(sets, LARGE, "single", [peer for peer in Peer if peer.is_graph]),
            "bytes_over_scann_1m": _bytes_over_scann(sets),
            "worst_over_faiss": min(
                _over(sets, SetName, mode, (Peer.FAISS,)) for mode in ("single", "batch")
            ),
            "small_single_over_flat": _over_flat(sets[SMALL]),
        },
        data="vectors of towers and of factors: " + ", ".join(SetName),
        seeds=(0,),
        details={
            "qps": {
                name: {peer: found["qps"] for peer, found in each.items()} for name, each in sets.items()
            },
            "build_seconds and bytes_per_item": {
                name: {peer: found["builds"] for peer, found in each.items()} for name, each in sets.items()
            },
            "peers": {peer: list(pins) for peer, pins in PINS.items()},
            "plans": {name: plan.key for name, plan in PLANS.items()},
        },
    )


def _swept(kept: Kept, name: SetName, peer: Peer) -> dict[str, Any]:
    """Rates and builds of one peer over one set."""
    begun_at, key = kept.commit(), f"{name}-{peer}"
    found = kept.get(key)
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


def _over(
    sets: dict[str, dict[str, Any]], names: Iterable[SetName], mode: str, peers: Iterable[Peer]
) -> float:
    """Our rate over the best peer's at recall .95, the smallest of the sets; who does not reach it is out."""
    ratios = []
    for name in names:
        own = sets[name][Peer.OWN]["qps"][mode][_AT]
        theirs = [rate for peer in peers if (rate := sets[name][peer]["qps"][mode][_AT]) is not None]
        if own is None:
            raise BenchmarkError(f"{name}: our own index does not reach recall {_AT}")
        if theirs:
            ratios.append(float(own / max(theirs)))
    return round(min(ratios), 2)


def _bytes_over_scann(sets: dict[str, dict[str, Any]]) -> float:
    """Bytes per item of our index that codes refine, over those of ScaNN's leanest: at a million titles."""
    name = SetName.TOWERS_1M
    own = [one["bytes"] for one in sets[name][Peer.OWN]["builds"] if one["build"]["refinement"] == "codes"]
    theirs = [one["bytes"] for one in sets[name][Peer.SCANN]["builds"]]
    return round(float(max(own) / min(theirs)), 3)


def _over_flat(of_set: dict[str, Any]) -> float:
    """Our rate at recall .99, one at a time, over that of a FAISS scan."""
    (flat,) = [
        one["single_qps"] for one in of_set[Peer.FAISS]["points"] if one["build"].get("factory") == "Flat"
    ]
    own = of_set[Peer.OWN]["qps"]["single"][_AT_SMALL]
    if own is None:
        raise BenchmarkError(f"{SMALL}: our own index does not reach recall {_AT_SMALL}")
    return round(float(own / flat), 2)
