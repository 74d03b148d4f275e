"""Raw logs → canonical tables → trained towers: writes artifacts/tables and artifacts/model."""

from pathlib import Path

from conf.compose import run
from conf.schema import PipelineSettings
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import read_report
from towers.data.sources.read import ingest_source
from towers.data.split import split
from towers.training.export import export, first_process_only
from towers.training.fit import fit_towers


def train(settings: PipelineSettings) -> None:
    """Ingests the logs, splits them by time, fits the towers on the train part and exports the best epoch."""
    folder = Path(settings.artifacts)
    tables = folder / "tables"
    if not settings.reuse_tables:
        first_process_only(ingest_source)(settings.data, tables, settings.rules, settings.signals)
    dataset = read_dataset(tables, settings.signals)
    parts = split(dataset, settings.split)
    towers = fit_towers(dataset, parts, settings.fit(), folder / "checkpoints")
    context = settings.context(read_report(tables).title)
    export(towers, dataset, parts, folder / "model", context=context)


if __name__ == "__main__":
    run(train, PipelineSettings, "train")
