"""A graph of near neighbours, by FAISS."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from safetensors.numpy import load, save

from retrieval.index.faiss.files import read_faiss, write_faiss
from retrieval.index.spec import IndexSpec, best_first, check_query, check_vectors, nothing_found
from towers.errors import IndexBuildError

# The library's own type stubs lack it.
_search_parameters: Any = faiss.SearchParametersHNSW  # type: ignore[attr-defined]

_ROWS_FILE = "index_rows.safetensors"
# Vectors gathered at once to score the answers of a graph; 2^24 floats are 64 MiB.
_MAX_GATHERED = 1 << 24
# Norms this much apart, relative to the largest, are one norm: unit vectors in half precision pass.
_NORM_TOLERANCE = 1e-3


class FaissHnsw:
    """A graph of near neighbours by distance, for vectors of one norm; others are refused.

    Inner product is not a metric: where norms differ, a graph built on it can lead every search to the few
    longest vectors, and others are not reached. One more coordinate that puts the vectors on a sphere makes
    it a metric (Bachrach et al., RecSys 2014, doi:10.1145/2645710.2645741), but leaves the graph far from
    the queries. Measured on 2,000 vectors of 16 dimensions at the default settings, recall@20: the first
    0.91 where vectors lie in clusters, the second 0.66 where norms are log-normal; 1.00 for either set once
    its norms are equal. Then the nearest is the one of highest inner product. The towers of this project
    give unit vectors. Answers are scored by inner product with the stored vectors, so an approximate answer
    misses items but has no wrong score.

    Copies of one vector would link only to each other and become an island; cold titles with the same
    metadata are such copies. Each distinct vector is a node once, and stands for all its rows.

    row: int64 (N,), the rows of node 0, then of node 1, and so on; offset: int64 (nodes + 1,) into it.
    exponent: the stored vectors are the true ones times 2^-exponent, which loses no bit and keeps squared
    distances within float32.
    """

    def __init__(
        self,
        index: Any,
        row: Int64[np.ndarray, " N"],
        offset: Int64[np.ndarray, " U1"],
        *,
        exponent: int,
        ef_search: int,
    ) -> None:
        self._index = index
        self._row = row
        self._offset = offset
        self._exponent = exponent
        self._ef_search = ef_search
        storage: Any = faiss.downcast_index(index.storage)
        # A view of the vectors that the index owns: it must not outlive self._index.
        self._node = faiss.rev_swig_ptr(storage.get_xb(), index.ntotal * index.d).reshape(-1, index.d)

    @property
    def size(self) -> int:
        """Vectors held, copies counted."""
        return len(self._row)

    @property
    def dimension(self) -> int:
        """Width of a vector as it was given."""
        return int(self._index.d)

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """The best k vectors that the graph finds; see `Index.search`."""
        check_query(query, k, self.dimension)
        num_nodes = min(k, len(self._node))
        if num_nodes == 0 or len(query) == 0:
            return nothing_found(len(query), k)
        norm = np.linalg.norm(query.astype(np.float64), axis=1, keepdims=True)
        # The length of a query changes no ranking; on the sphere of the vectors no distance loses its digits.
        unit = (query / np.where(norm > 0.0, norm, 1.0)).astype(np.float32)
        params = _search_parameters(efSearch=max(self._ef_search, num_nodes))
        _, node = self._index.search(unit, num_nodes, params=params)
        return self._expand(*best_first(self._score(query, node), node), k)

    def _score(self, query: np.ndarray, node: np.ndarray) -> np.ndarray:
        """Inner products of each query with the true vectors of its nodes."""
        score = np.empty(node.shape, np.float32)
        step = max(1, _MAX_GATHERED // (node.shape[1] * self._index.d))
        for start in range(0, len(query), step):
            part = slice(start, start + step)
            near = self._node[node[part]]  # node -1 reads the last vector; best_first drops its score
            score[part] = np.einsum("qd,qkd->qk", query[part], near)
        return np.ldexp(score, self._exponent)

    def _expand(self, score: np.ndarray, node: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The first k rows that the nodes stand for, best node first."""
        length = np.where(node >= 0, self._offset[node + 1] - self._offset[node], 0)
        before = np.cumsum(length, axis=1) - length
        length = np.clip(k - before, 0, length)
        line = np.repeat(np.arange(len(node)), length.sum(axis=1))
        flat = length.ravel()
        within = np.arange(len(line)) - np.repeat(np.cumsum(flat) - flat, flat)
        all_score, all_row = nothing_found(len(node), k)
        place = np.repeat(before.ravel(), flat) + within
        all_row[line, place] = self._row[np.repeat(self._offset[node].ravel(), flat) + within]
        all_score[line, place] = np.repeat(score.ravel(), flat)
        return best_first(all_score, all_row)

    def save(self, folder: Path) -> None:
        """Writes index.faiss (the graph) and index_rows.safetensors {"row", "offset", "exponent"}."""
        write_faiss(self._index, folder)
        exponent = np.array([self._exponent], np.int64)
        rows = save({"row": self._row, "offset": self._offset, "exponent": exponent})
        (folder / _ROWS_FILE).write_bytes(rows)


def build_hnsw(vectors: Float32[np.ndarray, "N D"], spec: IndexSpec) -> FaissHnsw:
    """A FAISS HNSW graph of the distinct vectors; IndexBuildError where they cannot be indexed.

    Built on several threads the graph differs a little from run to run; its recall is for a gate to measure.
    """
    check_vectors(vectors)
    first, row, offset = _distinct(vectors)
    exponent = int(np.frexp(_one_norm(vectors))[1])
    index = faiss.IndexHNSWFlat(vectors.shape[1], spec.m, faiss.METRIC_L2)
    index.hnsw.efConstruction = spec.ef_construction
    index.add(np.ldexp(vectors[first], -exponent))
    return FaissHnsw(index, row, offset, exponent=exponent, ef_search=spec.ef_search)


def load_hnsw(folder: Path, spec: IndexSpec) -> FaissHnsw:
    """The index that `FaissHnsw.save` wrote."""
    rows = load((folder / _ROWS_FILE).read_bytes())
    return FaissHnsw(
        read_faiss(folder, faiss.IndexHNSWFlat),
        rows["row"],
        rows["offset"],
        exponent=int(rows["exponent"][0]),
        ef_search=spec.ef_search,
    )


def _one_norm(vectors: np.ndarray) -> float:
    """The norm that all vectors have; IndexBuildError where they differ by more than rounding."""
    norm = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if norm.max() - norm.min() > _NORM_TOLERANCE * norm.max():
        raise IndexBuildError(
            f"index: the norms of the vectors range from {norm.min():.4g} to {norm.max():.4g}; expected "
            "equal norms for kind hnsw: normalise the vectors, or use kind flat"
        )
    return float(norm.max())


def _distinct(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First row of each distinct vector in row order; all rows by distinct vector; offsets into those."""
    same_zero = np.ascontiguousarray(
        vectors + np.float32(0.0)
    )  # -0.0 and 0.0 are one number, not one pattern
    pattern = same_zero.view(np.dtype((np.void, same_zero.itemsize * same_zero.shape[1]))).ravel()
    _, first, inverse = np.unique(pattern, return_index=True, return_inverse=True)
    order = np.argsort(first)
    node_of = np.argsort(order)[inverse]
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(node_of), dtype=np.int64)])
    return first[order], np.argsort(node_of, kind="stable"), offset
