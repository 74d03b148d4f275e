"""Raw logs → how fast a model ages, why, and how often to retrain it."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import DecaySettings
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import read_report
from towers.data.sources.read import ingest_source
from towers.data.split import SplitSettings, split
from towers.ladder.decay_findings import find, write_findings
from towers.ladder.decay_report import render, write_plot
from towers.ladder.decay_study import measure_decay
from towers.training.recipe import statistics


def measure(settings: DecaySettings) -> None:
    """Ingests the logs, measures, writes artifacts/decay and prints what was found."""
    tables, folder = Path(settings.artifacts) / "tables", Path(settings.artifacts) / "decay"
    if not settings.reuse_tables:
        ingest_source(settings.data, tables, settings.rules, settings.signals, settings.privacy)
    plan = settings.study
    # One recipe for every cut-off, that of the whole log: what ages are the weights, not the settings.
    whole = split(read_dataset(tables, settings.signals), SplitSettings())
    towers = settings.settled(statistics(whole)).fit
    study = measure_decay(tables, settings.signals, plan, settings.rungs, towers, folder)
    findings = find(study, settings.retraining, metric=plan.metric, serving=plan.serving, seed=settings.seed)
    write_findings(findings, folder)
    title = f"{read_report(tables).title}; {plan.rung.value}"
    plot = write_plot(findings, title, folder)
    Console().print(render(findings, title))
    Console().print(f"plot: {plot}")


if __name__ == "__main__":
    run(measure, DecaySettings, "decay")
