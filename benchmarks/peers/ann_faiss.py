"""Plain FAISS: an index of its factory, as it stands; run by our own interpreter.

build: factory, a factory string, for the inner product; ef_construction for a graph. search: nprobe and
k_factor, or ef, of those that the index has.
"""

import os
from typing import TYPE_CHECKING, Any

# Waiting threads that spin take the cores from those that work; before the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import faiss
import numpy as np

if TYPE_CHECKING:
    from benchmarks.peers.ann_timing import NUM_THREADS, K, run
else:
    from ann_timing import NUM_THREADS, K, run


class Faiss:
    """A FAISS index and its refinement, if it has one."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._base: Any = faiss.downcast_index(index.base_index) if hasattr(index, "base_index") else index

    def prepare(self, search: dict[str, Any], num_threads: int) -> None:
        """Takes the effort of the searches that follow."""
        faiss.omp_set_num_threads(num_threads)
        if "nprobe" in search:
            self._base.nprobe = search["nprobe"]
        if "k_factor" in search:
            self._index.k_factor = search["k_factor"]
        if "ef" in search:
            self._base.hnsw.efSearch = search["ef"]

    def one(self, query: np.ndarray) -> np.ndarray:
        """Rows of one query."""
        rows: np.ndarray = self._index.search(query[None], K)[1][0]
        return rows

    def many(self, queries: np.ndarray) -> np.ndarray:
        """Rows of each query."""
        rows: np.ndarray = self._index.search(queries, K)[1]
        return rows

    def num_bytes(self) -> int:
        """Bytes of the serialised index."""
        return len(faiss.serialize_index(self._index))


def build(items: np.ndarray, settings: dict[str, Any]) -> Faiss:
    """An index for the inner product, trained on the items as it asks for them."""
    faiss.omp_set_num_threads(NUM_THREADS)
    factory: Any = faiss.index_factory
    index = factory(items.shape[1], settings["factory"], faiss.METRIC_INNER_PRODUCT)
    if "ef_construction" in settings:
        index.hnsw.efConstruction = settings["ef_construction"]
    index.train(items)
    index.add(items)
    return Faiss(index)


if __name__ == "__main__":
    run(build)
