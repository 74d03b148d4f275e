"""voyager: a graph for the inner product; run by its own interpreter.

build: num_links and ef_construction. search: ef.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from voyager import Index, Space  # type: ignore[import-not-found]  # of its own environment

if TYPE_CHECKING:
    from benchmarks.peers.ann_timing import NUM_THREADS, K, run
else:
    from ann_timing import NUM_THREADS, K, run


class Voyager:
    """A graph of voyager."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self._ef, self._num_threads = K, 1

    def prepare(self, search: dict[str, Any], num_threads: int) -> None:
        """Takes the effort of the searches that follow."""
        self._ef, self._num_threads = search["ef"], num_threads

    def one(self, query: np.ndarray) -> np.ndarray:
        """Rows of one query."""
        rows: np.ndarray = self._index.query(query, K, query_ef=self._ef)[0]
        return rows

    def many(self, queries: np.ndarray) -> np.ndarray:
        """Rows of each query."""
        rows: np.ndarray = self._index.query(queries, K, num_threads=self._num_threads, query_ef=self._ef)[0]
        return rows

    def num_bytes(self) -> int:
        """Bytes of the saved graph, vectors included."""
        return len(self._index.as_bytes())


def build(items: np.ndarray, settings: dict[str, Any]) -> Voyager:
    """A graph for the inner product: of its own augmented vectors, whose lengths are all one."""
    index = Index(
        Space.InnerProduct,
        num_dimensions=items.shape[1],
        M=settings["num_links"],
        ef_construction=settings["ef_construction"],
        random_seed=0,
        max_elements=len(items),
    )
    index.add_items(items, num_threads=NUM_THREADS)
    return Voyager(index)


if __name__ == "__main__":
    run(build)
