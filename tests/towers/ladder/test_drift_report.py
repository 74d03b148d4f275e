"""What a reader of a drift check sees: every reading beside its limit, and both sides of each feature."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.towers.evaluation.test_drift_decision import CHECK
from towers.evaluation.drift import DriftSettings, feature_reading
from towers.evaluation.drift_decision import Reason
from towers.ladder.drift_features import Comparison
from towers.ladder.drift_inputs import Feature
from towers.ladder.drift_report import render, write_plot

pytest.importorskip("matplotlib")
from matplotlib.image import imread


def printed(check: object, width: int = 100) -> str:
    console = Console(width=width, record=True, file=StringIO())
    console.print(check)
    return console.export_text()


def compared(feature: Feature, train: list[int], live: list[int]) -> Comparison:
    counts = np.array(train), np.array(live)
    names = tuple(f"bin {place}" for place in range(len(train)))
    return Comparison(feature, names, *counts, feature_reading(feature.value, *counts, DriftSettings()))


@pytest.mark.parametrize("width", [60, 80, 140])
def test_every_reading_is_printed_with_its_limit_however_narrow_the_terminal(width: int) -> None:
    shown = printed(render(CHECK), width)
    for reading in (*CHECK.readings, *CHECK.noted):
        (line,) = [line for line in shown.splitlines() if line.strip().startswith(f"{reading.subject} ")]
        assert f"{reading.value:.3f}" in line
        assert f"{reading.limit:.3f}" in line
    words = " ".join(shown.split())
    assert "retrain: drifted: country" in words
    assert "genre: not read, neither log says it" in words
    assert "country: new to train went from 0.0% to 12.0%" in words


def test_without_newer_events_there_is_no_table() -> None:
    shown = printed(render(replace(CHECK, readings=(), noted=(), num_events=0, reason=Reason.NEITHER)))
    assert "no newer event" in shown
    assert "limit" not in shown


def test_the_bin_that_moved_most_is_that_of_the_largest_term() -> None:
    # Terms (q − p)·ln(q / p): of the first .2·ln 2 = .139, of the last .2·ln 3 = .220.
    moved = compared(Feature.GENRE, [400, 500, 100], [200, 500, 300]).moved
    assert (moved.bin, moved.train, moved.live) == ("bin 2", 0.1, 0.3)


def test_each_feature_is_drawn_and_an_older_drawing_goes_where_there_is_none(tmp_path: Path) -> None:
    few = compared(Feature.MINUTES, [40, 50, 0], [20, 50, 30])
    many = compared(Feature.GENRE, list(range(1, 41)), list(range(40, 0, -1)))
    path = write_plot(CHECK, [few], tmp_path)
    assert path is not None
    low = imread(path).shape
    write_plot(CHECK, [few, many, few], tmp_path)
    high = imread(path).shape
    assert low[1] == high[1]
    assert low[0] < high[0]
    assert write_plot(CHECK, [], tmp_path) is None
    assert not path.exists()
