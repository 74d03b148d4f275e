"""The scripts as a user runs them: fresh processes, one after another."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.claims import BenchmarkError
from towers.evaluation.evaluate import Metric

ROOT = Path(__file__).resolve().parent.parent


def run_script(name: str, *overrides: str) -> float:
    """Wall time in seconds of scripts/<name>.py in a fresh process, whose output goes to stderr."""
    command = [sys.executable, f"scripts/{name}.py", *overrides]
    print("$ python", *command[1:], file=sys.stderr, flush=True)
    begun = time.perf_counter()
    code = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode
    seconds = time.perf_counter() - begun
    if code:
        raise BenchmarkError(f"scripts/{name}.py ended with exit code {code}; expected 0")
    return seconds


def read_n10(artifacts: Path) -> dict[str, float]:
    """N@10 of every recommender, from the evaluation that scripts/evaluate.py wrote."""
    path, n10 = artifacts / "evaluation.json", Metric.NDCG.at(10)
    try:
        recommenders = json.loads(path.read_text())["recommenders"]
        return {name: float(figures[n10]) for name, figures in recommenders.items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BenchmarkError(
            f"{path}: {error!r}; expected {n10} of each recommender, as scripts/evaluate.py writes it"
        ) from error


def served_over(n10: Mapping[str, float], other: str) -> float | None:
    """N@10 of what is served over that of another recommender; None where the other finds nothing at all."""
    missing = {"served", other} - set(n10)
    if missing:
        raise BenchmarkError(f"evaluation has {sorted(n10)}; expected {sorted(missing)} too")
    return n10["served"] / n10[other] if n10[other] > 0 else None


@contextmanager
def on_cores(num_cores: int) -> Iterator[None]:
    """Inside, this process and those it starts share that many cores, where the system can bind them."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:num_cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def median_if_all(values: Sequence[float | None]) -> float | None:
    """The median of repetitions; None where one of them could not be measured."""
    known = [value for value in values if value is not None]
    return median(known) if known and len(known) == len(values) else None
