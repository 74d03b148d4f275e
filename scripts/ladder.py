"""Raw logs → every rung from popularity to the towers, what each buys and costs, and which one stands."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import LadderSettings
from retrieval.release.build import build_release
from retrieval.release.build_rung import Learned, release_rung
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import read_report
from towers.data.privacy.sealed import read_store_keys
from towers.data.sources.read import ingest_source
from towers.data.split import split
from towers.ladder.climb import Climbed, climb
from towers.ladder.promotion import PROMOTED, judged_rung
from towers.ladder.report import render, write_page
from towers.ladder.rungs import Phase, RungName, asked_like, fit_rung
from towers.nets.two_tower import load_towers
from towers.training.export import export
from towers.training.recipe import Settled, statistics


def climb_ladder(settings: LadderSettings) -> None:
    """Ingests the logs, climbs, writes artifacts/ladder, prints the table and releases a rung if told to."""
    settings = settings.with_tuned()
    folder = Path(settings.artifacts)
    tables = folder / "tables"
    if not settings.reuse_tables:
        ingest_source(settings.data, tables, settings.rules, settings.signals, settings.privacy)
    parts = split(read_dataset(tables, settings.signals), settings.split)
    settled = settings.settled(statistics(parts))
    climbed = climb(tables, settings.signals, settings.split, settings.climb, settled.fit, folder / "ladder")
    title = f"{read_report(tables).title}; {settings.split.kind.value}"
    page = write_page(climbed, title, folder / "ladder")
    Console().print(render(climbed, title))
    Console().print(f"report: {page}")
    if settings.publish is not None:
        release_id = publish_rung(settings, settled, climbed, folder)
        Console().print(f"release: {folder / 'releases' / release_id}")


def publish_rung(settings: LadderSettings, settled: Settled, climbed: Climbed, folder: Path) -> str:
    """Fits the rung anew on what it was judged by, releases it and gives the id of the release."""
    name, judged = judged_rung(climbed, settings.publish or PROMOTED)
    tables, releases = folder / "tables", folder / "releases"
    store_keys = read_store_keys(settings.store_key)
    dataset = read_dataset(tables, settings.signals)
    parts = split(dataset, settings.split)
    context = settings.context(read_report(tables).title, judged, settled)
    towers = load_towers(folder / "ladder" / "towers") if name.phase is Phase.DEEP else None
    if towers is not None and name is RungName.TOWERS:
        export(towers, dataset, parts, folder / "model", context=context)
        model, index, gates = folder / "model", settings.index, settings.gates
        return build_release(model, tables, releases, index, gates, store_keys=store_keys).release_id
    rungs = asked_like(settings.climb.rungs, settings.split.kind)
    rung = fit_rung(name, dataset, parts, rungs, settled.fit, folder / "ladder")
    columns = () if towers is None else towers.encoder.profile_columns
    learned = Learned(dataset, parts.num_watches, context, columns)
    index, lists, gates = settings.index, settings.lists, settings.gates
    return release_rung(rung, learned, releases, index, lists, gates, store_keys).release_id


if __name__ == "__main__":
    run(climb_ladder, LadderSettings, "ladder")
