"""Claim `simulator`: how fast a world of ten million events is made, on two cores."""

import time
from statistics import median

from benchmarks.measurement import Measurement
from benchmarks.stages import on_cores
from towers.data.sources.simulated import SimulatedSettings, simulate

NUM_EVENTS = 10_000_000
SMALLER = (60_000, 1_000_000)
REPEATS = 3


def measure() -> Measurement:
    """Events per second from settings to finished Arrow tables, median of three; smaller worlds beside it."""
    with on_cores(2):
        seconds = {num_events: [_seconds(num_events) for _ in range(REPEATS)] for num_events in sizes()}
    rate = {num_events: num_events / median(taken) for num_events, taken in seconds.items()}
    return Measurement(
        figures={"events_per_second": round(rate[NUM_EVENTS])},
        data=f"simulated service of {NUM_EVENTS:,} events with the default settings",
        seeds=[SimulatedSettings().seed] * REPEATS,
        details={
            "seconds": {f"{size:,}": [round(one, 2) for one in taken] for size, taken in seconds.items()},
            "events_per_second": {f"{size:,}": round(value) for size, value in rate.items()},
        },
    )


def sizes() -> tuple[int, ...]:
    """The worlds that are made, smallest first."""
    return (*SMALLER, NUM_EVENTS)


def _seconds(num_events: int) -> float:
    begun = time.perf_counter()
    simulate(SimulatedSettings(num_events=num_events))
    return time.perf_counter() - begun
