"""The peers of the claim `ann`: each in an environment of its own, over a vector set, on two cores.

`python -m benchmarks.ann_peers <set> <peer> …` sweeps peers over a set, all without a name, and prints the
queries per second that each reaches at three levels of recall.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.ann_sweeps import Peer, Setting, sweep
from benchmarks.ann_vectors import SetName, made
from benchmarks.claims import BenchmarkError
from benchmarks.environment import peer_python
from benchmarks.stages import ROOT, on_cores

LEVELS = (0.90, 0.95, 0.99)
_NUMPY = "numpy==2.4.1"
_SCANN = ("scann==1.4.2", "protobuf==7.36.2", _NUMPY)
PINS = {
    Peer.SCANN: _SCANN,
    Peer.SCANN_TRANSFORMED: _SCANN,
    Peer.HNSWLIB: ("hnswlib==0.8.0", _NUMPY),
    Peer.USEARCH: ("usearch==2.26.6", _NUMPY),
    Peer.VOYAGER: ("voyager==2.2.3", _NUMPY),
}
"""What each is measured as; FAISS is our own."""

_NUM_CORES, _UNIT_TOLERANCE = 2, 1e-3


@dataclass(frozen=True, slots=True)
class Point:
    """A build and a search that were measured; `refused` is the error where the peer gave no answer."""

    build: dict[str, Any]
    search: dict[str, Any]
    build_seconds: float
    bytes_per_item: float
    single_recall: float = 0.0
    single_qps: float = 0.0
    single_p50_us: float | None = None
    single_p99_us: float | None = None
    batch_recall: float = 0.0
    batch_qps: float = 0.0
    refused: str | None = None


def swept(
    peer: Peer, vectors: Path, settings: Iterable[Setting], *, rounds: int, num_queries: int | None = None
) -> list[Point]:
    """Every point of a sweep, one process for each build. num_queries: of the set's test queries; all."""
    python = interpreter(peer)
    points = []
    with TemporaryDirectory() as name, on_cores(_NUM_CORES):
        for setting in settings:
            path = Path(name, "settings.json")
            path.write_text(json.dumps(asdict(setting) | {"rounds": rounds, "num_queries": num_queries}))
            points += _points(setting.build, _lines(peer, python, vectors, path))
            print(f"{peer} {setting.build}: {len(points)} points", file=sys.stderr, flush=True)
    return points


def interpreter(peer: Peer) -> Path:
    """The interpreter that runs a peer's script."""
    if peer in (Peer.OWN, Peer.FAISS):
        return Path(sys.executable)
    library = Peer.SCANN if peer is Peer.SCANN_TRANSFORMED else peer
    return peer_python(f"ann-{library}", PINS[peer])


def _lines(peer: Peer, python: Path, vectors: Path, settings: Path) -> list[dict[str, Any]]:
    script: list[str | Path] = [ROOT / "benchmarks" / "peers" / f"ann_{peer}.py"]
    if peer is Peer.OWN:
        script = ["-m", "benchmarks.ann_own"]
    answer = subprocess.run(
        [python, *script, vectors, settings],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(_NUM_CORES)},
    )
    if answer.returncode:
        raise BenchmarkError(f"{peer} ended with exit code {answer.returncode}; expected 0")
    return [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]


def _points(build: dict[str, Any], lines: Sequence[dict[str, Any]]) -> list[Point]:
    """Points of the lines that a script prints: the build's, then one for each search."""
    built, *searched = lines
    found = []
    for line in searched:
        refused = line.pop("error", None)
        found.append(Point(build=build, refused=refused, **built, **line))
    return found


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (recall, rate) pairs that no other equals or beats in both, by rising recall and falling rate."""
    best: list[tuple[float, float]] = []
    for recall, rate in sorted(set(points), reverse=True):
        if not best or rate > best[-1][1]:
            best.append((recall, rate))
    return best[::-1]


def rate_at(points: Iterable[tuple[float, float]], level: float) -> float | None:
    """The rate at a recall, between the two points of the front that it lies between; None beyond the last.

    The logarithm of the rate is taken as linear in recall. Below the first point its rate counts: whoever
    asks for less has that too.
    """
    known = front(points)
    if not known or level > known[-1][0]:
        return None
    above = next(place for place, (recall, _) in enumerate(known) if recall >= level)
    recall, rate = known[above]
    if above == 0:
        return rate
    low_recall, low_rate = known[above - 1]
    share = (level - low_recall) / (recall - low_recall)
    return math.exp((1 - share) * math.log(low_rate) + share * math.log(rate))


def rates(points: Sequence[Point], levels: Sequence[float] = LEVELS) -> dict[str, dict[str, float | None]]:
    """Queries per second at each recall, one at a time and in batches: of the best builds and searches."""
    answered = [point for point in points if point.refused is None]
    single = [(point.single_recall, point.single_qps) for point in answered]
    batch = [(point.batch_recall, point.batch_qps) for point in answered]
    return {
        mode: {f"{level:.2f}": _rounded(rate_at(pairs, level)) for level in levels}
        for mode, pairs in (("single", single), ("batch", batch))
    }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)


def is_unit(items: np.ndarray) -> bool:
    """Whether all vectors have length one."""
    return bool(np.abs(np.linalg.norm(items, axis=1) - 1.0).max() < _UNIT_TOLERANCE)


def main(name: str, peers: Sequence[str]) -> None:
    """Sweeps peers over a set."""
    path = made(SetName(name))
    items = np.load(path, allow_pickle=False)["items"]
    num_items, unit = len(items), is_unit(items)
    del items
    for peer in map(Peer, peers or list(Peer)):
        points = swept(peer, path, sweep(peer, num_items, unit=unit), rounds=3)
        print(json.dumps({"peer": peer, "set": name, "qps": rates(points)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
