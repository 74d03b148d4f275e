"""The claim `control` finds no violation where controls are kept, and many where they are not."""

from pathlib import Path

import numpy as np
import pytest

import benchmarks.control
from benchmarks.control import measured
from benchmarks.control_oracle import Oracle, Viewers
from retrieval.control.controls import Controls
from retrieval.retriever import Retriever
from tests.retrieval.control.test_controlled import ROWS, VECTORS, world


def test_no_violation_is_found_where_controls_are_kept(tmp_path: Path) -> None:
    found = measured(world(), tmp_path, pool=12, num_batch=30, num_single=15)
    assert found.figures["violations"] == 0
    assert found.figures["requests"] is not None
    assert found.figures["requests"] >= 45


def test_answers_that_keep_to_no_controls_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmarks.control, "Retriever", lambda release, _: Retriever(release))
    found = measured(world(), tmp_path, pool=12, num_batch=30, num_single=15)
    assert found.figures["violations"] is not None
    assert found.figures["violations"] > 15


def test_the_oracle_forbids_what_the_rows_say() -> None:
    oracle = Oracle(world().catalogue.table, VECTORS)
    horror = {str(row["item_id"]) for row in ROWS if "Horror" in (row["genres"] or ())}
    assert oracle.forbidden(Controls(excluded_genres=("HORROR",))) == horror
    adult = {str(row["item_id"]) for row in ROWS if row["maturity"] in ("PG-13", "R", None)}
    assert oracle.forbidden(Controls(kids=True)) == adult
    assert oracle.forbidden(Controls(max_age=12)) == adult
    like = VECTORS @ VECTORS[3]
    nearest = [f"i{row}" for row in np.argsort(-like)[1:6].tolist()]  # the sixth is where ties would be
    assert oracle.forbidden(Controls(less_like=("i3",))) == {"i3", *nearest}


def test_viewers_are_drawn_of_every_kind() -> None:
    viewers = Viewers(Oracle(world().catalogue.table, VECTORS), seed=0)
    drawn = [viewers.draw(["i1", "i2"]) for _ in range(60)]
    for name in ("excluded_genres", "excluded_people", "excluded_items", "less_like", "removed", "kids"):
        assert {bool(getattr(one, name)) for one in drawn} == {True, False}
    assert {one.personalised for one in drawn} == {True, False}
