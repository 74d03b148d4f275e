"""Claim `beauty`: leave-one-out on Amazon Beauty by the recipe as it is, with attributes and by ids alone.

The protocol is that of the published tables: sequences cut to the last 50, the last item tests, the second
last validates, every item is a candidate but those of the own history. Scores are exact inner products.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

from benchmarks.claims import BenchmarkError
from benchmarks.measurement import Measurement
from benchmarks.results import Kept
from benchmarks.stages import ROOT
from towers.data.dataset import read_dataset
from towers.data.signals.settings import signals_of
from towers.data.split import split, split_of
from towers.errors import MissingDataError
from towers.evaluation.evaluate import Metric, evaluate
from towers.exported import read_context
from towers.ladder.rungs import exact
from towers.nets.two_tower import load_towers

SEEDS = range(5)
FOLDER = "amazon-beauty"
ATTRIBUTES = {"with attributes": "item2attributes.json.gz", "ids only": None}
RECALL, NDCG = Metric.RECALL.at(10), Metric.NDCG.at(10)


def measure() -> Measurement:
    """Means over five seeds, each with attributes and by ids alone, two trainings at a time on a core each.

    It takes hours; a training that is done is kept, as `Kept` says.
    """
    folder, kept, running = _folder(), Kept("beauty"), list[subprocess.Popen[bytes]]()
    asked = [(kind, seed) for seed in SEEDS for kind in ATTRIBUTES]
    with ThreadPoolExecutor(2) as pool:
        each = [pool.submit(result, folder, kind, seed, kept, running) for kind, seed in asked]
        try:
            found = {one: made.result() for one, made in zip(asked, each, strict=True)}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for run in running:
                run.kill()
            raise
    whole, ids = ([found[kind, seed] for seed in SEEDS] for kind in ATTRIBUTES)
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
                kind: {metric: round(stdev(one[metric] for one in runs), 5) for metric in (RECALL, NDCG)}
                for kind, runs in zip(ATTRIBUTES, (whole, ids), strict=True)
            },
            "seeds": dict(zip(ATTRIBUTES, (whole, ids), strict=True)),
        },
    )


def result(
    folder: Path, kind: str, seed: int, kept: Kept, running: "list[subprocess.Popen[bytes]]"
) -> dict[str, float]:
    """R@10 and N@10 of one training, as kept or made now."""
    name, begun_at = f"{kind} {seed}", kept.commit()
    found = kept.get(name)
    if found is None:
        with TemporaryDirectory() as artifacts:
            run = _started(Path(artifacts), folder, seed, ATTRIBUTES[kind])
            running.append(run)
            if code := run.wait():
                raise BenchmarkError(f"scripts/train.py ended with exit code {code}; expected 0")
            found = judged(Path(artifacts))
        kept.put(name, found, begun_at)
    print(f"{kind}, seed {seed}: {json.dumps(found)}", file=sys.stderr, flush=True)
    return found


def judged(artifacts: Path) -> dict[str, float]:
    """R@10 and N@10 of an export on the test questions of its own split, by exact inner products."""
    context = read_context(artifacts / "model")
    dataset = read_dataset(artifacts / "tables", signals_of(context))
    evaluation = evaluate(
        exact(load_towers(artifacts / "model"), dataset),
        split(dataset, split_of(context)).test,
        num_items=len(dataset.catalogue),
        ks=(10,),
        name="test",
        show_progress=False,
    )
    return {metric: round(float(evaluation.per_query(metric).mean()), 5) for metric in (RECALL, NDCG)}


def _started(artifacts: Path, folder: Path, seed: int, attributes: str | None) -> "subprocess.Popen[bytes]":
    """scripts/train.py by the recipe's preset `best`, on one core."""
    overrides = ["data=sequences", f"data.path={folder / 'sequences.txt.gz'}", "recipe=best", f"seed={seed}"]
    if attributes is not None:
        overrides.append(f"data.attributes={folder / attributes}")
    command = [sys.executable, "scripts/train.py", *overrides, f"artifacts={artifacts}"]
    print("$ python", *command[1:], file=sys.stderr, flush=True)
    return subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr, env=os.environ | {"OMP_NUM_THREADS": "1"})


def _mean(runs: Sequence[dict[str, float]], metric: str) -> float:
    return round(mean(run[metric] for run in runs), 5)


def _folder() -> Path:
    given = os.environ.get("TOWERS_DATA")
    if not given or not Path(given, FOLDER).is_dir():
        raise MissingDataError(f"TOWERS_DATA: {given!r}; expected the folder that holds {FOLDER}")
    return Path(given, FOLDER).resolve()
