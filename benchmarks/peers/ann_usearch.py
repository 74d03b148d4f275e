"""usearch: a graph for the inner product; run by its own interpreter.

build: num_links, ef_construction, and dtype, "f32", "bf16", "f16" or "i8". search: ef.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from usearch.index import Index  # type: ignore[import-not-found]  # of its own environment

if TYPE_CHECKING:
    from benchmarks.peers.ann_timing import NUM_THREADS, K, run
else:
    from ann_timing import NUM_THREADS, K, run


class Usearch:
    """A graph of usearch."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._num_threads = 1

    def prepare(self, search: dict[str, Any], num_threads: int) -> None:
        """Takes the effort of the searches that follow."""
        self._num_threads = num_threads
        self._index.expansion_search = search["ef"]

    def one(self, query: np.ndarray) -> np.ndarray:
        """Rows of one query."""
        rows: np.ndarray = self._index.search(query, K, threads=1).keys
        return rows

    def many(self, queries: np.ndarray) -> np.ndarray:
        """Rows of each query."""
        rows: np.ndarray = self._index.search(queries, K, threads=self._num_threads).keys
        return rows

    def num_bytes(self) -> int:
        """Bytes of the saved graph, vectors included."""
        return len(self._index.save())


def build(items: np.ndarray, settings: dict[str, Any]) -> Usearch:
    """A graph for the inner product."""
    index = Index(
        ndim=items.shape[1],
        metric="ip",
        dtype=settings["dtype"],
        connectivity=settings["num_links"],
        expansion_add=settings["ef_construction"],
    )
    index.add(np.arange(len(items)), items, threads=NUM_THREADS)
    return Usearch(index)


if __name__ == "__main__":
    run(build)
