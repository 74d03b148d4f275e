"""The vector sets of the claim `ann`: items, queries to build and to test with, and the exact answers.

`python -m benchmarks.ann_vectors` says which sets stand and what is in them; with names it makes those that
do not, an hour or two for all on one core. They are kept under .bench/ann-vectors, or in the folder that
$ANN_VECTORS names, in files whose names end with a hash of all that made them: a changed recipe is another
file.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from benchmarks.ann_encoders import (
    DIM,
    FactorsRecipe,
    RealLog,
    SimulatedLog,
    TowersRecipe,
    asked,
    learned,
)
from benchmarks.claims import BenchmarkError
from benchmarks.environment import BENCH
from towers.folders import sync
from towers.topk import topk

K = 100
_VERSION = 1
"""Of what this module and `ann_encoders` make of a plan; to be raised where they would make another set."""
_CHUNK = 64
"""Queries whose exact answers are found at once: what they score of a million items is 256 MB."""


class SetName(StrEnum):
    """The vector sets, smaller before larger."""

    MOVIELENS = "towers-movielens"
    GAMES = "factors-video-games"
    TOWERS_50K = "towers-50k"
    TOWERS_200K = "towers-200k"
    FACTORS_200K = "factors-200k"
    TOWERS_1M = "towers-1m"
    FACTORS_1M = "factors-1m"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a set is made of: encoders, and questions of the profiles of their log, as `asked` draws them."""

    recipe: TowersRecipe | FactorsRecipe
    num_build: int = 30_000
    num_test: int = 3_000
    test_share: float = 0.1
    seed: int = 0

    @property
    def key(self) -> str:
        """A hash of all that decides the set, its code by version."""
        said = {"version": _VERSION, "learned by": type(self.recipe).__name__, "k": K} | asdict(self)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


# One pass over the log, what is learned last held out: the recipe's own epochs take a CPU hours, as every
# step embeds the whole catalogue. Nothing is dropped, since nothing is seen twice.
ONE_PASS = (
    "split=global_time",
    "split.test_share=0.001",
    "split.validation_share=0.001",
    f"model.dim={DIM}",
    "model.dropout=0",
    "model.embedding_dropout=0",
    "objective=sampled_softmax",
    "objective.num_negatives=16384",
    "loader.batch_positions=4096",
    "trainer.max_epochs=1",
)
_FEW_EPOCHS = (f"model.dim={DIM}", "trainer.max_epochs=3", "loader.batch_positions=2048")

PLANS = {
    SetName.MOVIELENS: Plan(TowersRecipe(RealLog.MOVIELENS, _FEW_EPOCHS), test_share=0.2),
    SetName.GAMES: Plan(FactorsRecipe(RealLog.GAMES), num_build=25_000),
    SetName.TOWERS_50K: Plan(
        TowersRecipe(SimulatedLog(50_000, 700_000, 24_000), ONE_PASS), num_build=20_000, num_test=2_400
    ),
    SetName.TOWERS_200K: Plan(TowersRecipe(SimulatedLog(200_000, 1_200_000, 40_000), ONE_PASS)),
    SetName.FACTORS_200K: Plan(FactorsRecipe(SimulatedLog(200_000, 3_000_000, 100_000))),
    SetName.TOWERS_1M: Plan(TowersRecipe(SimulatedLog(1_000_000, 1_500_000, 50_000), ONE_PASS, 100_000)),
    SetName.FACTORS_1M: Plan(FactorsRecipe(SimulatedLog(1_000_000, 10_000_000, 330_000), iterations=5)),
}


@dataclass(frozen=True, slots=True)
class VectorSet:
    """Vectors whose inner products are scores, from one encoder.

    items: float32 (N, D). build_queries, test_queries: float32 (B, D) and (Q, D), of different profiles.
    truth: int64 (Q, 100), the rows of highest inner product per test query in float32, best first; of equal
    scores the lower row. num_tied: queries whose 101st score is their 100th too: of them another answer would
    be as exact. num_events: int64 (N,), events of each item in the log. seconds: what it took to make.
    """

    items: Float32[np.ndarray, "N D"]
    build_queries: Float32[np.ndarray, "B D"]
    test_queries: Float32[np.ndarray, "Q D"]
    truth: Int64[np.ndarray, "Q K"]
    num_tied: int
    num_events: Int64[np.ndarray, " N"]
    seconds: float


def folder() -> Path:
    """Where the sets are kept."""
    return Path(os.environ.get("ANN_VECTORS") or BENCH / "ann-vectors")


def path_of(name: SetName, root: Path | None = None, plans: dict[SetName, Plan] | None = None) -> Path:
    """The file of a set, whether it stands or not: .npz, as peers have nothing but numpy to read it."""
    return (root or folder()) / f"{name}-{(plans or PLANS)[name].key}.npz"


def made(name: SetName) -> Path:
    """The file of a set, made where it does not stand.

    Broken off, it goes on: towers that were trained are kept until the set is written.
    """
    path = path_of(name)
    if not path.is_file():
        work = path.with_suffix(".artifacts")
        write(_make(PLANS[name], work), path)
        shutil.rmtree(work, ignore_errors=True)
    return path


def _make(plan: Plan, work: Path) -> VectorSet:
    begun = time.perf_counter()
    encoder = learned(plan.recipe, work)
    questions = asked(
        encoder.dataset, plan.num_build, plan.num_test, test_share=plan.test_share, seed=plan.seed
    )
    test_queries = encoder.encode(questions.test)
    truth, num_tied = exact(encoder.items, test_queries)
    return VectorSet(
        items=encoder.items,
        build_queries=encoder.encode(questions.build),
        test_queries=test_queries,
        truth=truth,
        num_tied=num_tied,
        num_events=encoder.num_events,
        seconds=time.perf_counter() - begun,
    )


def exact(
    items: Float32[np.ndarray, "N D"], queries: Float32[np.ndarray, "Q D"], k: int = K
) -> tuple[Int64[np.ndarray, "Q K"], int]:
    """The rows of the k items of highest inner product per query, and how many queries have a tie at the cut.

    In float32, of equal scores the lower row. BenchmarkError where a query has fewer than k + 1 items.
    """
    if len(items) <= k:
        raise BenchmarkError(f"{len(items)} items; expected more than {k}, of which the best are to be found")
    item, truth, num_tied = torch.from_numpy(items), np.empty((len(queries), k), np.int64), 0
    for start in range(0, len(queries), _CHUNK):
        part = torch.from_numpy(queries[start : start + _CHUNK])
        score, row = topk(part, item, k + 1)
        truth[start : start + len(part)] = row[:, :k].numpy()
        num_tied += int((score[:, k] == score[:, k - 1]).sum())
    return truth, num_tied


def write(found: VectorSet, path: Path) -> None:
    """Writes a set aside and puts it in its place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.new.npz")
    arrays: dict[str, Any] = {item.name: getattr(found, item.name) for item in fields(found)}
    np.savez(aside, **arrays)
    sync(aside)
    aside.replace(path)
    sync(path.parent)


def read(path: Path) -> VectorSet:
    """The set that `write` wrote."""
    with np.load(path, allow_pickle=False) as held:
        arrays: dict[str, Any] = dict(held)
    arrays["num_tied"], arrays["seconds"] = int(arrays["num_tied"]), float(arrays["seconds"])
    return VectorSet(**arrays)


def described(found: VectorSet) -> dict[str, Any]:
    """What is to be known of a set: its size, where its queries lie, and how long its vectors are."""
    mean_item, mean_query = (
        found.items.mean(0, dtype=np.float64),
        found.build_queries.mean(0, dtype=np.float64),
    )
    cosine = mean_item @ mean_query / np.linalg.norm(mean_item) / np.linalg.norm(mean_query)
    return {
        "items": len(found.items),
        "queries": [len(found.build_queries), len(found.test_queries)],
        "cosine of the mean item and the mean query": round(float(cosine), 3),
        "item norms, percentiles 1, 50, 99": _percentiles(found.items),
        "query norms, percentiles 1, 50, 99": _percentiles(found.build_queries),
        "dimensions that the queries take up": round(_num_taken(found.build_queries), 1),
        "items without an event": int((found.num_events == 0).sum()),
        "items in the answers": len(np.unique(found.truth)),
        "queries with a tie at the cut": found.num_tied,
        "seconds to make": round(found.seconds),
    }


def _percentiles(vectors: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in np.percentile(np.linalg.norm(vectors, axis=1), [1, 50, 99])]


def _num_taken(queries: np.ndarray) -> float:
    """(Σ λ)² / Σ λ² of the second moments: D where queries are as long in every direction, 1 in one alone."""
    moments = queries.T.astype(np.float64) @ queries
    return float(np.trace(moments) ** 2 / (moments**2).sum())


def main(names: Sequence[str]) -> None:
    """Makes the sets named, and says of each that stands what is in it."""
    for name in names:
        made(SetName(name))
    for name in SetName:
        path = path_of(name)
        said = json.dumps(described(read(path))) if path.is_file() else "not made"
        print(f"{path.name}: {said}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
