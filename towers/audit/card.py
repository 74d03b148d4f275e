"""The model card of a release: figures that were measured and files that hold them, nothing else.

Source: Mitchell et al., FAT* 2019, Model Cards for Model Reporting, doi:10.1145/3287560.3287596.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from towers.audit.card_plots import draw_plots
from towers.data.markdown import escaped, table
from towers.errors import MissingDataError, SchemaError
from towers.folders import replace_folder
from towers.ladder.extra import of_extra

MODEL_CARD = "README.md"
_STYLE = (
    "body{max-width:60em;margin:2em auto;padding:0 1em;font:16px/1.5 sans-serif}"
    "table{border-collapse:collapse}td,th{padding:.2em .6em;border-bottom:1px solid #ddd;text-align:left}"
    "img{max-width:100%}code{background:#f4f4f4}"
)
_SEGMENT_ROWS = 12


@dataclass(frozen=True, slots=True)
class Measured:
    """What a card is made of, as the jobs wrote it: JSON of a manifest, an evaluation and the audits.

    membership: None where nobody asked for it.
    """

    manifest: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    input: Mapping[str, Any]
    output: Mapping[str, Any]
    membership: Mapping[str, Any] | None = None


def read_measured(artifacts: Path, manifest: Path) -> Measured:
    """The figures in an artifacts folder and of a release's manifest.

    Raises MissingDataError, saying what to run, where one was not measured, and SchemaError where one is no
    JSON or the output was judged of another release. A membership audit of other towers is left out.
    """
    attacked = artifacts / "audit" / "membership.json"
    found = Measured(
        _read(manifest, "build_index.py"),
        _read(artifacts / "evaluation.json", "evaluate.py"),
        _read(artifacts / "audit" / "input.json", "audit.py"),
        _read(artifacts / "audit" / "output.json", "audit.py part=output"),
        _read(attacked, "audit.py part=membership") if attacked.is_file() else None,
    )
    if found.membership is not None:
        of_it = found.membership["model_fingerprint"] == found.manifest["model_fingerprint"]
        found = found if of_it else replace(found, membership=None)
    judged, release = found.output["release_id"], found.manifest["release_id"]
    if judged != release:
        raise SchemaError(
            f"{artifacts / 'audit' / 'output.json'}: is of release {judged}; expected {release}: run "
            "scripts/audit.py part=output again"
        )
    return found


def _read(path: Path, script: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise MissingDataError(f"{path}: no such file; run scripts/{script} first")
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SchemaError(f"{path}: {error}; expected JSON, as scripts/{script} writes it") from error
    return found


def write_model_card(measured: Measured, folder: Path) -> None:
    """README.md, index.html and plots in a folder, as a whole; all that was there goes.

    Raises MissingExtraError without the extra `audit`.
    """

    def write(aside: Path) -> None:
        text = model_card(measured, draw_plots(measured.evaluation, measured.output, aside))
        (aside / MODEL_CARD).write_text(text, encoding="utf-8")
        (aside / "index.html").write_text(page(text), encoding="utf-8")

    replace_folder(folder, write)


def model_card(measured: Measured, plots: Sequence[str]) -> str:
    """The card in Markdown, with what a hub reads of it ahead. plots: names of the pictures beside it."""
    hub = of_extra("huggingface_hub", "model card", "audit")
    manifest = measured.manifest
    data = hub.ModelCardData(
        library_name="two-tower-retrieval",
        tags=["recommender-system", "retrieval", "two-tower"],
        model_name=f"{manifest['context']['title']}, {manifest['release_id']}",
    )
    blocks = [f"# {escaped(data.model_name)}", *_release(manifest), *_quality(measured.evaluation)]
    if "quality" in plots:
        blocks.append("![N@10 of each recommender](quality.png)")
    blocks += _fairness(measured.output)
    if "groups" in plots:
        blocks.append("![Worst group over best, by dimension](groups.png)")
    blocks += [*_exposure(measured.output), *_input(measured.input), *_membership(measured.membership)]
    return str(hub.ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(blocks) + "\n"))


def page(card: str) -> str:
    """The card as a page of its own; what is markup in the data stays text."""
    markdown_it = of_extra("markdown_it", "model card", "audit")
    body = card.split("---\n", 2)[2]
    html = markdown_it.MarkdownIt("commonmark", {"html": False}).enable("table").render(body)
    head = f'<meta charset="utf-8"><title>Model card</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{html}</body></html>\n'


def _release(manifest: Mapping[str, Any]) -> list[str]:
    counts, gates = manifest["counts"], manifest["gates"]
    rows = [
        [each["name"], _number(each["value"]), f"{each['sense']} {each['bound']:g}", _passed(each)]
        for each in gates
    ]
    return [
        f"Made {manifest['created']} of {counts['items']:,} titles, {counts['profiles']:,} profiles and "
        f"{counts['events']:,} events; model {str(manifest['model_fingerprint'])[:12]}.",
        *_privacy(manifest["context"].get("differential_privacy")),
        "## Gates",
        table(["gate", "measured", "bound", "passed"], rows),
    ]


def _privacy(spent: Mapping[str, Any] | None) -> list[str]:
    """Of a private training alone."""
    if spent is None:
        return []
    epsilon = "infinite: no noise was added" if spent["epsilon"] is None else f"{spent['epsilon']:.3f}"
    return [
        f"Trained with differential privacy of a {spent['unit']}: ε = {epsilon}, δ = {spent['delta']:.3g}; "
        f"σ = {spent['noise_multiplier']:.4g}, C = {spent['max_grad_norm']:g}, "
        f"q = {spent['sample_rate']:.4g}, {spent['num_steps']:,} steps; accountant: {spent['accountant']}. "
        f"It covers {escaped(spent['covers'])}.",
        "It does not cover:",
        "\n".join(f"- {escaped(each)}" for each in spent["not_covered"]),
    ]


def _passed(gate: Mapping[str, Any]) -> str:
    return "yes" if gate["passed"] else "no"


def _quality(evaluation: Mapping[str, Any]) -> list[str]:
    about = evaluation["protocol"]
    names = ("recall@10", "ndcg@10", "coverage@10", "gini@10", "popularity_lift@10")
    rows = [
        [name, *(_number(figures[each]) for each in names)]
        for name, figures in evaluation["recommenders"].items()
    ]
    differences = evaluation["differences"]
    served = differences["rows"].get("served")
    blocks = [
        "## Quality",
        f"{about['num_queries']:,} questions, split {about['split']}; "
        f"candidates: {escaped(about['candidates'])}; {escaped(about['seen_filter'])}.",
        table(["recommender", *names], rows),
    ]
    if served is not None:
        blocks.append(
            f"Served less {differences['reference']}: {served['difference']:+.4f} [{served['low']:+.4f}, "
            f"{served['high']:+.4f}] of {differences['metric']}, p = {served['p_value']:.4f}."
        )
    return blocks


def _fairness(output: Mapping[str, Any]) -> list[str]:
    rows = []
    for each in output["fairness"]:
        known = [group for group in each["groups"] if group["known"]]
        ends = [f"{group['group']} {_number(group['mean'])}" for group in (known[:1] + known[-1:])]
        ratio = each["ratio"]
        bounds = "–" if ratio is None else f"{ratio:.2f} [{each['low']:.2f}, {each['high']:.2f}]"
        ends = ends if ratio is not None else ["–", "–"]
        rows.append([each["dimension"], f"{len(known)} of {len(each['groups'])}", *ends, bounds])
    k, least = output["settings"]["k"], output["settings"]["min_questions"]
    return [
        "## For whom",
        f"Mean N@{k} by group; one of fewer than {least} questions is unknown, not fair.",
        table(["quality by", "known", "best", "worst", "worst / best [95 %]"], rows),
    ]


def _exposure(output: Mapping[str, Any]) -> list[str]:
    rows = []
    for kind, groups in output["exposure"].items():
        for each in groups[:_SEGMENT_ROWS]:
            ratio = each["exposure"] / each["merit"] if each["merit"] else None
            name = each["group"] or "unknown"
            shares = [f"{each['exposure']:.1%}", f"{each['merit']:.1%}"]
            rows.append([kind.replace("_", " "), name, *shares, _number(ratio)])
    return [
        "## What is shown",
        f"Genres shown diverge from those watched by {_number(output['divergence'])} nats "
        "(Steck's C_KL, α = .01).",
        table(["exposure by", "value", "exposure", "merit", "ratio"], rows),
    ]


def _input(found: Mapping[str, Any]) -> list[str]:
    segments = found["segments"]
    accused = [
        f"{each['dimension']}={each['segment']}" for each in segments if each["finding"] == "under-served"
    ]
    hidden = sum(not each["quality_known"] for each in segments)
    return [
        "## What it learned from",
        f"{found['num_profiles']:,} profiles with {found['num_events']:,} events. Under-served segments: "
        f"{escaped(', '.join(accused)) if accused else 'none found'}. Of {len(segments)} segments {hidden} "
        f"are too small to show a quality gap of {found['settings']['max_quality_gap']:.0%}: there quality "
        "is unknown.",
    ]


def _membership(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    rows = [
        [
            name,
            *(
                f"{one[each]:.3f} [{one[f'{each}_low']:.3f}, {one[f'{each}_high']:.3f}]"
                for each in ("auc", "tpr")
            ),
        ]
        for name, one in found["attacks"].items()
    ]
    columns = ["attack", "area [joint]", "members found at 1 % of others [joint]"]
    said = (
        f"{found['num_members']:,} members, {found['num_others']:,} others ({escaped(found['others'])}): "
        f"{escaped(found['finding'])}; {escaped(found['reason'])}."
    )
    return ["## Whether it tells who it learned from", said, *([table(columns, rows)] if rows else [])]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
