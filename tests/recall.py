"""Recall of an index as a gate would have it."""

import numpy as np

from retrieval.index.spec import Index
from retrieval.release.certificate import find


def recall_of(index: Index, vectors: np.ndarray, query: np.ndarray, k: int) -> float:
    """Mean share of the exact top k that the index finds, 1 <= k <= N."""
    return int(find(index, vectors, query, k).hits.sum()) / (len(query) * k)
