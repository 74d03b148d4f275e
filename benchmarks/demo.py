"""Claim `demo`: what `make demo` runs, on two cores, and by how much it beats popularity."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measurement import Measurement
from benchmarks.stages import on_cores, read_n10, run_script, served_over

STAGES = ("train", "build_index", "evaluate", "recommend")
"""The scripts of `make demo`, in order."""


def measure() -> Measurement:
    """Wall time of the four scripts on the embedded default, and N@10 of what they serve over popularity."""
    with TemporaryDirectory() as folder, on_cores(2):
        artifacts = Path(folder, "demo")
        seconds = {stage: run_script(stage, f"artifacts={artifacts}") for stage in STAGES}
        n10 = read_n10(artifacts)
    return Measurement(
        figures={
            "seconds": round(sum(seconds.values()), 1),
            "n10_over_popularity": served_over(n10, "popular"),
        },
        data="the simulated streaming service and the seed of the default configuration",
        details={"seconds": {stage: round(taken, 1) for stage, taken in seconds.items()}, "n10": n10},
    )
