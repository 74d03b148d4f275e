"""Is the input inclusive, the output fair, are members told, does a feedback loop narrow; and the card."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from conf.compose import run
from conf.schema import AuditPart, AuditSettings
from retrieval.provenance import check_provenance
from retrieval.release.files import read_vectors
from retrieval.retriever import Retriever
from towers.audit import feedback_report, input_report, membership_report, output_report
from towers.audit.card import read_measured, write_model_card
from towers.audit.feedback_learners import rung_learner
from towers.audit.output_report import audit_output
from towers.data.dataset import read_dataset
from towers.data.ingest.ingest import read_report
from towers.data.privacy.sealed import read_store_keys
from towers.data.signals.settings import signals_of
from towers.data.split import split, split_of
from towers.exported import VECTORS_FILE
from towers.folders import replace_file


def audit(settings: AuditSettings) -> None:
    """Writes artifacts/audit: <part>.json and plots, or the card; prints what was found."""
    artifacts, folder, console = Path(settings.artifacts), Path(settings.artifacts) / "audit", Console()
    match settings.part:
        case AuditPart.INPUT:
            population = None if settings.population is None else Path(settings.population)
            title = read_report(artifacts / "tables").title
            found = input_report.audit_input(artifacts / "tables", population, settings.input, title)
            _write(folder / "input.json", found.to_json())
            input_report.write_plot(found, folder)
            console.print(input_report.render(found))
        case AuditPart.OUTPUT:
            judged = _released(artifacts, settings)
            _write(folder / "output.json", judged.to_json())
            console.print(output_report.render(judged))
        case AuditPart.MEMBERSHIP:
            _, num_watches = read_vectors(artifacts / "model" / VECTORS_FILE)
            attacked = membership_report.audit_export(
                artifacts / "model", artifacts / "tables", num_watches, settings.membership
            )
            _write(folder / "membership.json", attacked.to_json())
            membership_report.write_plot(attacked, folder)
            console.print(membership_report.render(attacked))
        case AuditPart.FEEDBACK:
            looped = feedback_report.audit_feedback(
                settings.feedback,
                lambda world: rung_learner(settings.feedback, settings.rungs, world.settings.seed),
            )
            _write(folder / "feedback.json", looped.to_json())
            feedback_report.write_plot(looped, folder)
            console.print(feedback_report.render(looped))
        case AuditPart.CARD:
            release_id = Retriever.open(
                artifacts / "releases", store_keys=read_store_keys(settings.store_key)
            ).release_id
            manifest = artifacts / "releases" / release_id / "manifest.json"
            write_model_card(read_measured(artifacts, manifest), folder / "card")
    console.print(f"written: {folder}")


def _write(path: Path, plain: Mapping[str, Any]) -> None:
    replace_file(path, json.dumps(plain, indent=2, ensure_ascii=False))


def _released(artifacts: Path, settings: AuditSettings) -> output_report.OutputAudit:
    retriever = Retriever.open(artifacts / "releases", store_keys=read_store_keys(settings.store_key))
    dataset = read_dataset(artifacts / "tables", signals_of(retriever.context))
    parts = split(dataset, split_of(retriever.context))
    check_provenance(retriever, artifacts / "tables", dataset, parts.train)
    title, release_id = retriever.context["title"], retriever.release_id
    return audit_output(
        retriever, parts.test, dataset.items, parts.num_watches, settings.output, title, release_id
    )


if __name__ == "__main__":
    # Elsewhere `stage` is the scale of a service; an audit has none, and here it is another word for part.
    sys.argv[1:] = [re.sub(r"^stage=", "part=", argument) for argument in sys.argv[1:]]
    run(audit, AuditSettings, "audit")
