"""Claim `loader`: history positions per second on one core, beside torch's loader and RePlay's ParquetModule.

All three read the same log, warm in the page cache: all four columns, shuffled, in windows of at most 50
events and batches of about 8,192 positions. What counts is positions that a model reads, never padding, and
seconds of the core: none of the three waits for anything, but other processes may have the core meanwhile.
"""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import torch

from benchmarks.claims import BenchmarkError
from benchmarks.environment import peer_python
from benchmarks.measurement import Measurement
from benchmarks.stages import ROOT, on_cores
from towers.data.batches import LoaderSettings
from towers.data.encoded import EncodedProfiles
from towers.data.histories import Histories, runs
from towers.data.loader import EpochPlan, WindowLoader
from towers.data.windows import Blocks, TrainingWindows

COLUMNS = ("item_row", "time_seconds", "minutes", "weight")
REPLAY = ("replay-rec[torch]==0.22.0", "torch==2.13.0")
MAX_HISTORY, BATCH_POSITIONS, NUM_ROUNDS, SEED = 50, 8192, 3, 0
# RePlay shuffles within a partition, and wants 20 batches in one at least; a larger one is slower.
PARTITION_BATCHES = 32


def measure() -> Measurement:
    """Medians of three rounds, in each of which all three read a whole epoch, one after another."""
    python = peer_python("replay", REPLAY)
    rng = np.random.default_rng(SEED)
    generated = np.maximum(3, rng.lognormal(np.log(40), 1.0, 50_000)).astype(np.int64)
    torch.set_num_threads(1)
    with on_cores(1):
        rounds = _rounds(generated, python, NUM_ROUNDS)
        others = {name: _rounds(lengths, python, 1) for name, lengths in _real_lengths().items()}
    ours, by_torch, by_replay = (np.array(rates) for rates in zip(*rounds, strict=True))
    return Measurement(
        figures={
            "positions_per_second": round(median(ours)),
            "over_torch_dataloader": round(median(ours / by_torch), 2),
            "over_replay_parquet": round(median(ours / by_replay), 2),
        },
        data=f"a generated log: {generated.sum():,} events, {len(generated):,} profiles, lognormal lengths",
        seeds=(SEED,),
        details={
            "positions_per_second": {"ours, torch, replay": rounds},
            "with the lengths of": others,
            "replay": list(REPLAY),
            "windows": {"max_history": MAX_HISTORY, "batch_positions": BATCH_POSITIONS},
        },
    )


def _rounds(lengths: np.ndarray, replay: Path, num_rounds: int) -> list[tuple[int, int, int]]:
    """Positions per second of each round: ours, torch's, RePlay's."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        windows_per_batch = _write_log(lengths, folder)
        partition = PARTITION_BATCHES * windows_per_batch
        peers = (
            [sys.executable, _peer("torch_dataloader"), folder, windows_per_batch],
            [
                *(replay, _peer("replay_parquet"), folder / "windows.parquet"),
                *(MAX_HISTORY, windows_per_batch, partition),
            ],
        )
        _read(folder)  # files into the page cache, code into its own
        return [(_read(folder), _asked(peers[0]), _asked(peers[1])) for _ in range(num_rounds)]


def _write_log(lengths: np.ndarray, folder: Path) -> int:
    """The log for all three; gives how many windows are about BATCH_POSITIONS."""
    rng = np.random.default_rng(SEED)
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    num_events = int(offset[-1])
    columns: dict[str, np.ndarray] = {
        "item_row": rng.integers(0, 50_000, num_events).astype(np.int32),
        "time_seconds": np.sort(rng.integers(0, 2**31, num_events)),
        "minutes": rng.uniform(1, 120, num_events).astype(np.float32),
        "weight": rng.uniform(0.1, 1, num_events).astype(np.float32),
    }
    for name, column in (*columns.items(), ("offset", offset)):
        np.save(folder / f"{name}.npy", column)
    # The peers read windows cut beforehand: neither cuts a history itself.
    _, start, stop = _windows(folder).cut(0, len(lengths), rng)
    start, shown = start[stop - start > 1], (stop - start - 1)[stop - start > 1]
    np.save(folder / "window.npy", np.stack([start, start + shown], axis=1))
    event = runs(start, shown)
    place = pa.array(np.concatenate([np.zeros(1, np.int64), np.cumsum(shown)]))
    table = {
        name: pa.LargeListArray.from_arrays(place, pa.array(column[event]))
        for name, column in columns.items()
    }
    pq.write_table(pa.table(table), folder / "windows.parquet")
    return round(BATCH_POSITIONS / float(shown.mean()))


def _windows(folder: Path) -> TrainingWindows:
    columns = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("offset", *COLUMNS)]
    history = Histories(*(column.view(np.ndarray) for column in columns))
    country = EncodedProfiles(np.zeros((len(history), 1), np.int32), np.zeros((len(history), 0), np.float32))
    return TrainingWindows(history, history.lengths, country, MAX_HISTORY)


def _read(folder: Path) -> int:
    """Positions per second of an epoch of ours, from the files on: mapped, planned, shuffled, packed."""
    begun = time.process_time()
    windows = _windows(folder)
    settings = LoaderSettings(batch_positions=BATCH_POSITIONS)
    loader = WindowLoader(EpochPlan.of(windows, Blocks.of(windows), settings, SEED, 0))
    shown = [batch.num_shown for batch in loader]
    seconds = time.process_time() - begun
    return round(sum(int(each.sum()) for each in shown) / seconds)


def _asked(command: Sequence[object]) -> int:
    """Positions per second of a peer, in a process of its own on our core."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "ARROW_NUM_THREADS", "ARROW_IO_THREADS"), "1")
    spelled = [str(part) for part in command]
    answer = subprocess.run(
        spelled, stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT, env=os.environ | one_thread
    )
    if answer.returncode:
        raise BenchmarkError(f"{spelled[1]} ended with exit code {answer.returncode}; expected 0")
    found = json.loads(answer.stdout.splitlines()[-1])
    return round(int(found["positions"]) / float(found["seconds"]))


def _peer(name: str) -> Path:
    return ROOT / "benchmarks" / "peers" / f"{name}.py"


def _real_lengths() -> dict[str, np.ndarray]:
    """History lengths of two real logs, repeated to two million events; none where they are not at hand."""
    folder = Path(os.environ.get("TOWERS_DATA", ""))
    beauty, movielens = folder / "amazon-beauty/sequences.txt.gz", folder / "ml-latest-small/ratings.csv.gz"
    found: dict[str, np.ndarray] = {}
    if beauty.is_file():
        with gzip.open(beauty, "rt") as lines:
            found["amazon-beauty"] = np.array([len(line.split()) - 1 for line in lines])
    if movielens.is_file():
        profile = csv.read_csv(movielens)["userId"].to_numpy()
        found["ml-latest-small"] = np.unique(profile, return_counts=True)[1]
    return {name: np.tile(length, -(-2_000_000 // length.sum())) for name, length in found.items()}
