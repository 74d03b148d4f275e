"""Claim `training-speed`: positions trained per second, beside RePlay's TwoTower and RecTools' SASRec.

All three train on the same histories, without their last two events and cut to the last L, on the same two
cores, with the same width, one layer of one head, and the softmax over all items. A step is the next batch of
its own loader, forward, loss, backward and its own optimiser, without Lightning. What counts are positions
that have an event before and one after them, never padding: each has as many in an epoch.
"""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.csv as csv
import torch

from benchmarks.claims import BenchmarkError
from benchmarks.environment import peer_python
from benchmarks.measurement import Measurement
from benchmarks.stages import ROOT, on_cores
from towers.errors import MissingDataError
from towers.objectives.softmax import full_softmax

REPLAY = ("replay-rec[torch]==0.22.0", "torch==2.13.0")
RECTOOLS = ("rectools[torch]==0.19.0", "torch==2.13.0")
DIM, NUM_CORES, NUM_ROUNDS = 64, 2, 3
TEMPERATURE, SQUARE, SOFTMAX_ROUNDS = 0.05, 2048, 9


@dataclass(frozen=True, slots=True)
class _Setup:
    """One data set, and how it is trained on.

    timed: steps that are timed, ours and the peers'; a fifth as many, one at least, come before them. Ours
    are more, since a step of theirs takes as long as many of ours.
    """

    folder: str
    max_history: int
    batch_profiles: int
    timed: tuple[int, int]


SHORT = _Setup("amazon-beauty", max_history=50, batch_profiles=256, timed=(60, 4))
# A batch of 256 would give the peers' logits 2 GB, of which each holds several copies.
LONG = _Setup("ml-latest-small", max_history=200, batch_profiles=64, timed=(15, 4))


def measure() -> Measurement:
    """Medians of three rounds, in each of which all three train, one after another."""
    torch.set_num_threads(NUM_CORES)
    pythons = {"replay": peer_python("replay", REPLAY), "rectools": peer_python("rectools-sasrec", RECTOOLS)}
    with on_cores(NUM_CORES), TemporaryDirectory() as name:
        short, long = (_write_log(setup, Path(name)) for setup in (SHORT, LONG))
        softmax = _softmax_rounds(short)
        of_short, of_long = (
            [_round(setup, path, pythons) for _ in range(NUM_ROUNDS)]
            for setup, path in ((SHORT, short), (LONG, long))
        )
    return Measurement(
        figures={
            "over_replay": _over(of_short, "replay"),
            "over_rectools": _over(of_short, "rectools"),
            "long_over_replay": _over(of_long, "replay"),
            "long_over_rectools": _over(of_long, "rectools"),
            "softmax_share_of_cpu_peak": round(median(share for share, _, _ in softmax), 3),
        },
        data=f"{SHORT.folder} (L = {SHORT.max_history}), {LONG.folder} (L = {LONG.max_history})",
        seeds=(0,),
        details={
            "steps": {SHORT.folder: of_short, LONG.folder: of_long},
            "softmax": {"share, GFLOP/s, GFLOP/s of a square product": softmax},
            "peers": [*REPLAY, *RECTOOLS],
            "model": {"dim": DIM, "layers": 1, "heads": 1, "dropout": 0.2, "dtype": "float32"},
        },
    )


def _over(rounds: Sequence[dict[str, dict[str, float]]], peer: str) -> float:
    return round(
        median(one["ours"]["positions_per_second"] / one[peer]["positions_per_second"] for one in rounds), 2
    )


def _round(setup: _Setup, path: Path, pythons: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Positions per second, last loss and peak memory of each, in processes of their own."""
    ours, theirs = setup.timed
    peers = ROOT / "benchmarks" / "peers"
    return {
        "ours": _steps([sys.executable, "-m", "benchmarks.training_steps"], setup, path, ours),
        "replay": _steps([pythons["replay"], peers / "replay_two_tower.py"], setup, path, theirs),
        "rectools": _steps([pythons["rectools"], peers / "rectools_sasrec.py"], setup, path, theirs),
    }


def _steps(program: Sequence[object], setup: _Setup, path: Path, timed: int) -> dict[str, float]:
    numbers = (DIM, setup.max_history, setup.batch_profiles, max(1, timed // 5), timed)
    spelled = [str(part) for part in (*program, path, *numbers)]
    answer = subprocess.run(
        spelled,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(NUM_CORES)},
    )
    if answer.returncode:
        raise BenchmarkError(f"{' '.join(spelled)} ended with exit code {answer.returncode}; expected 0")
    found = json.loads(answer.stdout.splitlines()[-1])
    made = {
        "positions_per_second": round(found["positions"] / found["seconds"], 1),
        "loss": round(found["loss"], 4),
        "peak_mib": round(found["peak_mib"]),
    }
    print(f"{setup.folder} {Path(spelled[-7]).name} {made}", file=sys.stderr, flush=True)
    return made


def _softmax_rounds(log: Path) -> list[tuple[float, float, float]]:
    """The full softmax on a batch of the log's size: its share of a square product, and the rates of both."""
    read = np.load(log)
    num_items, num_profiles = int(read["num_items"]), len(read["offset"]) - 1
    num_positions = round(SHORT.batch_profiles * len(read["item_row"]) / num_profiles)
    torch.manual_seed(0)
    query, item = (
        torch.nn.functional.normalize(torch.randn(size, DIM), dim=1).requires_grad_()
        for size in (num_positions, num_items)
    )
    target, weight = torch.randint(0, num_items, (num_positions, 1)), torch.ones(num_positions, 1)
    left, right, product = (torch.randn(SQUARE, SQUARE) for _ in range(3))

    def both_passes() -> None:
        loss = full_softmax(query, item, target, weight, temperature=TEMPERATURE)
        torch.autograd.grad(loss, (query, item))

    def square() -> None:
        torch.mm(left, right, out=product)

    rounds = []
    for _ in range(SOFTMAX_ROUNDS + 1):
        found = 6 * num_positions * num_items * DIM / _seconds(both_passes) / 1e9
        peak = 2 * SQUARE**3 / _seconds(square) / 1e9
        rounds.append((round(found / peak, 3), round(found, 1), round(peak, 1)))
    return rounds[1:]  # the first made threads and buffers


def _seconds(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _write_log(setup: _Setup, folder: Path) -> Path:
    """The histories that all three train on, in dense rows."""
    root = Path(os.environ.get("TOWERS_DATA", ""), setup.folder)
    profile, item, time_seconds = _READERS[setup.folder](root)
    offset = np.searchsorted(profile, np.arange(profile[-1] + 2))
    # The last tests and the one before validates, where there are three.
    end = offset[1:] - 2 * (np.diff(offset) >= 3)
    start = np.maximum(offset[:-1], end - setup.max_history)
    kept = np.concatenate([np.arange(first, last) for first, last in zip(start, end, strict=True)])
    names, row = np.unique(item[kept], return_inverse=True)
    path = folder / f"{setup.folder}.npz"
    np.savez(
        path,
        offset=np.concatenate([[0], np.cumsum(end - start)]),
        item_row=row.astype(np.int64),
        time_seconds=time_seconds[kept],
        num_items=len(names),
    )
    return path


def _beauty(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with gzip.open(_existing(folder / "sequences.txt.gz"), "rt") as lines:
        histories = [[int(word) for word in line.split()[1:]] for line in lines]
    lengths = [len(history) for history in histories]
    # It has no times: one second apart.
    return np.repeat(np.arange(len(lengths)), lengths), np.concatenate(histories), np.arange(sum(lengths))


def _movielens(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = csv.read_csv(_existing(folder / "ratings.csv.gz"))
    profile, item, time_seconds = (table[name].to_numpy() for name in ("userId", "movieId", "timestamp"))
    order = np.lexsort((time_seconds, profile))
    _, profile = np.unique(profile, return_inverse=True)
    return profile[order], item[order], time_seconds[order]


_READERS = {SHORT.folder: _beauty, LONG.folder: _movielens}


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise MissingDataError(
            f"{path}: no such file; TOWERS_DATA must hold {SHORT.folder} and {LONG.folder}"
        )
    return path
