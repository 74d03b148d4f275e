"""Exact search in torch: the oracle as an index."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from safetensors.numpy import load, save

from retrieval.index.spec import check_query, check_vectors
from towers.topk import topk

_FILE = "index.safetensors"


class ExactIndex:
    """Scores every vector by `towers.topk`; holds the vectors it is given, without a copy."""

    def __init__(self, vectors: Float32[np.ndarray, "N D"]) -> None:
        check_vectors(vectors)
        self._vectors = vectors
        self._item = torch.from_numpy(vectors)

    @property
    def size(self) -> int:
        """Vectors held."""
        return len(self._vectors)

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self._vectors.shape[1])

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k of all vectors; see `Index.search`."""
        check_query(query, k, self.dimension)
        score, row = topk(torch.from_numpy(np.ascontiguousarray(query)), self._item, k)
        return score.numpy(), row.numpy()

    def save(self, folder: Path) -> None:
        """Writes index.safetensors {"vector"}."""
        (folder / _FILE).write_bytes(save({"vector": self._vectors}))


def load_exact(folder: Path) -> ExactIndex:
    """The index that `ExactIndex.save` wrote."""
    return ExactIndex(load((folder / _FILE).read_bytes())["vector"])
