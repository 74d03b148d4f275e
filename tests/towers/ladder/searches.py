"""Searches with a known answer, and processes that carry them out together or are killed in the middle."""

import os
import signal
from collections.abc import Mapping
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from towers.ladder.rungs import RungName
from towers.ladder.search import Plan, search
from towers.ladder.search_spaces import Floats, Plain
from towers.ladder.trials import Budget

OPTIMUM = 3.0
NUM_QUESTIONS = 4


def plan(folder: Path, *, start: float = 50.0, pilot_share: float = 1.0, seed: int = 0) -> Plan:
    space = (Floats("x", 0.01, 100.0, log=True),)
    return Plan(RungName.EASE, "a-study", space, {"x": start}, pilot_share, seed, folder)


def quality(chosen: Mapping[str, Plain], share: float) -> np.ndarray:
    """1 at the optimum, less the further away; a pilot finds a tenth less everywhere."""
    assert isinstance(chosen["x"], float)
    away = np.log10(chosen["x"] / OPTIMUM)
    return np.full(NUM_QUESTIONS, (1.0 if share == 1.0 else 0.9) / (1.0 + away**2))


def share_budget(folder: Path, num_trials: int, both_began: Barrier) -> None:
    """One of two processes: no trial ends before each of them has one."""
    measured: list[float] = []

    def measure(chosen: Mapping[str, Plain], share: float) -> np.ndarray:
        if not measured:
            both_began.wait(timeout=60)
        measured.append(share)
        with (folder / f"{os.getpid()}.measured").open("a") as file:
            file.write(f"{chosen['x']}\n")
        return quality(chosen, share)

    search(plan(folder), measure, Budget(num_trials))


def die(folder: Path, num_trials: int, calls_before: int) -> None:
    """Kills itself in the call after so many of `measure`."""
    calls = 0

    def measure(chosen: Mapping[str, Plain], share: float) -> np.ndarray:
        nonlocal calls
        if calls == calls_before:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return quality(chosen, share)

    search(plan(folder, pilot_share=0.5), measure, Budget(num_trials))
