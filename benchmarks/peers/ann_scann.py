"""ScaNN: a partitioned tree, asymmetric hashing and exact reordering; run by its own interpreter.

build: num_leaves; quantize_centroids, whether leaves are chosen in int8; soar_lambda, null without SOAR;
anisotropic, the threshold of its loss, null without; reorder, "float32", "bfloat16" or "int8".
search: leaves, and how many are reordered.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import scann  # type: ignore[import-not-found]  # of its own environment
from scann.scann_ops.py.scann_builder import ReorderType  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from benchmarks.peers.ann_timing import NUM_THREADS, K, folder_bytes, run
else:
    from ann_timing import NUM_THREADS, K, folder_bytes, run

_DIMENSIONS_PER_BLOCK = 2
_MOST_TRAINED = 250_000
_BATCH_OF_A_THREAD = 128


class Scann:
    """A searcher of ScaNN; queries of a batch are spread over threads in parts."""

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher
        self._leaves, self._reordered, self._parallel = 1, K, False

    def prepare(self, search: dict[str, Any], num_threads: int) -> None:
        """Takes the effort of the searches that follow."""
        self._leaves, self._reordered = search["leaves"], search["reordered"]
        self._parallel = num_threads > 1
        self._searcher.set_num_threads(num_threads)

    def one(self, query: np.ndarray) -> np.ndarray:
        """Rows of one query."""
        rows, _ = self._searcher.search(query, K, self._reordered, self._leaves)
        found: np.ndarray = rows
        return found

    def many(self, queries: np.ndarray) -> np.ndarray:
        """Rows of each query."""
        effort = (K, self._reordered, self._leaves)
        if self._parallel:
            rows, _ = self._searcher.search_batched_parallel(queries, *effort, batch_size=_BATCH_OF_A_THREAD)
        else:
            rows, _ = self._searcher.search_batched(queries, *effort)
        found: np.ndarray = rows
        return found

    def num_bytes(self) -> int:
        """Bytes of its serialised assets."""
        with TemporaryDirectory() as name:
            self._searcher.serialize(name)
            return folder_bytes(Path(name))


def build(items: np.ndarray, settings: dict[str, Any]) -> Scann:
    """An index for the inner product."""
    builder = scann.scann_ops_pybind.builder(items, K, "dot_product").set_n_training_threads(NUM_THREADS)
    builder = builder.tree(
        num_leaves=settings["num_leaves"],
        num_leaves_to_search=1,
        training_sample_size=min(len(items), _MOST_TRAINED),
        quantize_centroids=settings["quantize_centroids"],
        soar_lambda=settings["soar_lambda"],
    )
    threshold = settings["anisotropic"]
    builder = builder.score_ah(
        _DIMENSIONS_PER_BLOCK,
        anisotropic_quantization_threshold=float("nan") if threshold is None else threshold,
        training_sample_size=min(len(items), _MOST_TRAINED),
    )
    return Scann(builder.reorder(K, ReorderType[settings["reorder"].upper()]).build())


if __name__ == "__main__":
    run(build)
