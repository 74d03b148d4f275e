"""Every vector, scored by FAISS."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64

from retrieval.index.faiss.files import read_faiss, write_faiss
from retrieval.index.spec import best_first, check_query, check_vectors, nothing_found


class FaissFlat:
    """Every vector scored by FAISS.

    Which of several equal scores fills the last place is the library's choice; all else is exact.
    """

    def __init__(self, index: Any) -> None:
        self._index = index

    @property
    def size(self) -> int:
        """Vectors held."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self._index.d)

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k of all vectors; see `Index.search`."""
        check_query(query, k, self.dimension)
        score, row = nothing_found(len(query), k)
        found = min(k, self.size)
        if found and len(query):
            score[:, :found], row[:, :found] = best_first(*self._index.search(query, found))
        return score, row

    def save(self, folder: Path) -> None:
        """Writes index.faiss."""
        write_faiss(self._index, folder)


def build_flat(vectors: Float32[np.ndarray, "N D"]) -> FaissFlat:
    """A FAISS Flat index of the vectors; IndexBuildError where they cannot be indexed."""
    check_vectors(vectors)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    return FaissFlat(index)


def load_flat(folder: Path) -> FaissFlat:
    """The index that `FaissFlat.save` wrote."""
    return FaissFlat(read_faiss(folder, faiss.IndexFlatIP))
