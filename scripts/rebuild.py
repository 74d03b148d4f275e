"""Newer logs → the least work that serves them, from nothing to new towers; for a scheduler."""

import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import RebuildSettings
from retrieval.rebuild.run import Job
from retrieval.rebuild.run import rebuild as rebuilt
from retrieval.rebuild.summary import plan_view
from retrieval.release.remote.objects import open_objects
from retrieval.release.remote.push import push_missing
from towers.data.privacy.forgotten import FORGOTTEN_FILE
from towers.data.sources.read import ingest_source


def rebuild(settings: RebuildSettings) -> None:
    """Rebuilds, prints the plan and at last the summary as a line of JSON; ends with its exit code."""

    def ingest(tables: Path, order_of: Path | None) -> None:
        if not settings.reuse_tables:
            gone = folder / "releases" / FORGOTTEN_FILE  # of the service; none lies beside these
            ingest_source(
                settings.data, tables, settings.rules, settings.signals, settings.privacy, gone, order_of
            )

    def train() -> None:
        from scripts.train import train as trained  # a delta does not wait for the training stack

        trained(settings.pipeline())

    folder, push = Path(settings.artifacts), None
    if settings.remote is not None:  # what is wrong with it is said before the work
        push = partial(push_missing, folder / "releases", open_objects(settings.remote))
    job = Job(folder, settings.asked(), settings.gates, settings.upkeep, ingest, train, push)
    summary = rebuilt(job, only_plan=settings.plan)
    if summary.plan is not None:
        Console(stderr=not settings.plan).print(plan_view(summary.plan, summary.live))
    print(summary.to_json())
    sys.exit(summary.exit_code)


if __name__ == "__main__":
    run(rebuild, RebuildSettings, "rebuild")
