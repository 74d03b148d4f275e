"""Raw logs → every rung from popularity to the towers, what each buys and costs, and which one stands."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import LadderSettings
from towers.data.ingest.ingest import read_report
from towers.data.sources.read import ingest_source
from towers.ladder.climb import climb
from towers.ladder.report import render, write_page


def climb_ladder(settings: LadderSettings) -> None:
    """Ingests the logs, climbs, writes artifacts/ladder and prints the table."""
    folder = Path(settings.artifacts)
    tables = folder / "tables"
    if not settings.reuse_tables:
        ingest_source(settings.data, tables, settings.rules, settings.signals)
    climbed = climb(
        tables, settings.signals, settings.split, settings.climb, settings.fit(), folder / "ladder"
    )
    title = f"{read_report(tables).title}; {settings.split.kind.value}"
    page = write_page(climbed, title, folder / "ladder")
    Console().print(render(climbed, title))
    Console().print(f"report: {page}")


if __name__ == "__main__":
    run(climb_ladder, LadderSettings, "ladder")
