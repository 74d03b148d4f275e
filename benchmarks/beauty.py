"""Claim `beauty`: leave-one-out on Amazon Beauty by the recipe as it is, with attributes and by ids alone.

The protocol is that of the published tables: sequences cut to the last 50, the last item tests, the second
last validates, every item is a candidate but those of the own history. Scores are exact inner products.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

import torch

from benchmarks.claims import BenchmarkError
from benchmarks.measurement import Measurement
from benchmarks.stages import ROOT
from towers.data.dataset import read_dataset
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings, split
from towers.errors import MissingDataError
from towers.evaluation.evaluate import Metric, evaluate
from towers.evaluation.exact import ExactRecommender
from towers.nets.two_tower import load_towers

SEEDS = range(5)
FOLDER = "amazon-beauty"
RECALL, NDCG = Metric.RECALL.at(10), Metric.NDCG.at(10)


def measure() -> Measurement:
    """Means over five seeds, each with attributes and by ids alone; a core for each of the two."""
    folder = _folder()
    found: dict[str, list[dict[str, float]]] = {"with attributes": [], "ids only": []}
    for seed in SEEDS:
        with TemporaryDirectory() as name:
            runs = {
                "with attributes": _started(Path(name, "attributes"), folder, seed, with_attributes=True),
                "ids only": _started(Path(name, "only"), folder, seed, with_attributes=False),
            }
            for kind, run in runs.items():
                if code := run.wait():
                    raise BenchmarkError(f"scripts/train.py ended with exit code {code}; expected 0")
                found[kind].append(judged(Path(name, kind.split()[-1])))
            print(
                f"seed {seed}: {json.dumps({kind: each[-1] for kind, each in found.items()})}",
                file=sys.stderr,
            )
    whole, ids = found.values()
    return Measurement(
        figures={
            "r10": _mean(whole, RECALL),
            "n10": _mean(whole, NDCG),
            "r10_ids_only": _mean(ids, RECALL),
            "n10_ids_only": _mean(ids, NDCG),
        },
        data=f"{FOLDER}, leave-one-out, full catalogue, own history left out, exact inner product",
        seeds=SEEDS,
        details={
            "standard deviation": {
                kind: {metric: round(stdev(one[metric] for one in each), 5) for metric in (RECALL, NDCG)}
                for kind, each in found.items()
            },
            "seeds": found,
        },
    )


def judged(artifacts: Path) -> dict[str, float]:
    """R@10 and N@10 of an export on the test questions, by exact inner products."""
    dataset = read_dataset(artifacts / "tables", SignalSettings())
    towers = load_towers(artifacts / "model")
    vectors = towers.embed(towers.encoder.encode(dataset.items))
    item = torch.from_numpy(vectors)
    judged = evaluate(
        ExactRecommender(lambda queries: towers.encode(queries, item), vectors),
        split(dataset, SplitSettings()).test,
        num_items=len(vectors),
        ks=(10,),
        name="test",
        show_progress=False,
    )
    return {metric: round(float(judged.per_query(metric).mean()), 5) for metric in (RECALL, NDCG)}


def _started(artifacts: Path, folder: Path, seed: int, *, with_attributes: bool) -> "subprocess.Popen[bytes]":
    """scripts/train.py by the recipe's preset `best`, on one core."""
    overrides = ["data=sequences", f"data.path={folder / 'sequences.txt.gz'}"]
    if with_attributes:
        overrides.append(f"data.attributes={folder / 'item2attributes.json.gz'}")
    command = [sys.executable, "scripts/train.py", *overrides, "recipe=best", f"seed={seed}"]
    command.append(f"artifacts={artifacts}")
    print("$ python", *command[1:], file=sys.stderr, flush=True)
    return subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr, env=os.environ | {"OMP_NUM_THREADS": "1"})


def _mean(runs: Sequence[dict[str, float]], metric: str) -> float:
    return round(mean(run[metric] for run in runs), 5)


def _folder() -> Path:
    given = os.environ.get("TOWERS_DATA")
    if not given or not Path(given, FOLDER).is_dir():
        raise MissingDataError(f"TOWERS_DATA: {given!r}; expected the folder that holds {FOLDER}")
    return Path(given, FOLDER).resolve()
