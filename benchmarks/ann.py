"""Claim `ann`: queries per second at equal recall, beside plain FAISS, ScaNN and graphs.

Recall@100 against the exact answer on a thousand held-out queries, over seven sets of vectors, of towers and
of factors that were trained on logs; one at a time on one thread, and by 1,024 on two. Every library is swept
over its settings on whatever day; what counts is the best of it at a recall, measured in one go with ours.

A set takes from minutes to hours; of graphs over a million titles the fastest alone is built. Its record
stands until what measured it changes. `python -m benchmarks.ann <set> …` measures these sets and says what
all that stand show; a figure is null while a set that it needs is missing.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.__main__ import print_figures
from benchmarks.ann_peers import PINS
from benchmarks.ann_records import measured_set, standing_set
from benchmarks.ann_sweeps import Peer
from benchmarks.ann_vectors import SetName
from benchmarks.claims import BenchmarkError, read_claims
from benchmarks.measurement import Measurement, record, save

LARGE = (SetName.TOWERS_200K, SetName.FACTORS_200K, SetName.TOWERS_1M, SetName.FACTORS_1M)
SMALL = SetName.TOWERS_50K
_AT, _AT_SMALL = "0.95", "0.99"
_GRAPHS = tuple(peer for peer in Peer if peer.is_graph)

Peers = dict[str, dict[str, Any]]
"""By peer, its rates, builds and points over one set."""


def measure() -> Measurement:
    """The smallest ratios over the sets; those that do not stand are measured, in hours."""
    return _measurement({name: measured_set(name) for name in SetName})


def figures(sets: dict[SetName, Peers]) -> dict[str, float | None]:
    """The figures of the claim; null where a set that it needs is missing."""
    return {
        "single_over_faiss": _over(sets, LARGE, "single", (Peer.FAISS,)),
        "batch_over_faiss": _over(sets, LARGE, "batch", (Peer.FAISS,)),
        "single_over_scann": _over(sets, LARGE, "single", (Peer.SCANN,)),
        "batch_over_scann": _over(sets, LARGE, "batch", (Peer.SCANN,)),
        "single_over_graphs": _over(sets, LARGE, "single", _GRAPHS),
        "bytes_over_scann_1m": _bytes_over_scann(sets.get(SetName.TOWERS_1M)),
        "worst_over_faiss": _smallest(
            _over(sets, SetName, mode, (Peer.FAISS,)) for mode in ("single", "batch")
        ),
        "small_single_over_flat": _over_flat(sets.get(SMALL)),
    }


def _measurement(records: dict[SetName, dict[str, Any]]) -> Measurement:
    sets = {name: found["peers"] for name, found in records.items()}
    return Measurement(
        figures=figures(sets),
        data="vectors of towers and of factors: " + ", ".join(sets),
        seeds=(0,),
        details={
            "qps": {name: {peer: one["qps"] for peer, one in each.items()} for name, each in sets.items()},
            "peers": {peer: list(pins) for peer, pins in PINS.items()},
            "sets": {
                name: {key: value for key, value in found.items() if key not in ("peers", "sweeps")}
                for name, found in records.items()
            },
        },
    )


def _over(
    sets: dict[SetName, Peers], names: Iterable[SetName], mode: str, peers: Iterable[Peer]
) -> float | None:
    """Our rate over the best peer's at recall .95, the smallest of the sets; who does not reach it is out."""
    ratios: list[float | None] = []
    for name in names:
        if name not in sets:
            return None
        own = sets[name][Peer.OWN]["qps"][mode][_AT]
        theirs = [
            rate
            for peer in peers
            if peer in sets[name] and (rate := sets[name][peer]["qps"][mode][_AT]) is not None
        ]
        if own is None:
            raise BenchmarkError(f"{name}: our own index does not reach recall {_AT}")
        if theirs:
            ratios.append(float(own / max(theirs)))
    return _smallest(ratios)


def _smallest(ratios: Iterable[float | None]) -> float | None:
    known = list(ratios)
    return None if None in known else round(min(one for one in known if one is not None), 2)


def _bytes_over_scann(of_set: Peers | None) -> float | None:
    """Bytes per item of our index that codes refine, over those of ScaNN's leanest: at a million titles."""
    if of_set is None:
        return None
    own = [one["bytes"] for one in of_set[Peer.OWN]["builds"] if one["build"]["refinement"] == "codes"]
    theirs = [one["bytes"] for one in of_set[Peer.SCANN]["builds"]]
    return round(float(max(own) / min(theirs)), 3)


def _over_flat(of_set: Peers | None) -> float | None:
    """Our rate at recall .99, one at a time, over that of a FAISS scan."""
    if of_set is None:
        return None
    (flat,) = [
        one["single_qps"] for one in of_set[Peer.FAISS]["points"] if one["build"].get("factory") == "Flat"
    ]
    own = of_set[Peer.OWN]["qps"]["single"][_AT_SMALL]
    if own is None:
        raise BenchmarkError(f"{SMALL}: our own index does not reach recall {_AT_SMALL}")
    return round(float(own / flat), 2)


def main(names: Sequence[str]) -> None:
    """Measures these sets, and saves what all sets that stand show."""
    for name in names:
        measured_set(SetName(name))
    standing = {name: found for name in SetName if (found := standing_set(name)) is not None}
    claim = read_claims()["ann"]
    made = record(claim, _measurement(standing))
    save(made)
    print_figures([(claim, made)])


if __name__ == "__main__":
    main(sys.argv[1:])
