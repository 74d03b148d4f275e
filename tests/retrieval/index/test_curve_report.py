"""What is drawn and printed of an operating curve is what was measured."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from retrieval.index.curve_report import plot, render
from retrieval.index.operating import OperatingCurve, OperatingPoint

pytest.importorskip("matplotlib")
from matplotlib.axes import Axes
from matplotlib.image import imread

CURVE = OperatingCurve(
    k=100,
    num_queries=1000,
    bytes_per_item=72.6,
    points=(
        OperatingPoint(0.9, 2.0, 0.9031, 1500.4, 8.25),
        OperatingPoint(0.95, 3.0, 0.9518, 2750.9, 16.0),
        OperatingPoint(0.99, 5.0, 0.9904, 12_345.0, 71.5),
    ),
)


def test_the_table_has_a_line_for_each_point() -> None:
    console = Console(width=90, record=True)
    console.print(render(CURVE))
    lines = console.export_text().splitlines()
    assert lines[0].strip() == "recall@100 of 1000 queries; 73 bytes an item"
    assert [line.split() for line in lines[2:]] == [
        ["0.9", "0.9031", "1,500", "8.2", "2"],
        ["0.95", "0.9518", "2,751", "16.0", "3"],
        ["0.99", "0.9904", "12,345", "71.5", "5"],
    ]


def test_the_plot_shows_recall_over_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    original = Axes.plot

    def kept(self: Axes, codes: list[float], recall: list[float], *style: str, **more: Any) -> object:
        drawn.append((codes, recall))
        return original(self, codes, recall, *style, **more)

    monkeypatch.setattr(Axes, "plot", kept)
    plot(CURVE, tmp_path / "one.png")
    plot(CURVE, tmp_path / "two.png")
    assert drawn[0] == ([1500.4, 2750.9, 12_345.0], [0.9031, 0.9518, 0.9904])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert imread(tmp_path / "one.png").std() > 0.02
