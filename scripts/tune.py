"""Raw logs → better settings of the ladder's rungs, searched with one budget and judged by validation."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import TuneSettings
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import read_report
from towers.data.sources.read import ingest_source
from towers.data.split import split
from towers.ladder.tuned import TUNED_FILE
from towers.ladder.tuning import tune
from towers.ladder.tuning_report import render, write_plot
from towers.training.recipe import statistics


def search(settings: TuneSettings) -> None:
    """Ingests the logs, searches, writes artifacts/tune and prints what was found."""
    tables, folder = Path(settings.artifacts) / "tables", Path(settings.artifacts) / "tune"
    if not settings.reuse_tables:
        ingest_source(settings.data, tables, settings.rules, settings.signals, settings.privacy)
    s = settings
    towers = s.settled(statistics(split(read_dataset(tables, s.signals), s.split))).fit
    searches = tune(tables, s.signals, s.split, s.rungs, towers, s.tune, s.seed, folder)
    title = f"{read_report(tables).title}; {s.split.kind.value}"
    plot = write_plot(searches, title, folder)
    Console().print(render(searches, title))
    Console().print(f"settings: {folder / TUNED_FILE}\nplot: {plot}")


if __name__ == "__main__":
    run(search, TuneSettings, "tune")
