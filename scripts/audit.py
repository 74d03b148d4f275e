"""Is the input inclusive, before training, or the output fair, after it: tables, a plot, and JSON."""

import json
from pathlib import Path

from rich.console import Console, Group

from conf.compose import run
from conf.schema import AuditSettings, AuditStage
from retrieval.provenance import check_provenance
from retrieval.retriever import Retriever
from towers.audit import input_report, output_report
from towers.audit.output_report import audit_output
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import read_report
from towers.data.signals.settings import signals_of
from towers.data.split import split, split_of
from towers.folders import replace_file


def audit(settings: AuditSettings) -> None:
    """Writes artifacts/audit/<stage>.json, of the input a plot too, and prints the tables."""
    artifacts, folder = Path(settings.artifacts), Path(settings.artifacts) / "audit"
    shown: Group
    match settings.stage:
        case AuditStage.INPUT:
            population = None if settings.population is None else Path(settings.population)
            title = read_report(artifacts / "tables").title
            found = input_report.audit_input(artifacts / "tables", population, settings.input, title)
            plain, shown = found.to_json(), input_report.render(found)
            folder.mkdir(parents=True, exist_ok=True)
            input_report.write_plot(found, folder)
        case AuditStage.OUTPUT:
            judged = _released(artifacts, settings)
            plain, shown = judged.to_json(), output_report.render(judged)
    replace_file(folder / f"{settings.stage.value}.json", json.dumps(plain, indent=2, ensure_ascii=False))
    Console().print(shown)
    Console().print(f"written: {folder}")


def _released(artifacts: Path, settings: AuditSettings) -> output_report.OutputAudit:
    retriever = Retriever.open(artifacts / "releases")
    dataset = read_dataset(artifacts / "tables", signals_of(retriever.context))
    parts = split(dataset, split_of(retriever.context))
    check_provenance(retriever, dataset, parts.train)
    title = f"{retriever.context['title']}, {retriever.release_id}"
    return audit_output(retriever, parts.test, dataset.items, parts.num_watches, settings.output, title)


if __name__ == "__main__":
    run(audit, AuditSettings, "audit")
