"""What each remedy does to whom a model serves less: python -m benchmarks.studies.remedies

Simulated services in which one segment is planted to watch less, `SERVICE`. Towers are trained with each
remedy alone, or what they answer is ordered anew, and all are asked the same test questions. The arguments
are overrides of scripts/train.py for all of them. Quality is against the simulator's truth: Σ liking /
log2(place + 1) of ten titles that may be shown, over that of the best ten.
"""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from conf.compose import compose_settings
from conf.schema import PipelineSettings
from retrieval.rerank.minimum import MinimumExposure, MinimumSettings
from retrieval.rerank.rerank import Reranked
from towers.audit.feedback_viewers import Viewers
from towers.audit.segments import Dimension, profile_labels
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.simulator.world import World
from towers.data.sources.simulated import SimulatedSettings, simulate
from towers.data.split import Split, SplitSettings, split
from towers.evaluation.evaluate import evaluate
from towers.evaluation.new_local import NewAndLocal
from towers.recommender import Queries, Rankings, Recommender
from towers.training.fit import fit_towers
from towers.training.recipe import statistics

SEGMENT = "country=BR"
SERVICE = SimulatedSettings(
    num_events=18_000, num_profiles=800, num_items=400, underserved=0.7, underserved_segment=SEGMENT
)
SEEDS = (1, 2, 3, 4, 5, 6)
K, MIN_PROFILES, NEW_DAYS = 10, 30, 56.0
_SAMPLED = ("objective=sampled_softmax", "objective.num_negatives=32")
TRAINED: dict[str, tuple[str, ...]] = {
    "as ever": (),
    "segments by profiles": ("trainer.balance.by=country",),
    "segments at parity": ("trainer.balance.by=country", "trainer.balance.to=parity"),
    "profiles capped at 10": ("trainer.balance.max_profile_weight=10",),
    "uniform negatives": (*_SAMPLED, "objective.negatives=uniform"),
    "stratified negatives": (*_SAMPLED, "objective.negatives=stratified"),
    "negatives by genre": (*_SAMPLED, "objective.negatives=stratified", "objective.strata=genres"),
    "negatives by country": (*_SAMPLED, "objective.negatives=stratified", "objective.strata=countries"),
}
FLOORS = {
    "1 new, 2 local": MinimumSettings(min_new=1, min_local=2, new_days=NEW_DAYS),
    "2 new, 4 local": MinimumSettings(min_new=2, min_local=4, new_days=NEW_DAYS),
}
FIGURES = ("N@10", "quality", "segment", "worst / best", "new", "local")


@dataclass(frozen=True, slots=True)
class Service:
    """A world, what is learned from it, and the questions that all are asked."""

    world: World
    dataset: Dataset
    parts: Split
    queries: Queries

    @classmethod
    def of(cls, seed: int) -> "Service":
        """A world of that seed."""
        world = simulate(replace(SERVICE, seed=seed))
        dataset = dataset_from_tables(world.tables)
        parts = split(dataset, SplitSettings())
        test = parts.test
        return cls(
            world, dataset, parts, Queries(test.history, test.time_seconds, test.country, test.profiles)
        )


def main() -> None:
    """Prints the table."""
    given = sys.argv[1:]
    found: dict[str, list[dict[str, float]]] = {}
    for seed in SEEDS:
        service = Service.of(seed)
        for name, overrides in TRAINED.items():
            towers = _trained(service, [*given, f"seed={seed}", *overrides])
            found.setdefault(name, []).append(_figures(service, towers, None))
            print(seed, name, found[name][-1], file=sys.stderr, flush=True)
            if name == "as ever":
                for said, floor in FLOORS.items():
                    found.setdefault(said, []).append(_figures(service, towers, floor))
                    print(seed, said, found[said][-1], file=sys.stderr, flush=True)
    table = Table("", *FIGURES, "segment, less as ever")
    for name, runs in found.items():
        gained = np.array(
            [one["segment"] - base["segment"] for one, base in zip(runs, found["as ever"], strict=True)]
        )
        error = float(gained.std(ddof=1)) / len(gained) ** 0.5
        means = {figure: float(np.mean([run[figure] for run in runs])) for figure in FIGURES}
        cells = [
            f"{means[each]:.1%}" if each in ("new", "local") else f"{means[each]:.4f}" for each in FIGURES
        ]
        table.add_row(name, *cells, "–" if name == "as ever" else f"{gained.mean():+.4f} ± {error:.4f}")
    Console(width=110).print(table)


def _trained(service: Service, overrides: list[str]) -> Recommender:
    settings = compose_settings(PipelineSettings, "train", ["query_tower=none", *overrides])
    fit = settings.settled(statistics(service.parts)).fit
    with tempfile.TemporaryDirectory() as folder:
        towers = fit_towers(service.dataset, service.parts, fit, Path(folder))
    return towers.exact(towers.encoder.encode(service.dataset.items))


def _figures(service: Service, recommender: Recommender, floor: MinimumSettings | None) -> dict[str, float]:
    """The figures of the top ten, with a minimum exposure or without one."""
    world, test, queries = service.world, service.parts.test, service.queries
    num_items = len(service.dataset.catalogue)
    reranker = None if floor is None else MinimumExposure(service.dataset.items, floor)
    answers = recommender if reranker is None else Reranked(recommender, reranker)
    judged = evaluate(answers, test, num_items=num_items, ks=(K,), name="test", show_progress=False)

    viewers, rows, time_ms = Viewers(world, 1.0), test.profile_row, test.time_seconds * 1000
    watched = np.zeros((len(test), num_items), bool)
    watched[test.history.profile_rows(), test.history.item_row] = True
    ranking = recommender.rank(queries, num_items).item_row
    if reranker is not None:
        width = reranker.num_candidates
        row = viewers.show(ranking, rows, time_ms, watched, width).item_row
        falling = np.broadcast_to(-np.arange(width, dtype=np.float32), row.shape)
        candidates = Rankings(row, np.where(row < 0, -np.inf, falling).astype(np.float32))
        ranking = reranker.rerank(queries, candidates, K).item_row
    shown = viewers.show(ranking, rows, time_ms, watched, K)
    quality = shown.quality
    country = profile_labels(service.dataset.profile_table)[Dimension.COUNTRY][rows]
    means = [
        quality[country == each].mean()
        for each in np.unique(country)
        if (country == each).sum() >= MIN_PROFILES
    ]
    kinds = NewAndLocal.of(service.dataset.items)
    num_shown = (shown.item_row >= 0).sum()
    return {
        "N@10": float(judged.per_query(f"ndcg@{K}").mean()),
        "quality": float(quality.mean()),
        "segment": float(quality[country == SEGMENT.partition("=")[2]].mean()),
        "worst / best": float(min(means) / max(means)),
        "new": float(kinds.new(shown.item_row, test.time_seconds, NEW_DAYS).sum() / num_shown),
        "local": float(kinds.local(shown.item_row, test.country).sum() / num_shown),
    }


if __name__ == "__main__":
    main()
