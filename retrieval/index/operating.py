"""How far an index must search for a recall, found on real queries, and what that costs."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from retrieval.index.partitioned.index import PartitionedIndex
from towers.errors import ReleaseError
from towers.topk import topk

CURVE_FILE = "index_curve.json"
"""What a compiled index gives at several depths of search, in a release."""

_MAX_STOP, _HALVINGS = 10.0, 8


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One depth of search, and what it gives on queries that the index was not laid out for.

    target: the recall it was set for; stop: `IndexSpec.stop` for it. recall: measured, at the curve's k.
    codes, lists: read by a query, mean.
    """

    target: float
    stop: float
    recall: float
    codes: float
    lists: float


@dataclass(frozen=True, slots=True)
class OperatingCurve:
    """Operating points by rising target; those that the index cannot reach are left out.

    k: places compared. num_queries: of the measurement. bytes_per_item: what a search reads, vectors aside.
    """

    k: int
    num_queries: int
    bytes_per_item: float
    points: tuple[OperatingPoint, ...]

    def at(self, recall: float) -> OperatingPoint | None:
        """The cheapest point set for so much recall, or more; None where none is."""
        return next((point for point in self.points if point.target >= recall), None)


def write_curve(curve: OperatingCurve, folder: Path) -> None:
    """Writes CURVE_FILE into a folder that exists."""
    text = json.dumps(asdict(curve), indent=1, allow_nan=False)
    (folder / CURVE_FILE).write_text(text + "\n", encoding="utf-8")


def read_curve(folder: Path) -> OperatingCurve | None:
    """The curve that `write_curve` wrote; None where there is none. ReleaseError where it is another file."""
    path = folder / CURVE_FILE
    if not path.is_file():
        return None
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        points = tuple(OperatingPoint(**point) for point in read.pop("points"))
        return OperatingCurve(**read, points=points)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReleaseError(f"{path}: {error}; expected an operating curve") from error


def exact_rows(
    vectors: Float32[np.ndarray, "N D"], query: Float32[np.ndarray, "Q D"], k: int
) -> Int64[np.ndarray, "Q K"]:
    """The true best k of each query."""
    row: np.ndarray = topk(torch.from_numpy(query), torch.from_numpy(vectors), k)[1].numpy()
    return row


def recall_by_query(
    found: Int64[np.ndarray, "Q K"], exact: Int64[np.ndarray, "Q K"]
) -> Float32[np.ndarray, " Q"]:
    """Share of each query's exact answer that was found; padding is nothing."""
    num_rows = int(max(found.max(initial=0), exact.max(initial=0))) + 1
    line = np.arange(len(exact))[:, None] * num_rows
    hit = np.isin((line + exact).ravel(), (line + found)[found >= 0]).reshape(exact.shape)
    wanted = exact >= 0
    share: np.ndarray = (hit & wanted).sum(axis=1) / np.maximum(wanted.sum(axis=1), 1)
    return share.astype(np.float32)


def operating_curve(
    index: PartitionedIndex,
    query: Float32[np.ndarray, "Q D"],
    exact: Int64[np.ndarray, "Q K"],
    targets: Iterable[float],
) -> OperatingCurve:
    """The least depth of search for each recall, by halving: recall rises with the depth."""
    k = exact.shape[1]
    points = [point for target in sorted(targets) if (point := _point(index, query, exact, target))]
    return OperatingCurve(k, len(query), index.num_bytes / index.size, tuple(points))


def _point(
    index: PartitionedIndex, query: np.ndarray, exact: np.ndarray, target: float
) -> OperatingPoint | None:
    def at(stop: float) -> OperatingPoint:
        _, row, work = index.search_with(query, exact.shape[1], stop=stop)
        recall = float(recall_by_query(row, exact).mean())
        return OperatingPoint(target, stop, recall, *(work / len(query)).tolist())

    least, most = 0.0, at(_MAX_STOP)
    if most.recall < target:
        return None
    for _ in range(_HALVINGS):
        middle = at((least + most.stop) / 2)
        if middle.recall >= target:
            most = middle
        else:
            least = middle.stop
    return most
