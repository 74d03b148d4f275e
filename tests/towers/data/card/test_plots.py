"""The plots are drawn where there are figures, at the size and with the labels that a reader needs."""

from pathlib import Path

import pytest

from tests.towers.data.card.folders import folder_of
from tests.worlds import block_world, log_tables
from towers.data.card.card import measure_card
from towers.data.card.page import markdown
from towers.data.card.plots import _drawings, draw_plots
from towers.data.schema import Tables

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure
from matplotlib.image import imread

ALL = (
    "events_over_time",
    "hours",
    "minutes",
    "completion",
    "history_length",
    "popularity",
    "new_titles",
    "countries",
)


def drawn(tables: Tables, folder: Path) -> tuple[tuple[str, ...] | None, str]:
    card = measure_card(folder_of(tables, folder / "tables"))
    plots = draw_plots(card.behaviour, folder)
    return plots, markdown(card, plots)


def test_every_figure_of_a_full_log_is_drawn_and_stands_on_the_page(tmp_path: Path) -> None:
    plots, page = drawn(block_world(2, 12, 6, 6, seed=1), tmp_path)
    assert plots == ALL
    assert [line.split("(")[-1][:-1] for line in page.splitlines() if line.startswith("![")] == [
        f"{name}.png" for name in ALL
    ]
    for name in ALL:
        picture = imread(tmp_path / f"{name}.png")
        assert picture.shape[:2] == (384, 768)
        blue = (picture[..., 2] > 0.5) & (picture[..., 0] < 0.2)
        assert blue.mean() > 0.001, name  # something was drawn, in the one colour


def test_what_is_not_known_is_not_drawn(tmp_path: Path) -> None:
    plots, page = drawn(log_tables([(0, 0, 0)], num_items=1, num_profiles=1), tmp_path)
    assert plots == ("events_over_time", "hours", "history_length", "popularity", "new_titles")
    assert "minutes.png" not in page


def test_no_events_draw_nothing(tmp_path: Path) -> None:
    plots, page = drawn(log_tables([], num_items=1, num_profiles=1), tmp_path)
    assert plots == ()
    assert "![" not in page
    assert "matplotlib" not in page


def test_every_plot_has_a_title_and_named_axes_and_its_bars_begin_at_zero(tmp_path: Path) -> None:
    card = measure_card(folder_of(block_world(2, 12, 6, 6, seed=1), tmp_path / "tables"))
    for name, draw in _drawings(card.behaviour):
        axes = Figure().add_subplot()
        draw(axes)
        assert axes.get_title(loc="left") or axes.get_title(), name
        assert axes.get_xlabel(), name
        assert axes.get_ylabel() or name == "countries"  # whose bars bear the names themselves
        if name == "popularity":
            assert axes.get_xscale() == axes.get_yscale() == "log"
        else:
            low = axes.get_xlim()[0] if name == "countries" else axes.get_ylim()[0]
            assert low == 0, name
