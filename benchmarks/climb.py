"""Claim `climb`: all rungs on ml-latest-small in minutes, and how often one of two equals is promoted."""

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track

from benchmarks.claims import BenchmarkError
from benchmarks.measurement import Measurement
from benchmarks.movielens_small import FOLDERS, data_overrides
from benchmarks.stages import on_cores, run_script
from towers.data.dataset import read_dataset
from towers.data.signals.settings import SignalSettings
from towers.data.split import SplitSettings, split
from towers.evaluation.evaluate import Metric, evaluate
from towers.ladder.climb import LADDER_FILE
from towers.ladder.factorisation import IALSSettings, fit_ials
from towers.ladder.measured import VALUE_K
from towers.ladder.rungs import RungName
from towers.ladder.verdict import Measured, PriceSettings, Spent, Verdict, judge

SEEDS = range(25)
"""Of one model: every pair of them is a null, 600 verdicts in all."""


def measure() -> Measurement:
    """Minutes of scripts/ladder.py at its defaults, and the share of pairs of equals with a promotion."""
    with TemporaryDirectory() as name:
        artifacts = Path(name, "artifacts")
        with on_cores(2):
            seconds = run_script("ladder", *data_overrides(), f"artifacts={artifacts}")
        climbed = json.loads((artifacts / "ladder" / LADDER_FILE).read_text(encoding="utf-8"))
        share = _false_promotions(artifacts / "tables")
    failed = {rung["name"]: rung["failure"] for rung in climbed["rungs"] if rung["failure"] is not None}
    if failed or len(climbed["rungs"]) != len(RungName):
        raise BenchmarkError(
            f"the climb has {len(climbed['rungs'])} rungs, failed {failed}; expected all, none"
        )
    return Measurement(
        figures={"minutes": round(seconds / 60, 2), "false_promotion_share": round(share, 4)},
        data=" + ".join(FOLDERS.values()) + ", leave-one-out; the null: iALS under "
        f"{len(SEEDS)} seeds, every ordered pair",
        seeds=tuple(SEEDS),
        details={
            "promoted": climbed["promoted"],
            "rungs": [
                {
                    "name": rung["name"],
                    "verdict": rung["verdict"],
                    "below": rung["below"],
                    "n10": rung["evaluation"][Metric.NDCG.at(VALUE_K)],
                    "lead": rung["lead"],
                    "cost_per_month": rung["cost_per_month"],
                    **rung["spent"],
                }
                for rung in climbed["rungs"]
            ],
        },
    )


def _false_promotions(tables: Path) -> float:
    """The share of ordered pairs of seeds of iALS whose second is promoted over its first."""
    dataset = read_dataset(tables, SignalSettings())
    parts = split(dataset, SplitSettings())
    num_items = len(dataset.catalogue)
    free = Spent(0.0, 0.0, 0.0, 0, 0, 0.0, 0.0)
    console = Console(stderr=True)
    seeds = []
    for seed in track(SEEDS, "fitting seeds", console=console, disable=not console.is_terminal):
        rung = fit_ials(parts.train, num_items, replace(IALSSettings(), seed=seed))
        judged = evaluate(rung, parts.test, num_items=num_items, ks=(VALUE_K,), show_progress=False)
        seeds.append(Measured(f"seed {seed}", judged.per_query(Metric.NDCG.at(VALUE_K)), free))
    verdicts = [
        judge([(first.name, first), (second.name, second)], PriceSettings(), seed=trial)[1].verdict
        for trial, (first, second) in enumerate(permutations(seeds, 2))
    ]
    return sum(verdict is Verdict.PROMOTED for verdict in verdicts) / len(verdicts)
