"""ScaNN over vectors in the metric of real queries, run by its own interpreter: what that change alone gives.

With M the second moments of the queries, items become M^(1/2) x and queries M^(-1/2) q: inner products stay,
and a distance between items is by how much queries score them apart (ScaNN's authors call such a loss
score-aware: Guo et al. 2020, arXiv:1908.10396). build, search: as of ann_scann.py.
"""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.peers import ann_scann
    from benchmarks.peers.ann_timing import run
else:
    import ann_scann
    from ann_timing import run

_LEAST_SHARE = 1e-6
"""Of the largest moment: a direction that queries hardly have must not be divided by next to nothing."""


class Transformed:
    """A searcher of ScaNN that is asked for queries as they were."""

    def __init__(self, searcher: ann_scann.Scann, of_queries: np.ndarray) -> None:
        self._searcher, self._of_queries = searcher, of_queries

    def prepare(self, search: dict[str, Any], num_threads: int) -> None:
        """Takes the effort of the searches that follow."""
        self._searcher.prepare(search, num_threads)

    def one(self, query: np.ndarray) -> np.ndarray:
        """Rows of one query."""
        return self._searcher.one(query @ self._of_queries)

    def many(self, queries: np.ndarray) -> np.ndarray:
        """Rows of each query."""
        return self._searcher.many(queries @ self._of_queries)

    def num_bytes(self) -> int:
        """Bytes of its serialised assets, and of the transform."""
        return self._searcher.num_bytes() + self._of_queries.nbytes


def transforms(queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float32 (D, D) each: what items, and what queries, are multiplied by from the right."""
    moments = queries.T.astype(np.float64) @ queries / len(queries)
    value, basis = np.linalg.eigh(moments)
    root = np.sqrt(np.maximum(value, _LEAST_SHARE * value[-1]))
    return (basis * root).astype(np.float32), (basis / root).astype(np.float32)


def build(items: np.ndarray, settings: dict[str, Any]) -> Transformed:
    """An index for the inner product, over the set that the script was called with."""
    of_items, of_queries = transforms(np.load(sys.argv[1])["build_queries"])
    return Transformed(ann_scann.build(items @ of_items, settings), of_queries)


if __name__ == "__main__":
    run(build)
