"""Newer logs beside those that the model learned from → is a retrain due now, and why; for a scheduler."""

from pathlib import Path

from rich.console import Console

from conf.compose import run
from conf.schema import DriftCheckSettings
from retrieval.release.files import read_vectors
from towers.data.privacy.forgotten import forgotten_beside
from towers.data.sources.read import ingest_source
from towers.evaluation.drift_decision import write_check
from towers.exported import VECTORS_FILE
from towers.ladder.drift_check import CHECK_FILE, Embedded, check_drift, embedded, read_learned, schedule_of
from towers.ladder.drift_report import render, write_plot


def check(settings: DriftCheckSettings) -> None:
    """Ingests the newer logs, reads the monitors, writes artifacts/drift and prints the answer."""
    artifacts, folder = Path(settings.artifacts), Path(settings.artifacts) / "drift"
    learned, tables = read_learned(artifacts, _exported(artifacts)), folder / "tables"
    if not settings.reuse_tables:
        gone = forgotten_beside(learned.tables)
        ingest_source(settings.data, tables, settings.rules, learned.signals, learned.privacy, gone)
    newer = _exported(Path(settings.against)) if settings.against else None
    plan = schedule_of(artifacts)
    found, compared = check_drift(learned, tables, plan, settings.drift, now=settings.now, against=newer)
    write_check(found, folder / CHECK_FILE)
    write_plot(found, compared, folder)
    Console().print(render(found))
    Console().print(f"written: {folder}")


def _exported(artifacts: Path) -> Embedded:
    return embedded(artifacts / "tables", *read_vectors(artifacts / "model" / VECTORS_FILE))


if __name__ == "__main__":
    run(check, DriftCheckSettings, "drift")
