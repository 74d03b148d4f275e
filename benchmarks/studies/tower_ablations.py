"""What each part of the towers is worth: python -m benchmarks.studies.tower_ablations data=sequences ….

The towers as the settings have them, then each part out, by scripts/train.py on the same data, split and
seeds.
Figures are of the test questions; choices are made on validation alone, so none is made by this table.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.beauty import NDCG, RECALL, judged
from benchmarks.stages import ROOT

SEEDS = (0, 1)
PARTS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "one member of the same width": ("model.num_members=1",),
    "no time": ("model.time=none",),
    "no request time": ("model.time=history",),
    "no moments": ("model.moment_days=0",),
    "no ages": ("model.age_share=0",),
    "two layers": ("model.num_layers=2",),
    "no dropout of ids' numbers": ("model.embedding_dropout=0",),
    "no dropout in the user tower": ("model.dropout=0",),
    "no averaged weights": ("trainer.ema_decay=0",),
    "five targets": ("objective.num_targets=5",),
    "temperature .05": ("objective.temperature=0.05",),
    "1,024 mixed negatives": ("objective.kind=sampled_softmax", "objective.num_negatives=1024"),
    "in-batch, uncorrected": (
        "objective.kind=sampled_softmax",
        "objective.negatives=in_batch",
        "objective.correction=none",
    ),
}


def main() -> None:
    """Prints the table; the arguments are overrides of scripts/train.py, the data among them."""
    given = sys.argv[1:]
    runs = [(part, seed) for part in PARTS for seed in SEEDS]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = pool.map(lambda run: _trained([*given, *PARTS[run[0]]], run[1]), runs)
        quality = dict(zip(runs, track(found, "trained", len(runs)), strict=True))
    table = Table("part", "R@10", "N@10", "of the whole")
    whole = mean(quality["as it is", seed][NDCG] for seed in SEEDS)
    for part in PARTS:
        recall, ndcg = (mean(quality[part, seed][metric] for seed in SEEDS) for metric in (RECALL, NDCG))
        table.add_row(part, f"{recall:.4f}", f"{ndcg:.4f}", f"{ndcg / whole - 1:+.1%}")
    Console(width=110).print(table)


def _trained(overrides: Sequence[str], seed: int) -> dict[str, float]:
    with TemporaryDirectory() as name:
        command = [sys.executable, "scripts/train.py", *overrides, f"seed={seed}", f"artifacts={name}"]
        # A core each: two trainings side by side take less than one after another on both.
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        return judged(Path(name))


if __name__ == "__main__":
    main()
