"""The scripts that face viewers, by the jobs they run."""

import json
from pathlib import Path

import pytest

from conf.compose import compose_settings
from conf.schema import RecommendSettings
from conf.viewers import ControlSettings, ExplainSettings
from retrieval.control.controls import Controls
from retrieval.control.store import CONTROLS_FILE
from retrieval.index.spec import IndexSpec
from retrieval.release.build import build_release
from retrieval.release.gates import GateSettings
from scripts.control import control
from scripts.explain import explain
from scripts.recommend import recommend
from tests.retrieval.conftest import Exported
from towers.errors import ConfigError, MissingDataError, PinError, QueryError


def test_controls_are_set_from_a_terminal_and_kept_to_by_what_is_explained(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = GateSettings(num_queries=20)
    build_release(exported.model, exported.tables, tmp_path / "releases", IndexSpec(), gates)
    where = f"artifacts={tmp_path}"

    def told(*given: str) -> str:
        control(compose_settings(ControlSettings, "control", (where, "profile=p0", *given)))
        return capsys.readouterr().out

    def shown(*given: str) -> str:
        explain(compose_settings(ExplainSettings, "explain", (where, *given)))
        return capsys.readouterr().out

    assert json.loads(told()) == json.loads(Controls().to_json())
    assert told("forget=true") == "nothing was held\n"
    assert not (tmp_path / CONTROLS_FILE).exists()  # a look makes none
    with pytest.raises(MissingDataError, match="mistyped: no such folder"):
        told("kids=true", f"artifacts={tmp_path / 'mistyped'}")
    assert json.loads(told("excluded_genres=[Nothing]", "removed=[i0]"))["removed"] == ["i0"]
    assert json.loads(told("new_pin='4711'", "max_age=12"))["excluded_genres"] == ["Nothing"]
    with pytest.raises(PinError):
        told("no_max_age=true")
    assert json.loads(told("no_max_age=true", "pin='4711'"))["max_age"] is None
    because = shown("profile=p0", "metadata=true")
    assert "no genre that you excluded" in because
    assert "adds to the score" in because
    assert shown().startswith("# The main parameters")
    with pytest.raises(ConfigError, match="item: 'i0' without a profile"):
        shown("item=i0")
    with pytest.raises(QueryError, match="the text is blank"):
        recommend(compose_settings(RecommendSettings, "recommend", (where, "search=''")))
    assert told("forget=true") == "forgotten\n"
    assert json.loads(told())["removed"] == []
