"""hnswlib: a graph for the inner product; run by its own interpreter.

build: num_links and ef_construction. search: ef.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import hnswlib  # type: ignore[import-untyped]  # of its own environment
import numpy as np

if TYPE_CHECKING:
    from benchmarks.peers.ann_timing import NUM_THREADS, K, folder_bytes, run
else:
    from ann_timing import NUM_THREADS, K, folder_bytes, run


class Hnswlib:
    """A graph of hnswlib."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._num_threads = 1

    def prepare(self, search: dict[str, Any], num_threads: int) -> None:
        """Takes the effort of the searches that follow."""
        self._num_threads = num_threads
        self._index.set_ef(search["ef"])

    def one(self, query: np.ndarray) -> np.ndarray:
        """Rows of one query."""
        rows: np.ndarray = self._index.knn_query(query, K, num_threads=1)[0][0]
        return rows

    def many(self, queries: np.ndarray) -> np.ndarray:
        """Rows of each query."""
        rows: np.ndarray = self._index.knn_query(queries, K, num_threads=self._num_threads)[0]
        return rows

    def num_bytes(self) -> int:
        """Bytes of the saved graph, vectors included."""
        with TemporaryDirectory() as name:
            self._index.save_index(str(Path(name, "graph")))
            return folder_bytes(Path(name))


def build(items: np.ndarray, settings: dict[str, Any]) -> Hnswlib:
    """A graph for the inner product."""
    index = hnswlib.Index("ip", items.shape[1])
    index.init_index(
        len(items), M=settings["num_links"], ef_construction=settings["ef_construction"], random_seed=0
    )
    index.add_items(items, num_threads=NUM_THREADS)
    return Hnswlib(index)


if __name__ == "__main__":
    run(build)
