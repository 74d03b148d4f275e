"""A model card says what was measured, of its own release, and nothing of the data becomes markup."""

import json
from pathlib import Path
from typing import Any

import pytest

from towers.audit.card import Measured, model_card, page, read_measured, write_model_card
from towers.errors import MissingDataError, SchemaError

MANIFEST = {
    "release_id": "r000007",
    "created": "2026-01-02T03:04:05Z",
    "model_fingerprint": "abcdef0123456789",
    "context": {"title": "films | <b>rare</b>"},
    "counts": {"items": 300, "profiles": 2000, "events": 25579},
    "gates": [{"name": "recall", "value": 0.987654, "sense": ">=", "bound": 0.95, "passed": True}],
}
FIGURES = {
    "recall@10": 0.25,
    "ndcg@10": 0.1234,
    "coverage@10": 0.5,
    "gini@10": 0.75,
    "popularity_lift@10": None,
}
EVALUATION = {
    "protocol": {
        "num_queries": 1911,
        "split": "leave_one_out",
        "candidates": "all",
        "seen_filter": "left out",
    },
    "recommenders": {"popular": {**FIGURES, "ndcg@10": 0.05}, "served": FIGURES},
    "differences": {
        "metric": "ndcg@10",
        "reference": "popular",
        "rows": {"served": {"difference": 0.0734, "low": 0.06, "high": 0.09, "p_value": 0.0001}},
    },
}
INPUT = {
    "num_profiles": 2000,
    "num_events": 30000,
    "settings": {"max_quality_gap": 0.2},
    "segments": [
        {"dimension": "age_band", "segment": "65+", "finding": "under-served", "quality_known": False},
        {"dimension": "country", "segment": "US", "finding": "no gap found", "quality_known": True},
    ],
}
GROUPS = [
    {"group": "US", "num_questions": 500, "mean": 0.2, "known": True},
    {"group": "DE", "num_questions": 100, "mean": 0.1, "known": True},
    {"group": "KR", "num_questions": 3, "mean": 0.0, "known": False},
]
OUTPUT = {
    "release_id": "r000007",
    "settings": {"k": 10, "min_questions": 30},
    "fairness": [{"dimension": "country", "groups": GROUPS, "ratio": 0.5, "low": 0.4, "high": 0.61}],
    "exposure": {"genre": [{"group": "Crime", "num_titles": 9, "exposure": 0.3, "merit": 0.2}]},
    "divergence": 0.8,
}


MEMBERSHIP = {
    "model_fingerprint": "abcdef0123456789",
    "num_members": 900,
    "num_others": 100,
    "others": "kept out of training by chance",
    "finding": "tells members",
    "reason": "an attack is better than chance",
    "attacks": {
        "loss": {
            "auc": 0.6125, "auc_low": 0.55, "auc_high": 0.67, "tpr": 0.034, "tpr_low": 0.02, "tpr_high": 0.05
        }
    },
}  # fmt: skip


def written(folder: Path, **others: Any) -> Path:
    (folder / "audit").mkdir()
    of_file = {
        "evaluation.json": EVALUATION,
        "audit/input.json": INPUT,
        "audit/output.json": OUTPUT,
        "manifest.json": MANIFEST,
    }
    for name, plain in {**of_file, **others}.items():
        (folder / name).write_text(json.dumps(plain))
    return folder / "manifest.json"


def test_every_figure_on_the_card_is_one_that_was_measured(tmp_path: Path) -> None:
    measured = read_measured(tmp_path, written(tmp_path))
    write_model_card(measured, tmp_path / "card")
    text = (tmp_path / "card" / "README.md").read_text()
    for line in (
        "| recall | 0.9877 | \\>= 0.95 | yes |",
        "| served | 0.25 | 0.1234 | 0.5 | 0.75 | – |",
        "Served less popular: +0.0734 [+0.0600, +0.0900] of ndcg@10, p = 0.0001.",
        "| country | 2 of 3 | US 0.2 | DE 0.1 | 0.50 \\[0.40, 0.61\\] |",
        "| genre | Crime | 30.0% | 20.0% | 1.5 |",
    ):
        assert line in text
    assert "Under-served segments: age\\_band=65+. Of 2 segments 1 are too small" in text
    assert {path.name for path in (tmp_path / "card").iterdir()} == {
        *("README.md", "index.html", "quality.png", "groups.png")
    }


def test_a_card_says_what_a_private_training_has_spent_and_what_it_does_not_cover() -> None:
    assert "privacy" not in model_card(Measured(MANIFEST, EVALUATION, INPUT, OUTPUT), ())
    spent = {
        **{"epsilon": 7.98765, "delta": 0.00015, "unit": "profile", "noise_multiplier": 0.91234},
        **{"max_grad_norm": 0.5, "sample_rate": 0.125, "num_steps": 1200, "accountant": "prv"},
        **{"covers": "the weights", "not_covered": ["the counts", "the histories"]},
    }
    manifest = {**MANIFEST, "context": {"title": "films", "differential_privacy": spent}}
    text = model_card(Measured(manifest, EVALUATION, INPUT, OUTPUT), ())
    assert "privacy of a profile: ε = 7.988, δ = 0.00015; σ = 0.9123, C = 0.5, q = 0.125, 1,200 steps" in text
    assert "- the counts\n- the histories" in text


def test_what_the_data_says_is_text_on_the_page() -> None:
    html = page(model_card(Measured(MANIFEST, EVALUATION, INPUT, OUTPUT), ()))
    assert "<b>" not in html
    assert "films | &lt;b&gt;rare&lt;/b&gt;" in html
    assert html.count("<table>") == 4
    assert "<img" not in html


def test_a_figure_that_was_not_measured_or_is_of_another_release_stops_the_card(tmp_path: Path) -> None:
    manifest = written(tmp_path, **{"audit/output.json": {**OUTPUT, "release_id": "r000006"}})
    with pytest.raises(SchemaError, match="is of release r000006; expected r000007"):
        read_measured(tmp_path, manifest)
    (tmp_path / "evaluation.json").unlink()
    with pytest.raises(MissingDataError, match=r"run scripts/evaluate\.py first"):
        read_measured(tmp_path, manifest)


def test_what_the_model_tells_of_members_is_on_the_card_of_that_model_alone(tmp_path: Path) -> None:
    measured = read_measured(tmp_path, written(tmp_path, **{"audit/membership.json": MEMBERSHIP}))
    text = model_card(measured, ())
    assert "900 members, 100 others (kept out of training by chance): tells members" in text
    assert "| loss | 0.613 \\[0.550, 0.670\\] | 0.034 \\[0.020, 0.050\\] |" in text
    other = {**MEMBERSHIP, "model_fingerprint": "another"}
    (tmp_path / "audit" / "membership.json").write_text(json.dumps(other))
    left_out = read_measured(tmp_path, tmp_path / "manifest.json")
    assert left_out.membership is None
    assert "members" not in model_card(left_out, ())
