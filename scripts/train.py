"""Raw logs → canonical tables → trained towers: writes artifacts/tables and artifacts/model."""

from pathlib import Path

from conf.compose import run
from conf.schema import PipelineSettings
from towers.data.dataset import dataset_from_tables
from towers.data.schema import write_tables
from towers.data.sources.read import read_source
from towers.data.split import split
from towers.training.export import export, first_process_only
from towers.training.fit import fit_towers


def train(settings: PipelineSettings) -> None:
    """Ingests the logs, splits them by time, fits the towers on the train part and exports the best epoch."""
    folder = Path(settings.artifacts)
    tables = read_source(settings.data)
    dataset = dataset_from_tables(tables)
    parts = split(dataset, settings.split)
    towers = fit_towers(dataset, parts, settings.fit(), folder / "checkpoints")
    first_process_only(write_tables)(tables, folder / "tables")
    export(towers, dataset, parts, folder / "model", context=settings.context())


if __name__ == "__main__":
    run(train, PipelineSettings, "train")
