"""Rungs of every kind from logs to answers, through the scripts' own jobs."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conf.compose import compose_settings
from conf.schema import EvaluateSettings, LadderSettings, RecommendAllSettings, RecommendSettings
from scripts.evaluate import evaluate_release
from scripts.ladder import climb_ladder
from scripts.recommend import recommend
from scripts.recommend_all import write_recommendations
from tests.pipeline.test_scripts import SMALL
from towers.errors import ConfigError


@pytest.mark.slow
def test_a_rung_of_every_kind_is_published_and_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = f"artifacts={tmp_path}"
    climb = ("climb.names=[popular,item_knn,ials,towers]", "climb.curve_names=[]")
    kinds = {"item_knn": "lists", "ials": "factors", "towers": "towers", "promoted": None}
    for number, (publish, kind) in enumerate(kinds.items()):
        # The rows of the first climb are taken by the others.
        again = () if number == 0 else ("reuse_tables=true",)
        told = [where, *SMALL, *climb, f"publish={publish}", *again]
        climb_ladder(compose_settings(LadderSettings, "ladder", told))
        assert f"r{number + 1:06d}" in capsys.readouterr().out
        manifest = json.loads((tmp_path / "releases" / f"r{number + 1:06d}" / "manifest.json").read_text())
        assert kind in (None, manifest["kind"])
        judged = manifest["context"]["rung"]
        assert publish in ("promoted", judged["name"])
        ladder = json.loads((tmp_path / "ladder" / "ladder.json").read_text())
        (row,) = (rung for rung in ladder["rungs"] if rung["name"] == judged["name"])
        assert judged["ndcg@10"] == row["evaluation"]["ndcg@10"]

        evaluate_release(EvaluateSettings(artifacts=str(tmp_path)))
        served = json.loads((tmp_path / "evaluation.json").read_text())["recommenders"]
        # What an index over vectors answers is what was judged; lists know no history of a test question.
        if kind in ("factors", "towers"):
            assert served["served"]["ndcg@10"] == pytest.approx(judged["ndcg@10"], abs=1e-6)
        if kind == "lists":
            assert "exact" not in served
            assert served["served"]["degraded"] == {"not_precomputed": served["served"]["num_queries"]}
        capsys.readouterr()
        recommend(RecommendSettings(artifacts=str(tmp_path), k=3))
        assert capsys.readouterr().out.count("recommended") == 3
        write_recommendations(RecommendAllSettings(artifacts=str(tmp_path), k=3))
        answers = pq.read_table(tmp_path / "recommendations.parquet").to_pylist()
        assert {(len(each["item_id"]), each["release_id"]) for each in answers} == {(3, f"r{number + 1:06d}")}


def test_a_rung_that_is_not_climbed_cannot_be_published() -> None:
    with pytest.raises(
        ConfigError, match=r"publish: 'ease'; expected promoted, or a rung .* climbed: popular"
    ):
        compose_settings(LadderSettings, "ladder", ["climb.names=[popular]", "publish=ease"])
