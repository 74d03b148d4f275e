"""Newer logs → the least work that serves them, from nothing to new towers; for a scheduler."""

import sys
from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import RebuildSettings
from retrieval.rebuild.run import Job
from retrieval.rebuild.run import rebuild as rebuilt
from retrieval.rebuild.summary import plan_view
from towers.data.sources.read import ingest_source


def rebuild(settings: RebuildSettings) -> None:
    """Rebuilds, prints the plan and at last the summary as a line of JSON; ends with its exit code."""

    def ingest(tables: Path) -> None:
        if not settings.reuse_tables:
            ingest_source(settings.data, tables, settings.rules, settings.signals)

    def train() -> None:
        from scripts.train import train as trained  # a delta does not wait for the training stack

        trained(settings.pipeline())

    job = Job(Path(settings.artifacts), settings.asked(), settings.gates, settings.upkeep, ingest, train)
    summary = rebuilt(job, only_plan=settings.plan)
    if summary.plan is not None:
        Console(stderr=not settings.plan).print(plan_view(summary.plan, summary.live))
    print(summary.to_json())
    sys.exit(summary.exit_code)


if __name__ == "__main__":
    run(rebuild, RebuildSettings, "rebuild")
