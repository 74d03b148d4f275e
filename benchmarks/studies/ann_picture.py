"""docs/ann.png and its table: what every library gives at a recall, as the claim `ann` measured it last.

python -m benchmarks.studies.ann_picture
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.ann_records import FOLDER
from benchmarks.ann_sweeps import Peer
from benchmarks.ann_vectors import SetName
from benchmarks.stages import ROOT

_COLOURS = {
    Peer.OWN: "#1f5fa8",
    Peer.FAISS: "#c2571a",
    Peer.SCANN: "#4b8b3b",
    Peer.SCANN_TRANSFORMED: "#9cc48f",
    Peer.HNSWLIB: "#8a8a8a",
    Peer.USEARCH: "#b5b5b5",
    Peer.VOYAGER: "#d2d2d2",
}
_NAMES = {
    Peer.OWN: "this index",
    Peer.FAISS: "FAISS",
    Peer.SCANN: "ScaNN",
    Peer.SCANN_TRANSFORMED: "ScaNN in our metric",
}
_LEAST_RECALL = 0.8
_MODES = {"single": "one at a time", "batch": "by 1,024, two threads"}


def frontier(points: Sequence[dict[str, Any]], mode: str) -> list[tuple[float, float]]:
    """(recall, rate) of the points that no other beats in both, by rising recall."""
    found = sorted((one[f"{mode}_recall"], one[f"{mode}_qps"]) for one in points if one["refused"] is None)
    best: list[tuple[float, float]] = []
    for recall, rate in reversed(found):
        if not best or rate > best[-1][1]:
            best.append((recall, rate))
    return best[::-1]


def picture(sets: dict[str, dict[str, Any]], path: Path) -> None:
    """A column for each set, a row for each way to ask."""
    figure = Figure(figsize=(2.6 * len(sets), 5.2), layout="constrained")
    grid = figure.subplots(len(_MODES), len(sets), sharex=True, sharey="row", squeeze=False)
    for column, (name, peers) in enumerate(sets.items()):
        for line, (mode, said) in enumerate(_MODES.items()):
            axes = grid[line][column]
            for peer in reversed(_COLOURS):
                points = frontier(peers[peer]["points"], mode) if peer in peers else []
                axes.plot(
                    *zip(*points, strict=True) if points else ([], []),
                    marker="o",
                    markersize=2.5,
                    linewidth=2.0 if peer is Peer.OWN else 1.2,
                    color=_COLOURS[peer],
                    label=_NAMES.get(peer, str(peer)),
                )
            axes.set_yscale("log")
            axes.set_xlim(_LEAST_RECALL, 1.005)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", linewidth=0.4, alpha=0.5)
            if column == 0:
                axes.set_ylabel(f"queries a second,\n{said}")
            if line == 0:
                axes.set_title(name, fontsize=9)
            else:
                axes.set_xlabel("recall@100")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], loc="outside upper center", ncols=len(labels), frameon=False, fontsize=8
    )
    figure.savefig(path, dpi=130)


def table(sets: dict[str, dict[str, Any]], at: str) -> str:
    """Queries a second at a recall, one at a time / by 1,024, as a table in Markdown."""
    columns: dict[str, tuple[Peer, ...]] = {
        _NAMES[peer]: (peer,) for peer in (Peer.OWN, Peer.FAISS, Peer.SCANN, Peer.SCANN_TRANSFORMED)
    }
    columns["the best graph"] = tuple(peer for peer in Peer if peer.is_graph)
    lines = [f"| recall {at} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name, peers in sets.items():
        cells = []
        for of_column in columns.values():
            swept = [peers[peer]["qps"] for peer in of_column if peer in peers]
            rates = [max((qps[mode][at] or 0.0 for qps in swept), default=0.0) for mode in _MODES]
            cells.append(" / ".join(f"{rate:,.0f}" if rate else "–" for rate in rates))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    paths = {name: FOLDER / f"{name}.json" for name in SetName}
    measured = {
        str(name): record["peers"]
        for name, path in paths.items()
        if path.is_file() and "peers" in (record := json.loads(path.read_text(encoding="utf-8")))
    }
    picture(measured, ROOT / "docs" / "ann.png")
    for recall in ("0.95", "0.99"):
        print(table(measured, recall), end="\n\n")
