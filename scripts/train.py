"""Raw logs → canonical tables → trained towers: writes artifacts/tables and artifacts/model."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import PipelineSettings
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import read_report
from towers.data.privacy.state import LEARNED_FROM, state_of
from towers.data.schema import read_table
from towers.data.sources.read import ingest_source
from towers.data.split import split
from towers.evaluation.measured import measured
from towers.training.dp.private_fit import spent
from towers.training.export import export, first_process_only
from towers.training.fit import fit_towers
from towers.training.query_fit import fit_query_tower
from towers.training.recipe import statistics
from towers.training.recipe_report import render


def train(settings: PipelineSettings) -> None:
    """Ingests the logs, splits them, settles the settings, fits the towers and exports the best epoch."""
    folder = Path(settings.artifacts)
    tables = folder / "tables"
    if not settings.reuse_tables:
        first_process_only(ingest_source)(
            settings.data, tables, settings.rules, settings.signals, settings.privacy
        )
    dataset, state = read_dataset(tables, settings.signals), state_of(tables)
    parts = split(dataset, settings.split)
    settled = settings.settled(statistics(parts))
    first_process_only(Console().print)(render(settled))
    towers = fit_towers(dataset, parts, settled.fit, folder / "checkpoints")
    queries = read_table(tables, "queries")
    fit_query = first_process_only(fit_query_tower)
    query_tower = fit_query(towers, dataset, parts, queries, settings.query_tower, settings.seed)
    context = {**settings.context(read_report(tables).title, settled), LEARNED_FROM: state}
    if settled.fit.trainer.dp.on:  # only what the noise covers may leave it: nothing is measured
        context |= spent(folder / "checkpoints")
    else:
        served = towers.exact(towers.encoder.encode(dataset.items))
        context |= first_process_only(measured)(served, dataset, settings.split) or {}
    export(towers, dataset, parts, folder / "model", context=context, query_tower=query_tower)


if __name__ == "__main__":
    run(train, PipelineSettings, "train")
