"""Raw logs → canonical tables, with the rejected rows, a data card and the training store beside them."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.sources import IngestSettings
from towers.data.card.card import write_card
from towers.data.card.terminal import render
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import ingest
from towers.data.sources.read import read_source


def ingest_logs(settings: IngestSettings) -> None:
    """Replaces artifacts/tables by what the source says, and prints what it holds."""
    folder = Path(settings.artifacts) / "tables"
    window_minutes = settings.signals.query_window_minutes
    ingest(read_source(settings.data), settings.data.title, folder, settings.rules, window_minutes)
    read_dataset(folder, settings.signals)
    if settings.card:
        Console().print(render(write_card(folder)))


if __name__ == "__main__":
    run(ingest_logs, IngestSettings, "ingest")
