"""How far an index must search for a recall, found on real queries, and what that costs."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from retrieval.index.spec import DepthIndex
from towers.errors import ReleaseError
from towers.topk import topk

CURVE_FILE = "index_curve.json"
"""What a compiled index gives at several depths of search, in a release."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One depth of search, and what it gives on queries that the index was not laid out for.

    target: the recall it was set for; stop: `IndexSpec.stop` for it, or `nprobe` of lists of FAISS. recall:
    measured, at the curve's k.
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
    span = int(max(found.max(initial=0), exact.max(initial=0))) + 2
    line = np.arange(len(exact))[:, None] * span
    # One ascending array of all that was found, by query: padding, one below row 0, is looked for by none.
    known = (line + np.sort(found + 1, axis=1)).ravel()
    wanted = exact >= 0
    place = np.minimum(np.searchsorted(known, line + exact + 1), max(len(known) - 1, 0))
    hit = wanted & (known[place] == line + exact + 1) if len(known) else np.zeros_like(wanted)
    share: np.ndarray = hit.sum(axis=1) / np.maximum(wanted.sum(axis=1), 1)
    return share.astype(np.float32)


def operating_curve(
    index: DepthIndex,
    query: Float32[np.ndarray, "Q D"],
    exact: Int64[np.ndarray, "Q K"],
    targets: Iterable[float],
) -> OperatingCurve:
    """The least depth of search for each recall; recall rises with the depth."""
    k, depths = exact.shape[1], index.depths

    @cache
    def measured(place: int) -> OperatingPoint:
        _, row, work = index.search_with(query, k, stop=float(depths[place]))
        recall = float(recall_by_query(row, exact).mean())
        codes, lists = (work / len(query)).tolist()
        return OperatingPoint(recall, float(depths[place]), recall, codes, lists)

    points, place = [], 0
    for target in sorted(targets):
        found = _least(lambda at, target=target: measured(at).recall >= target, place, len(depths))  # type: ignore[misc]
        if found is None:
            break
        place = found
        points.append(replace(measured(place), target=target))
    return OperatingCurve(k, len(query), index.num_bytes / index.size, tuple(points))


def _least(reaches: Callable[[int], bool], first: int, num: int) -> int | None:
    """The least place from `first` to `num` - 1 that reaches, as do those after it; None where none does.

    Looked for from below, by strides that double, and by halves: what lies far reads the most.
    """
    low, high, stride = first - 1, first, max(1, num // 32)
    while not reaches(high):
        if high == num - 1:
            return None
        low, high, stride = high, min(high + stride, num - 1), 2 * stride
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
