"""Our own index beside its peers: compiled for a recall, searched at several.

build: target, the recall it is compiled for, and refinement, what scores the candidates. search: recall, a
point of its operating curve.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.peers.ann_timing import K, folder_bytes, run
from retrieval.index.compile import compile_index
from retrieval.index.operating import exact_rows, operating_curve
from retrieval.index.partitioned.index import PartitionedIndex
from retrieval.index.spec import Index, IndexKind, IndexSpec, Refinement

_NUM_MEASURED = 1000


class Own:
    """A compiled index; a scan has one depth of search for every recall."""

    def __init__(self, index: Index, stops: dict[float, float], vector_bytes: int) -> None:
        self._index, self._stops, self._vector_bytes = index, stops, vector_bytes
        self._stop, self._threads = 0.0, 1

    def prepare(self, search: dict[str, Any], num_threads: int) -> None:
        """Takes the recall of the searches that follow."""
        self._threads = num_threads
        if isinstance(self._index, PartitionedIndex):
            if search["recall"] not in self._stops:
                raise RuntimeError(f"recall {search['recall']} is out of its reach")
            self._stop = self._stops[search["recall"]]

    def one(self, query: np.ndarray) -> np.ndarray:
        """Rows of one query."""
        rows: np.ndarray = self.many(query[None])[0]
        return rows

    def many(self, queries: np.ndarray) -> np.ndarray:
        """Rows of each query."""
        if isinstance(self._index, PartitionedIndex):
            return self._index.search_with(queries, K, stop=self._stop, threads=self._threads)[1]
        return self._index.search(queries, K)[1]

    def num_bytes(self) -> int:
        """Bytes of its files, and of the vectors where they refine."""
        with TemporaryDirectory() as name:
            self._index.save(Path(name))
            return folder_bytes(Path(name)) + self._vector_bytes


def build(items: np.ndarray, settings: dict[str, Any]) -> Own:
    """An index compiled for the target, by the queries that the vector file has for that."""
    queries = np.load(sys.argv[1], allow_pickle=False)["build_queries"]
    refinement = Refinement(settings["refinement"])
    spec = IndexSpec(IndexKind.COMPILED, target_recall=settings["target"], refinement=refinement)
    made = compile_index(items, queries, spec)
    print(json.dumps({"spec": str(made.spec)}), file=sys.stderr)
    stops = {}
    if isinstance(made.index, PartitionedIndex):
        measured = queries[:_NUM_MEASURED]
        lines = json.loads(Path(sys.argv[2]).read_text())["lines"]
        recalls = [search["recall"] for line in lines for search in line]
        curve = operating_curve(made.index, measured, exact_rows(items, measured, K), recalls)
        stops = {point.target: point.stop for point in curve.points}
    return Own(made.index, stops, items.nbytes if refinement is Refinement.VECTORS else 0)


if __name__ == "__main__":
    run(build)
