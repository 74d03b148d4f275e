"""docs/search.png: how search holds out as texts get worse, as the claim `judgments` measured it last.

python -m benchmarks.studies.search_picture
"""

import json
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.measurement import FIGURES
from benchmarks.stages import ROOT

_COLOURS = {"hybrid": "#1f5fa8", "words": "#7fb0dd", "BM25": "#b5b5b5"}
_NAMES = {"hybrid": "words and query tower", "words": "words alone", "BM25": "BM25 (bm25s)"}
_BAR = 0.27


def picture(curve: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Bars of success@1 of each way to answer, at each point that has one."""
    points = {name: of_point for name, of_point in curve.items() if "share" not in name}
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    axes = figure.subplots()
    for place, (way, colour) in enumerate(_COLOURS.items()):
        at = [point + (place - 1) * _BAR for point in range(len(points))]
        bars = axes.bar(
            at, [of_point[way][0] for of_point in points.values()], _BAR, color=colour, label=_NAMES[way]
        )
        axes.bar_label(bars, fmt="%.2f", fontsize=6.5, rotation=90, padding=2)
    axes.set_xticks(range(len(points)), [name.replace(" ", "\n", 1) for name in points])
    axes.set_ylim(0.0, 1.2)
    axes.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
    axes.set_ylabel("success@1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.14), fontsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    record = json.loads((FIGURES / "judgments.json").read_text(encoding="utf-8"))
    picture(record["context"]["details"]["curve, success@1 and @10"], ROOT / "docs" / "search.png")
