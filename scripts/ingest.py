"""Raw logs → canonical tables, with the rejected rows, a data card and the training store beside them."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.sources import IngestSettings
from towers.data.card.card import write_card
from towers.data.card.terminal import render
from towers.data.dataset import read_dataset
from towers.data.sources.read import ingest_source


def ingest_logs(settings: IngestSettings) -> None:
    """Replaces artifacts/tables by what the source says, and prints what it holds."""
    folder = Path(settings.artifacts) / "tables"
    ingest_source(settings.data, folder, settings.rules, settings.signals, settings.privacy)
    read_dataset(folder, settings.signals)
    if settings.card:
        Console().print(render(write_card(folder)))


if __name__ == "__main__":
    run(ingest_logs, IngestSettings, "ingest")
