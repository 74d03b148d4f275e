"""Items into lists of like ones, and how far each list's scores lie from those of its centre."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.index.faiss.centres import cluster_centres, nearest_centres


@dataclass(frozen=True, slots=True)
class Partition:
    """N items in L lists; list l holds row[offset[l] : offset[l + 1]].

    centre: the mean of each list. spread: how far the scores of its items lie from that of the centre, root
    mean square over queries of unit length; 0 for a list of one.
    """

    centre: Float32[np.ndarray, "L C"]
    spread: Float32[np.ndarray, " L"]
    offset: Int64[np.ndarray, " L1"]
    row: Int64[np.ndarray, " M"]


def lists_of(items: Float32[np.ndarray, "N C"], num_lists: int, seed: int) -> Int64[np.ndarray, " N"]:
    """The list of each item, by distance: the one of the nearest of the k-means centres of a sample."""
    nearest: np.ndarray = nearest_centres(items, cluster_centres(items, num_lists, seed), 1)[:, 0]
    return nearest


def partition(
    items: Float32[np.ndarray, "N C"],
    queries: Float32[np.ndarray, "Q C"] | None,
    list_of: Int64[np.ndarray, " N"],
) -> Partition:
    """The partition of the items into these lists; those without an item are left out."""
    row = np.argsort(list_of, kind="stable")
    _, each, length = np.unique(list_of[row], return_inverse=True, return_counts=True)
    moment = _direction_moment(items.shape[1], queries)
    offset = np.concatenate([[0], np.cumsum(length)])
    # Lists lie one after another: sums between their ends.
    total = np.add.reduceat(items[row].astype(np.float64), offset[:-1], axis=0)
    centre = (total / length[:, None]).astype(np.float32)
    away = items[row] - centre[each]
    square = np.einsum("mc,mc->m", away @ moment, away)
    spread = np.sqrt(np.add.reduceat(np.maximum(square, 0.0), offset[:-1]) / length)
    return Partition(centre, spread.astype(np.float32), offset.astype(np.int64), row.astype(np.int64))


def _direction_moment(dimension: int, queries: np.ndarray | None) -> np.ndarray:
    """E[q qᵀ] / E[<q, q>]: of queries of every direction alike where none are given."""
    if queries is None:
        return np.eye(dimension, dtype=np.float32) / np.float32(dimension)
    moment = queries.T.astype(np.float64) @ queries
    scaled: np.ndarray = (moment / np.trace(moment)).astype(np.float32)
    return scaled
