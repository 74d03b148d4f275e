"""Full-catalogue metrics of the served Retriever, beside the exact oracle and the simpler rungs."""

import json
from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import EvaluateSettings
from retrieval.provenance import check_provenance
from retrieval.retriever import Retriever
from towers.data.dataset import read_dataset
from towers.data.privacy.sealed import read_store_keys
from towers.data.signals.settings import signals_of
from towers.data.split import split, split_of
from towers.evaluation.evaluate import evaluate
from towers.evaluation.report import Protocol, Report, best_of, render, to_json
from towers.evaluation.slices import slices_of
from towers.folders import replace_file
from towers.ladder.simple import fit_simple_rungs
from towers.recommender import Recommender


def evaluate_release(settings: EvaluateSettings) -> None:
    """Judges the current release on the test questions of its own split; writes artifacts/evaluation.json."""
    folder = Path(settings.artifacts)
    retriever = Retriever.open(folder / "releases", store_keys=read_store_keys(settings.store_key))
    context = retriever.context
    dataset = read_dataset(folder / "tables", signals_of(context))
    num_items = len(dataset.catalogue)
    parts = split(dataset, split_of(context))
    check_provenance(retriever, folder / "tables", dataset, parts.train)
    simple = fit_simple_rungs(parts.train, num_items, settings.simple)
    slices = slices_of(parts.test, dataset.items, parts.num_watches) if settings.slices else ()
    exact = retriever.exact()
    rungs: dict[str, Recommender | None] = {**simple, "exact": exact, "served": retriever}
    judged = {
        name: evaluate(
            rung,
            parts.test,
            num_items=num_items,
            ks=tuple(settings.ks),
            num_watches=parts.num_watches,
            slices=slices,
            name=name,
        )
        for name, rung in rungs.items()
        if rung is not None
    }
    best = best_of(tuple(judged[name] for name in simple), "ndcg@10")
    report = Report(
        Protocol(context["title"], context["split"]["kind"]), tuple(judged.values()), reference=best
    )
    replace_file(folder / "evaluation.json", json.dumps(to_json(report), indent=2))
    Console().print(render(report))


if __name__ == "__main__":
    run(evaluate_release, EvaluateSettings, "evaluate")
