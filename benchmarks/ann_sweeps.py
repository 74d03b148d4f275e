"""What each peer of the claim `ann` is tried with: builds, and for each the searches over them.

As wide as it takes for the best of a peer at recall .90, .95 and .99 to lie inside, and not at an end.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

from benchmarks.peers.ann_timing import _ENOUGH, _LEAST_GAIN


class Peer(StrEnum):
    """Libraries that are searched beside each other."""

    OWN = "own"
    FAISS = "faiss"
    SCANN = "scann"
    SCANN_TRANSFORMED = "scann_transformed"
    """ScaNN over vectors that are brought into the metric of real queries first, as ours are: what of the
    difference is the metric. No figure hangs on it."""
    HNSWLIB = "hnswlib"
    USEARCH = "usearch"
    VOYAGER = "voyager"

    @property
    def is_graph(self) -> bool:
        """Whether it is searched along a graph alone."""
        return self in (Peer.HNSWLIB, Peer.USEARCH, Peer.VOYAGER)


@dataclass(frozen=True, slots=True)
class Setting:
    """One build of a peer, and searches over it in lines by rising effort, with the keys of its script."""

    build: dict[str, Any]
    lines: tuple[tuple[dict[str, Any], ...], ...]


_PROBES = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
_EFFORTS = (100, 150, 200, 300, 500, 800, 1200)
_MANY_ITEMS = 500_000

# Besides, where the best of a peer does not lie inside of that: over vectors of many lengths, whose best are
# in many partitions, and over very many items.
_MORE_PROBES = (512, 1024, 2048, 4096)
_FEW_PROBES = (64, 128, 256, *_MORE_PROBES)
_MORE_EFFORTS = (2000, 4000)


def sweep(peer: Peer, num_items: int, *, unit: bool) -> list[Setting]:
    """The settings of a peer for so many items. unit: whether their vectors are; no graph of FAISS else.

    A graph of very many items takes half an hour to build: one of each of the graph libraries, none of FAISS.
    Of vectors that are not unit, and of very many, each is tried with more effort; of graphs the fastest.
    """
    more = not unit or num_items >= _MANY_ITEMS
    match peer:
        case Peer.OWN:
            return _own()
        case Peer.FAISS:
            return _faiss(num_items, unit=unit, more=more)
        case Peer.SCANN | Peer.SCANN_TRANSFORMED:
            return _scann(num_items, more=more)
        case Peer.HNSWLIB:
            return [Setting(graph, _efforts(more=more)) for graph in _graphs(num_items)]
        case Peer.VOYAGER:
            return [Setting(graph, _efforts()) for graph in _graphs(num_items)]
        case Peer.USEARCH:
            return [Setting(graph | {"dtype": "f32"}, _efforts()) for graph in _graphs(num_items)]


def _own() -> list[Setting]:
    """An index compiled for each recall, refined by codes alone or by the vectors."""
    return [
        Setting({"target": target, "refinement": refinement}, (tuple({"recall": one} for one in near),))
        for target, near in ((0.95, (0.9, 0.93, 0.95, 0.97)), (0.99, (0.98, 0.99, 0.995)))
        for refinement in ("codes", "vectors")
    ]


def lists_for(num_items: int) -> tuple[int, int]:
    """Partitions to try: the power of two next to 2 √N and the one above; 1,024 and 2,048 of 200,000."""
    low = max(4, round(math.log2(2 * math.sqrt(num_items))))
    return 1 << low, 1 << (low + 1)


def _faiss(num_items: int, *, unit: bool, more: bool) -> list[Setting]:
    settings = [Setting({"factory": "Flat"}, (({},),))]
    for num_lists in lists_for(num_items):
        # Beyond half of the partitions codes find as much in less time; vectors take about as long as a scan.
        probes = [num for num in _probes(num_lists, more=more) if num in _PROBES or num <= num_lists // 2]
        probed = (tuple({"nprobe": num} for num in probes),)
        refined = [
            tuple(
                {"nprobe": num, "k_factor": factor} for num in _probes(num_lists, more=more and factor >= 3)
            )
            for factor in (1.5, 2, 3, 5, 10)
        ]
        if more:
            refined += [
                tuple({"nprobe": num, "k_factor": factor} for num in _FEW_PROBES if num <= num_lists)
                for factor in (20, 40)
            ]
        settings += [
            Setting({"factory": f"IVF{num_lists},PQ64x4fsr,RFlat"}, tuple(refined)),
            Setting({"factory": f"IVF{num_lists},SQ8"}, probed),
            Setting({"factory": f"IVF{num_lists},Flat"}, probed),
        ]
    if unit and num_items < _MANY_ITEMS:
        settings.append(Setting({"factory": "HNSW32", "ef_construction": 200}, _efforts()))
    return settings


def _scann(num_items: int, *, more: bool) -> list[Setting]:
    settings = []
    for num_leaves, soar in product(lists_for(num_items), (None, 1.5)):
        lines = [
            tuple(
                {"leaves": leaves, "reordered": reordered}
                for leaves in _probes(num_leaves, more=more and reordered >= 350)
                if leaves >= 4
            )
            for reordered in (130, 200, 350, 700)
        ]
        if more:
            lines += [
                tuple(
                    {"leaves": leaves, "reordered": reordered}
                    for leaves in _FEW_PROBES
                    if leaves <= num_leaves
                )
                for reordered in (1000, 2000, 4000)
            ]
        build = {"num_leaves": num_leaves, "soar_lambda": soar, "quantize_centroids": False}
        settings.append(Setting(build | {"anisotropic": 0.2, "reorder": "float32"}, tuple(lines)))
    return settings


def _probes(most: int, *, more: bool) -> list[int]:
    """How many of the partitions are looked through, by rising effort; no more than so many."""
    return [num for num in (*_PROBES, *(_MORE_PROBES if more else ())) if num <= most]


def _graphs(num_items: int) -> list[dict[str, Any]]:
    links = (16, 32) if num_items < _MANY_ITEMS else (16,)
    return [{"num_links": num, "ef_construction": 200} for num in links]


def _efforts(*, more: bool = False) -> tuple[tuple[dict[str, Any], ...], ...]:
    return (tuple({"ef": ef} for ef in (*_EFFORTS, *(_MORE_EFFORTS if more else ()))),)


def unswept(settings: Sequence[Setting], points: Sequence[dict[str, Any]]) -> list[Setting]:
    """What of these settings is not among the points: builds, each with what is left of its lines.

    A line that has ended, as a peer's script ends it, has nothing left beyond that.
    """
    known = {key_of(one["build"], one["search"]): one for one in points}
    left = []
    for setting in settings:
        lines = [_left(setting.build, line, known) for line in setting.lines]
        if any(lines):
            left.append(Setting(setting.build, tuple(line for line in lines if line)))
    return left


def _left(
    build: dict[str, Any], line: Sequence[dict[str, Any]], known: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], ...]:
    left, last = [], -1.0
    for search in line:
        point = known.get(key_of(build, search))
        if point is None:
            left.append(search)
        elif point["refused"] is None:
            least = min(point["single_recall"], point["batch_recall"])
            if least >= _ENOUGH or least < last + _LEAST_GAIN:
                break
            last = least
    return tuple(left)


def key_of(*said: dict[str, Any]) -> str:
    """A build, or a build and a search, as one string: whatever the order of their keys."""
    return json.dumps(said, sort_keys=True)
