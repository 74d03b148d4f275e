"""Claim `ingest`: 50 million events from raw files to the training store, as scripts/ingest.py does it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.claims import BenchmarkError
from benchmarks.measurement import Measurement
from benchmarks.stages import ROOT, on_cores

NUM_EVENTS, NUM_FILES = 50_000_000, 5
NUM_PROFILES, NUM_ITEMS = 1_000_000, 50_000
FORMATS = ("csv", "parquet")
REPEATS = 3
SEED = 0

_DAYS = 30
_COLUMNS = "{profile_id: account, item_id: title_id, start: ts, minutes_watched: seconds, country: market}"
_SAMPLE_SECONDS = 0.02


def measure() -> Measurement:
    """Events per second and peak anonymous memory; of CSV and Parquet, the slower and the larger count."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        print(f"writing {NUM_EVENTS:,} raw events, as CSV and as Parquet, to {folder}", file=sys.stderr)
        size = {form: write_logs(folder / form, form) for form in FORMATS}
        os.sync()  # a service's logs are on disk already, not on their way there while they are read
        with on_cores(2):
            runs = {form: [_ingest(folder, form) for _ in range(REPEATS)] for form in FORMATS}
    seconds = {form: median(taken for taken, _ in found) for form, found in runs.items()}
    peak = {form: max(anonymous for _, anonymous in found) for form, found in runs.items()}
    return Measurement(
        figures={
            "events_per_second": round(NUM_EVENTS / max(seconds.values())),
            "peak_gib": round(max(peak.values()), 2),
        },
        data=f"{NUM_EVENTS:,} generated events of {NUM_PROFILES:,} profiles and {NUM_ITEMS:,} titles, in "
        f"{NUM_FILES} files, with tables of both; wall time of the whole process, without the data card",
        seeds=(SEED,),
        details={
            "gigabytes_of_raw_files": size,
            "seconds": {form: [round(taken, 1) for taken, _ in found] for form, found in runs.items()},
            "events_per_second": {form: round(NUM_EVENTS / taken) for form, taken in seconds.items()},
            "peak_gib": {form: round(value, 2) for form, value in peak.items()},
        },
    )


def write_logs(folder: Path, form: str, num_events: int = NUM_EVENTS, num_files: int = NUM_FILES) -> float:
    """Writes a service's raw files in one format, and gives their size in gigabytes.

    Profiles log-normal, titles by a power law, starts in the order of time with ties, minutes in seconds.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    account = pl.Series([f"u{n:07d}" for n in range(NUM_PROFILES)])
    title = pl.Series([f"t{n}" for n in range(NUM_ITEMS)])
    market = pl.Series(["US", "GB", "DE", "FR", "BR", "IN", "JP", "MX"])
    _write(
        pl.DataFrame(
            {
                "title_id": title,
                "name": "Title " + title,
                "minutes": rng.integers(20, 180, NUM_ITEMS),
                "year": rng.integers(1960, 2020, NUM_ITEMS),
            }
        ),
        folder / f"titles.{form}",
    )
    _write(
        pl.DataFrame({"account": account, "market": market[rng.integers(0, len(market), NUM_PROFILES)]}),
        folder / f"accounts.{form}",
    )
    activity = np.cumsum(rng.lognormal(0.0, 1.0, NUM_PROFILES))
    share = num_events // num_files
    for number in range(num_files):
        profile = np.searchsorted(activity, rng.random(share) * activity[-1])
        length = _DAYS * 86_400 // num_files
        frame = pl.DataFrame(
            {
                "account": account[np.minimum(profile, NUM_PROFILES - 1)],
                "title_id": title[(NUM_ITEMS * rng.random(share) ** 3).astype(np.int64)],
                "ts": 1_700_000_000 + number * length + np.sort(rng.integers(0, length, share)),
                "seconds": rng.integers(10, 7200, share),
                "market": market[rng.integers(0, len(market), share)],
            }
        )
        _write(frame, folder / f"events_{number}.{form}")
    return round(sum(path.stat().st_size for path in folder.iterdir()) / 1e9, 2)


def overrides(folder: Path, form: str) -> Sequence[str]:
    """What tells scripts/ingest.py of these files."""
    return (
        "data=tables",
        "card=false",
        f"data.events.path={folder}/events_*.{form}",
        f"data.events.columns={_COLUMNS}",
        "data.events.units={minutes_watched: s}",
        f"data.items.path={folder}/titles.{form}",
        "data.items.columns={item_id: title_id, title: name, duration_minutes: minutes, release_year: year}",
        f"data.profiles.path={folder}/accounts.{form}",
        "data.profiles.columns={profile_id: account, country: market}",
    )


def _write(frame: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)


def _ingest(folder: Path, form: str) -> tuple[float, float]:
    """Seconds of one run in a fresh process, and its peak anonymous memory in GiB."""
    command = [sys.executable, "scripts/ingest.py", *overrides(folder / form, form)]
    command.append(f"artifacts={folder / 'artifacts'}")
    begun = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr) as process:
        peak = _Peak(process.pid)
        peak.start()
        code = process.wait()
        seconds = time.perf_counter() - begun
        peak.join()
    if code:
        raise BenchmarkError(f"scripts/ingest.py ended with exit code {code}; expected 0")
    return seconds, peak.bytes / 2**30


class _Peak(threading.Thread):
    """Watches how much memory of its own a process holds, mapped files and the page cache apart."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._status = Path(f"/proc/{pid}/status")

    def run(self) -> None:
        while True:
            try:
                lines = self._status.read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                return
            held = [line.split() for line in lines if line.startswith("RssAnon:")]
            if not held:  # a process that has ended has no memory
                return
            self.bytes = max(self.bytes, int(held[0][1]) * 1024)
            time.sleep(_SAMPLE_SECONDS)
