"""What a reader sees of a climb: nothing cut, nothing taken for markup, a failure with its reason."""

import io
import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from towers.evaluation.bootstrap import Interval
from towers.ladder.climb import Climbed, CurvePoint, VariantRow
from towers.ladder.measured import Row
from towers.ladder.report import render, write_page
from towers.ladder.rungs import RungName
from towers.ladder.variants import Compared, Variant
from towers.ladder.verdict import Measured, PriceSettings, Spent, judge


def row(name: RungName, ndcg: float, seconds: float) -> Row:
    value = np.repeat([1.0, 0.0], [round(1000 * ndcg), 1000 - round(1000 * ndcg)])
    spent = Spent(seconds, 2 * seconds, 0.0, 300 * 2**20, 5 * 2**20, 0.002, 0.004)
    quality = {"ndcg@10": ndcg, "recall@10": 2 * ndcg, "coverage@10": 0.25}
    return Row(name, None, quality, Measured(name.value, value, spent))


@pytest.fixture
def climbed() -> Climbed:
    rows = (
        row(RungName.POPULAR, 0.02, 1.0),
        row(RungName.MARKOV, 0.2, 60.0),
        Row(RungName.TOWERS, "TrainingError: <loss> is [bold]not finite[/bold]", None, None),
    )
    verdicts = judge([(each.name.value, each.measured) for each in rows], PriceSettings())
    curves = tuple(CurvePoint("markov", share, 0.1 + 0.1 * share) for share in (0.25, 0.5, 1.0))
    variants = (
        VariantRow(
            Variant("less", RungName.MARKOV, {"markov.window": 1, "markov.decay": 0.5}),
            row(RungName.MARKOV, 0.15, 30.0),
            Compared(Interval(-0.05, -0.0625, -0.0375, 0.95), 0.00025),
        ),
        VariantRow(
            Variant("<none>", RungName.MARKOV, {"markov.num_recent": 1}),
            Row(RungName.MARKOV, "TrainingError: [red]nothing", None, None),
            Compared(),
        ),
    )
    return Climbed(rows, verdicts, PriceSettings(), curves, variants)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_holds_every_figure_however_narrow_the_terminal(climbed: Climbed, width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(render(climbed, "a [red]service"))
    shown = out.getvalue()
    for words in ("a [red]service", ".0200", ".2000", ".4000", "25.0%", "60.0", "300", "2.00", "4.00"):
        assert words in shown, words
    assert "stands: markov" in shown
    for words in (".1500", "-.0500 [-.0625, -.0375]", "<.001", "30.0", "markov.window=1, markov.decay=0.5"):
        assert words in shown, words
    for words in ("markov.num_recent=1; failed:", "[red]nothing", "over the 1 compared"):
        assert words in shown.replace("\n", " "), words
    assert "[bold]not" in shown
    assert "finite[/bold]" in shown.replace("\n", " ")


def test_the_page_is_one_file_with_its_plot_and_no_markup_of_the_data(
    climbed: Climbed, tmp_path: Path
) -> None:
    path = write_page(climbed, "a <b>service</b>", tmp_path)
    page = path.read_text()
    assert "a &lt;b&gt;service&lt;/b&gt;" in page
    assert "&lt;loss&gt; is [bold]not finite[/bold]" in page
    assert "<strong>markov</strong>" in page
    for cell in ("&lt;none&gt;", "-.0500 [-.0625, -.0375]", "&lt;.001", "markov.window=1, markov.decay=0.5"):
        assert re.search(rf">{re.escape(cell)}</t[dh]>", page), cell
    assert not re.search(r'(src|href)="(?!data:)', page)
    plots = re.findall(r'base64,([^"]+)"', page)
    assert len(plots) == 2
    assert all(b64decode(plot).startswith(b"\x89PNG") for plot in plots)


def test_a_climb_without_variants_says_nothing_of_them(climbed: Climbed, tmp_path: Path) -> None:
    alone = replace(climbed, variants=())
    out = io.StringIO()
    Console(file=out, width=200).print(render(alone, "a service"))
    assert "variants" not in out.getvalue()
    assert "Variants" not in write_page(alone, "a service", tmp_path).read_text()
