"""scripts/audit.py as a user runs it: the input of tables with a planted segment, the output of a release."""

import json
from pathlib import Path

import pytest

from conf.compose import compose_settings
from conf.schema import AuditSettings, EvaluateSettings, PipelineSettings
from scripts.audit import audit
from scripts.build_index import build_index
from scripts.evaluate import evaluate_release
from scripts.train import train
from tests.pipeline.test_scripts import SMALL, must_run, run
from towers.data.simulator.segments import population


def population_file(folder: Path) -> Path:
    path = folder / "population.csv"
    lines = [
        f"{dimension},{segment},{share}"
        for dimension, shares in population(0.1).items()
        for segment, share in shares.items()
    ]
    path.write_text("\n".join(["dimension,segment,share", *lines]))
    return path


def test_a_planted_segment_is_named_and_no_id_is_written(tmp_path: Path) -> None:
    where = f"artifacts={tmp_path}"
    planted = ("data.underserved=0.6", "data.underserved_segment='country=US'")
    must_run("ingest", where, "card=false", "data.num_events=20000", "data.num_profiles=1500", *planted)
    said = must_run("audit", "stage=input", where, f"population={population_file(tmp_path)}")
    assert "under-served segments: " in said
    text = (tmp_path / "audit" / "input.json").read_text()
    found = json.loads(text)
    accused = {each["segment"] for each in found["segments"] if each["finding"] == "under-served"}
    assert "US" in accused
    assert accused <= {"US", "Northern America", "US-CA", "US-TX", "US-NY", "US-FL", "en"}
    assert '"p0' not in text
    assert (tmp_path / "audit" / "segments.png").stat().st_size > 10_000


def test_a_population_that_is_none_is_one_line(tmp_path: Path) -> None:
    must_run("ingest", f"artifacts={tmp_path}", "card=false", *SMALL[:3])
    done = run("audit", f"artifacts={tmp_path}", "population=nowhere.csv")
    assert done.returncode == 2
    assert "error: nowhere.csv: no such file; expected a CSV" in done.stderr


def test_a_feedback_loop_is_lived_through_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = ("num_events=1500", "num_profiles=50", "num_items=80")
    asked = ("num_cycles=2", "num_seeds=2", "rung=popular")
    told = [f"artifacts={tmp_path}", "part=feedback", *(f"feedback.{each}" for each in asked)]
    audit(compose_settings(AuditSettings, "audit", [*told, *(f"feedback.world.{each}" for each in world)]))
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "audit" / "feedback.json").read_text())
    assert f"feedback: {found['finding']}: {found['reason']}"[:60] in said
    assert [len(run["model"]) for run in found["runs"]] == [3, 3]
    assert (tmp_path / "audit" / "feedback.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_output_of_a_release_is_judged_by_group_and_by_title(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = f"artifacts={tmp_path}"
    train(compose_settings(PipelineSettings, "train", [where, *SMALL, "split.unlearned_share=0.3"]))
    build_index(compose_settings(PipelineSettings, "build_index", [where, "gates.num_queries=60"]))
    evaluate_release(EvaluateSettings(artifacts=str(tmp_path)))
    capsys.readouterr()
    audit(compose_settings(AuditSettings, "audit", [where, "part=output", "output.min_questions=5"]))
    assert "exposure by" in capsys.readouterr().out
    found = json.loads((tmp_path / "audit" / "output.json").read_text())
    evaluated = json.loads((tmp_path / "evaluation.json").read_text())["recommenders"]["served"]
    assert found["ndcg"] == pytest.approx(evaluated["ndcg@10"])
    assert found["concentration"]["gini"] == pytest.approx(evaluated["gini@10"])
    assert {each["dimension"] for each in found["fairness"]} >= {"country", "age_band", "region & age_band"}
    audit(compose_settings(AuditSettings, "audit", [where]))
    capsys.readouterr()
    audit(compose_settings(AuditSettings, "audit", [where, "part=membership"]))
    assert "membership: unknown: " in capsys.readouterr().out  # too few of so small a service
    audit(compose_settings(AuditSettings, "audit", [where, "part=membership", "membership.min_profiles=5"]))
    said = capsys.readouterr().out
    attacked = json.loads((tmp_path / "audit" / "membership.json").read_text())
    assert set(attacked["attacks"]) == {"loss", "harder than it looks", "rank"}
    assert attacked["others"] == "kept out of training by chance"
    assert f"{attacked['attacks']['loss']['auc']:.3f}" in said
    assert (tmp_path / "audit" / "membership.png").is_file()
    audit(compose_settings(AuditSettings, "audit", [where, "part=card"]))
    card = (tmp_path / "audit" / "card" / "README.md").read_text()
    assert f"| served | {evaluated['recall@10']:.4g} | {evaluated['ndcg@10']:.4g} |" in card
    assert "| recall |" in card
    page = (tmp_path / "audit" / "card" / "index.html").read_text()
    assert page.count("<table>") == 5
    assert "Whether it tells who it learned from" in page
    for picture in ("quality", "groups"):
        assert f'src="{picture}.png"' in page
        assert (tmp_path / "audit" / "card" / f"{picture}.png").is_file()
    for groups in found["exposure"].values():
        assert sum(each["exposure"] for each in groups) == pytest.approx(1.0)
