"""What decides a result of the claim `ann`, as hashes: of a point that was measured, and of a whole sweep.

A point hangs on the vectors, the peer's pins and the code that measures it; not on which other searches are
tried. What a peer gives at a recall hangs on those too: on its settings, as `ann_sweeps` gives them for a set
of that shape, however that module is written.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.ann_peers import PINS, is_unit
from benchmarks.ann_sweeps import Peer, Setting, sweep
from benchmarks.ann_vectors import PLANS, SetName, made
from benchmarks.stages import ROOT

_NOT_SEARCHED = frozenset(
    ("gpu", "groups", "group_kernels", "cuda_graphs", "updates", "delta", "upkeep", "curve_report")
)
"""Modules of our index that no figure here hangs on: another device, changes between builds, a report."""


@dataclass(frozen=True, slots=True)
class SetShape:
    """What decides which settings are tried over a set: how many items, and whether all are of length one."""

    num_items: int
    unit: bool

    def settings(self, peer: Peer) -> list[Setting]:
        """The settings of a peer over a set of this shape."""
        return sweep(peer, self.num_items, unit=self.unit)


def shape_of(name: SetName) -> SetShape:
    """The shape of a set; it is made where it does not stand."""
    items = np.load(made(name), allow_pickle=False)["items"]
    return SetShape(len(items), is_unit(items))


def measured_by(name: SetName, peer: Peer) -> str:
    """A hash of all that decides a point of a peer: plan, pins, and code, its comments aside."""
    scripts = ROOT / "benchmarks"
    files = [scripts / "ann_peers.py", scripts / "peers" / "ann_timing.py"]
    if peer is Peer.OWN:
        index = sorted((ROOT / "retrieval" / "index").rglob("*.py"))
        files += [scripts / "ann_own.py", *(path for path in index if path.stem not in _NOT_SEARCHED)]
        files.append(ROOT / "towers" / "machine_code.py")
    else:
        files.append(scripts / "peers" / f"ann_{peer}.py")
    if peer is Peer.SCANN_TRANSFORMED:
        files.append(scripts / "peers" / "ann_scann.py")
    code = (ast.dump(ast.parse(path.read_text(encoding="utf-8"))) for path in files)
    return digest([PLANS[name].key, *PINS.get(peer, ()), *code])


def version(name: SetName, peer: Peer, shape: SetShape) -> str:
    """A hash of all that decides what a peer gives on a set: that of its points, and its settings."""
    settings = [asdict(setting) for setting in shape.settings(peer)]
    return digest([measured_by(name, peer), json.dumps(settings, sort_keys=True)])


def digest(said: Iterable[str]) -> str:
    """Sixteen hexadecimal digits that change with what is said."""
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]
