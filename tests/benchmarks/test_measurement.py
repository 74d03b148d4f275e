"""A record holds exactly the figures promised, in plain JSON, and is read back as it was written."""

import json
import math
from pathlib import Path

import pytest

from benchmarks.claims import BenchmarkError, Bound, Claim, Sign
from benchmarks.measurement import Measurement, last_record, record, save

CLAIM = Claim(
    "quick-one", "data", False, {"rate": Bound(Sign.AT_LEAST, 1.0), "share": Bound(Sign.EQUAL, 1.0)}
)


def test_a_record_carries_its_context_and_survives_the_file(tmp_path: Path) -> None:
    made = record(CLAIM, Measurement({"rate": 2.0, "share": None}, "a planted world", seeds=(3, 4)))
    assert made.figures == {"rate": 2.0, "share": None}
    assert made.context["seeds"] == [3, 4]
    assert made.context["data"] == "a planted world"
    assert made.context["command"] == "make bench CLAIM=quick-one"
    assert {"machine", "versions", "date"} <= set(made.context)
    assert "\n" not in made.to_json()
    assert json.loads(made.to_json())["claim"] == "quick-one"
    assert save(made, tmp_path) == tmp_path / "quick-one.json"
    assert last_record(CLAIM, tmp_path) == made


def test_a_claim_that_was_never_measured_has_no_record(tmp_path: Path) -> None:
    assert last_record(CLAIM, tmp_path) is None


@pytest.mark.parametrize("figures", [{"rate": 1.0}, {"rate": 1.0, "share": 1.0, "more": 1.0}])
def test_figures_other_than_those_promised_are_refused(figures: dict[str, float | None]) -> None:
    with pytest.raises(BenchmarkError, match=r"quick-one: measured .*; expected \['rate', 'share'\]"):
        record(CLAIM, Measurement(figures, "nothing"))


@pytest.mark.parametrize("figure", [math.nan, math.inf])
def test_a_figure_that_is_no_number_is_refused(figure: float) -> None:
    with pytest.raises(BenchmarkError, match=r"quick-one: rate is (nan|inf)"):
        record(CLAIM, Measurement({"rate": figure, "share": 1.0}, "nothing"))
