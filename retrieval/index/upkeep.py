"""When an index with updates is due to be built anew, and that build."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Float32, Int64

from retrieval.index.build import build_index
from retrieval.index.operating import recall_by_query
from retrieval.index.spec import Index, IndexSpec, best_first
from retrieval.index.updates import UpdatedIndex
from retrieval.interests import best_of
from towers.settings import bounded
from towers.topk import topk


class Due(StrEnum):
    """Why an index is to be built anew."""

    ADDED = "added"
    """Searches scan too many added items."""
    REMOVED = "removed"
    """Too much of what is stored and read was removed."""
    RECALL = "recall"
    """Searches find too little of the true answers, or nothing tells how much."""


@dataclass(frozen=True, slots=True)
class UpkeepSettings:
    """How far updates may go before the index is built anew.

    max_added_share: added items per item of the build. max_removed_share: of the build. min_recall: share
    of the exact top k found, of what is there. num_queries: real ones that a delta is judged by, at most as
    many as a build is; the exact answers to them take most of the time of a delta.
    """

    max_added_share: float = bounded(0.05, ge=0.0)
    max_removed_share: float = bounded(0.2, ge=0.0, le=1.0)
    min_recall: float = bounded(0.95, ge=0.0, le=1.0)
    k: int = bounded(100, ge=1)
    num_queries: int = bounded(300, ge=1)


@dataclass(frozen=True, slots=True)
class Compacted:
    """An index built anew of the n items that were there.

    vectors: float32 (n, D), what it was built of. row_of: int64 (num_rows,), the row here of each row there,
    -1 of those that were removed.
    """

    index: Index
    vectors: Float32[np.ndarray, "n D"]
    row_of: Int64[np.ndarray, " R"]


def recall_now(index: UpdatedIndex, query: Float32[np.ndarray, "Q *I D"], k: int) -> float | None:
    """Mean share of the exact top k, of what is there, that a search for k finds.

    query: real ones, a vector each or several interests; k >= 1. Of fewer than k items all are the exact
    answer. None where there are no queries or no items: nothing can be measured.
    """
    if len(query) == 0 or index.size == 0:
        return None
    found = best_of(index.search, query, k)[1][:, :k]
    return float(recall_by_query(found, _exact_rows(index, query, k)).mean())


def _exact_rows(index: UpdatedIndex, query: np.ndarray, k: int) -> np.ndarray:
    """The true best k of what is there, by the oracle: of the build, of the added, and of both."""
    num_built, asked = len(index.built), torch.from_numpy(query)
    there = np.zeros(num_built, bool)
    there[index.rows()[: index.size - len(index.added)]] = True
    parts = [topk(asked, torch.from_numpy(index.built), k, allowed=torch.from_numpy(there))]
    parts.append(topk(asked, torch.from_numpy(index.added), k))
    score, row = (np.concatenate([one.numpy() for one in each], axis=1) for each in zip(*parts, strict=True))
    row_of = np.append(index.added_row, -1)  # place -1 is the last
    row[:, k:] = row_of[row[:, k:]]
    return best_first(score, row)[1][:, :k]


def due(index: UpdatedIndex, recall: float | None, settings: UpkeepSettings) -> tuple[Due, ...]:
    """Why the index is to be built anew; empty where it need not be.

    recall: what `recall_now` measured at `settings.k`; where that is None, min_recall 0 alone is met.
    """
    reasons = []
    if index.added_share > settings.max_added_share:
        reasons.append(Due.ADDED)
    if index.removed_share > settings.max_removed_share:
        reasons.append(Due.REMOVED)
    if (0.0 if recall is None else recall) < settings.min_recall:
        reasons.append(Due.RECALL)
    return tuple(reasons)


def compacted(
    index: UpdatedIndex, spec: IndexSpec, queries: Float32[np.ndarray, "Q D"] | None = None
) -> Compacted:
    """What is there, built anew as the spec says; rows keep their order and close up.

    queries: as `build_index` takes them. Raises IndexBuildError where nothing is there, and on what the
    kind does not take.
    """
    vectors = index.vectors()
    row_of = np.full(index.num_rows, -1)
    row_of[index.rows()] = np.arange(index.size)
    return Compacted(build_index(spec, vectors, queries), vectors, row_of)
