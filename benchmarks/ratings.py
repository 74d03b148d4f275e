"""Claim `ratings`: the towers over the best simpler rung, on two logs with real times, under two splits.

One climb of all rungs for each, at the defaults of scripts/ladder.py, the towers by the recipe's preset
`best`. The best simpler rung is the best one on the very test questions, which favours it: it is chosen there
among seventeen. No rung that has the towers in it is a simpler one.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.claims import BenchmarkError
from benchmarks.measurement import Measurement
from benchmarks.results import Kept
from benchmarks.stages import on_cores, run_script
from towers.errors import MissingDataError
from towers.evaluation.bootstrap import paired_bootstrap
from towers.evaluation.evaluate import Metric, Slice
from towers.ladder.climb import LADDER_FILE
from towers.ladder.rungs import Phase, RungName

NDCG = Metric.NDCG.at(10)
SIMPLER = [name for name in RungName if name.phase is not Phase.DEEP]
FOLDERS = {
    "ml_small": {"root": "ml-latest-small", "tmdb": "tmdb-movies", "people": "dbpedia-movie-people"},
    "movietweetings": {"root": "movietweetings-100k", "tmdb": "tmdb-movies", "links": "ml-latest-small"},
}
SOURCES = {"ml_small": "movielens", "movietweetings": "movietweetings"}
SPLITS = {"loo": "leave_one_out", "time": "global_time"}
SLICES = (Slice.ALL, Slice.KNOWN_PROFILES, Slice.NEW_PROFILES, Slice.SEEN_ITEMS, Slice.COLD_ITEMS)


def measure() -> Measurement:
    """Lower ends of the paired 95 % intervals of N@10, towers less the best simpler rung.

    It takes an hour; a climb that is done is kept, as `Kept` says.
    """
    kept, details = Kept("ratings"), dict[str, Any]()
    for data, kind in ((data, kind) for data in FOLDERS for kind in SPLITS):
        name, begun_at = f"{data}_{kind}", kept.commit()
        found = kept.get(name)
        if found is None:
            found = _climbed(data, kind)
            kept.put(name, found, begun_at)
        print(f"{name}: lead {found['lead']} over {found['best']}", file=sys.stderr, flush=True)
        details[name] = found
    return Measurement(
        figures={key: round(found["lead"]["low"], 4) for key, found in details.items()},
        data="ml-latest-small and MovieTweetings 100K, with TMDB; leave-one-out, and split at a moment",
        seeds=(0,),
        details=details,
    )


def _climbed(data: str, kind: str) -> dict[str, Any]:
    with TemporaryDirectory() as name, on_cores(2):
        run_script(
            "ladder",
            *data_overrides(data),
            f"split={SPLITS[kind]}",
            "recipe=best",
            f"climb.names=[{','.join([*SIMPLER, RungName.TOWERS])}]",
            "climb.curve_names=[]",
            f"artifacts={name}",
        )
        return compared(Path(name, "ladder"))


def compared(folder: Path) -> dict[str, Any]:
    """The towers beside the best simpler rung, from the rows of a climb, and every rung's N@10 by slice."""
    climbed = json.loads((folder / LADDER_FILE).read_text(encoding="utf-8"))
    rungs = {rung["name"]: rung for rung in climbed["rungs"]}
    failed = {name: rung["failure"] for name, rung in rungs.items() if rung["failure"] is not None}
    if failed or set(rungs) != {*SIMPLER, RungName.TOWERS}:
        raise BenchmarkError(f"{folder}: rungs {sorted(rungs)}, failed {failed}; expected all, none")
    value = {name: np.load(folder / "rows" / f"{name}.npy", allow_pickle=False) for name in rungs}
    best = max(SIMPLER, key=lambda name: float(value[name].mean()))
    return {
        "best": best.value,
        "num_queries": len(value[best]),
        "lead": asdict(paired_bootstrap(value[RungName.TOWERS], value[best])),
        "n10": {name: round(float(each.mean()), 5) for name, each in value.items()},
        "slices": {
            name: {part: rungs[name]["evaluation"]["slices"].get(part, {}).get(NDCG) for part in SLICES}
            for name in (best, RungName.TOWERS)
        },
        "fit_seconds": round(rungs[RungName.TOWERS]["spent"]["fit_seconds"]),
    }


def data_overrides(data: str) -> list[str]:
    """What tells a script of these folders; MissingDataError where $TOWERS_DATA has not all of them."""
    given = os.environ.get("TOWERS_DATA")
    paths = {key: Path(given or "", name).resolve() for key, name in FOLDERS[data].items()}
    missing = sorted(path.name for path in paths.values() if not path.is_dir())
    if not given or missing:
        raise MissingDataError(
            f"TOWERS_DATA: {given!r} has no {missing}; expected the folder that holds them"
        )
    return [f"data={SOURCES[data]}", *(f"data.{key}={path}" for key, path in paths.items())]
