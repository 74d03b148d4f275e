"""The plots of a model card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_INK, _OTHER = "#0072B2", "#999999"  # of Okabe and Ito's palette


def draw_plots(evaluation: Mapping[str, Any], output: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Draws N@10 of each recommender and the worst group over the best of each dimension; names the files."""
    from matplotlib import style
    from matplotlib.figure import Figure

    names = []
    with style.context(["default", {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}]):
        quality = {name: figures["ndcg@10"] for name, figures in evaluation["recommenders"].items()}
        figure = Figure(figsize=(6.4, 0.35 * len(quality) + 1.0), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        inks = [_INK if name == "served" else _OTHER for name in quality]
        axes.barh(list(quality), [value or 0.0 for value in quality.values()], color=inks)
        axes.invert_yaxis()
        axes.set_xlabel("N@10")
        figure.savefig(folder / "quality.png", metadata={"Software": None})
        names.append("quality")
        judged = [each for each in output["fairness"] if each["ratio"] is not None]
        if judged:
            figure = Figure(figsize=(6.4, 0.35 * len(judged) + 1.0), dpi=120, layout="constrained")
            axes = figure.add_subplot()
            for place, each in enumerate(judged):
                axes.plot([each["low"], each["high"]], [place, place], color=_INK)
                axes.plot([each["ratio"]], [place], "o", color=_INK)
            axes.axvline(1.0, color="#000000", linewidth=0.8)
            axes.set_yticks(range(len(judged)), [each["dimension"] for each in judged])
            axes.set_ylim(len(judged) - 0.5, -0.5)
            axes.set_xlim(0.0, 1.05)
            axes.set_xlabel("worst group over best, with its 95 % interval")
            figure.savefig(folder / "groups.png", metadata={"Software": None})
            names.append("groups")
    return tuple(names)
