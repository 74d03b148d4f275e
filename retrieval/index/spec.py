"""What an index is: how to build it, and what it promises. Imports no index library."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int64

from retrieval.index.allowed import Allowed
from towers.errors import IndexBuildError, QueryError
from towers.settings import bounded

# The largest norm whose square float32 holds: beyond it sums of squares overflow, and scores are inf or NaN.
_MAX_NORM = 1e19

ENUMERATED_SHARE = 0.05
"""Where a bitmap lets fewer rows pass than this share, they are scored one by one and lists are left alone:
lists are read in a row and rows are not, but the fewer pass, the more lists it takes to find enough."""


class IndexKind(StrEnum):
    """How item vectors are searched."""

    EXACT = "exact"
    """Every vector, in torch: the oracle."""
    FLAT = "flat"
    """Every vector, in FAISS."""
    HNSW = "hnsw"
    """A graph of near neighbours, in FAISS: approximate."""
    GPU = "gpu"
    """Every vector, on a GPU: nothing but the vectors is stored."""
    IVF = "ivf"
    """Lists of near items, in FAISS, that hold codes: approximate."""
    GPU_IVF = "gpu_ivf"
    """The same lists, searched on a GPU by FAISS's GPU build."""
    PARTITIONED = "partitioned"
    """Lists of like items in coordinates made for the queries: approximate."""
    COMPILED = "compiled"
    """Whichever of these reaches the recall asked for at the least cost, by trials on real queries."""


class Geometry(StrEnum):
    """What makes two items of a partition alike."""

    QUERIES = "queries"
    """That real queries score them alike."""
    ITEMS = "items"
    """That their vectors are near."""


class Refinement(StrEnum):
    """What scores the candidates of a partition."""

    VECTORS = "vectors"
    """The vectors: scores are the inner products."""
    CODES = "codes"
    """Codes of all coordinates, 8 bits each: scores are off by about a thousandth, and the vectors rest."""


class Device(StrEnum):
    """Where an index of kind gpu or gpu_ivf is held by the process that loads it."""

    AUTO = "auto"
    """On a GPU, or where there is none on the CPU, which is logged."""
    CUDA = "cuda"
    """On a GPU, or not at all."""
    CPU = "cpu"
    """On the CPU: the same answers. Of kind gpu to be tested and not to be served."""


class Codes(StrEnum):
    """What the lists of kind ivf hold of a vector."""

    FLAT = "flat"
    """The vector itself."""
    SQ8 = "sq8"
    """8 bits for each coordinate."""
    PQ4 = "pq4"
    """4 bits for each two coordinates of the difference from the centre, looked up in registers.

    Source: André et al. 2015, doi:10.14778/2856318.2856324.
    """
    RABITQ = "rabitq"
    """One bit for each coordinate of the difference from the centre, turned at random.

    Source: Gao and Long 2024, doi:10.1145/3654970.
    """


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """How to build an index, and how far to search it.

    Read by hnsw: m, links per vector and layer (twice as many in the lowest); ef_construction, ef_search:
    candidates kept while building and while searching; a search for more than ef_search items keeps as many
    as it seeks. Source: Malkov and Yashunin 2020, doi:10.1109/TPAMI.2018.2889473.

    Read by gpu and gpu_ivf: device.

    Read by ivf and gpu_ivf: codes, which gpu_ivf takes flat and sq8 alone; num_lists, by a rule where 0;
    nprobe, lists that a search reads; refinement by the vectors of refine_factor times as many candidates as
    are asked for and extra_candidates more at least; seed: of the lists and codes.

    Read by partitioned: geometry; num_lists, by a rule where 0; code_dim, coordinates in a code;
    refinement, of refine_factor times as many candidates as are asked for and extra_candidates more at least;
    stop: lists are read while they promise so many of their spreads above their centre. seed: of the lists.

    Read by compiled: target_recall at target_k, over queries it was not laid out for; max_bytes_per_item, of
    what a search reads, vectors aside; seed. What comes of it is a spec of another kind.
    """

    kind: IndexKind = IndexKind.FLAT
    m: int = bounded(32, ge=2, le=512)
    ef_construction: int = bounded(200, ge=1)
    ef_search: int = bounded(128, ge=1)
    geometry: Geometry = Geometry.QUERIES
    num_lists: int = bounded(0, ge=0)
    codes: Codes = Codes.PQ4
    nprobe: int = bounded(32, ge=1)
    device: Device = Device.AUTO
    code_dim: int = bounded(64, ge=1, le=512)
    refinement: Refinement = Refinement.VECTORS
    refine_factor: float = bounded(1.2, ge=1.0)
    extra_candidates: int = bounded(20, ge=0)
    stop: float = bounded(4.0, ge=0.0)
    seed: int = bounded(0, ge=0)
    target_recall: float = bounded(0.95, gt=0.0, lt=1.0)
    target_k: int = bounded(100, ge=1)
    max_bytes_per_item: float = bounded(256.0, gt=0.0)

    def lists_for(self, num_items: int) -> int:
        """num_lists; where 0, the power of two nearest to 2.5 √N. At most as many as there are items."""
        by_rule = int(2 ** round(np.log2(max(1.0, 2.5 * num_items**0.5))))
        return min(self.num_lists or by_rule, num_items)


@runtime_checkable
class Index(Protocol):
    """N vectors of dimension D that answer maximum-inner-product queries.

    Safe for concurrent searches; nothing is added after the build.
    """

    @property
    def size(self) -> int:
        """N."""
        ...

    @property
    def dimension(self) -> int:
        """D."""
        ...

    def search(
        self, query: Float32[np.ndarray, "Q D"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """Scores and rows of the best k vectors per query, K = k.

        The score is the inner product with the vector itself, whatever the index stores. Highest first,
        equal scores by row; no row twice in an answer; row -1 and score -inf where there is nothing more.
        Raises QueryError on a negative k and on queries of another width or with NaN or infinity.
        """
        ...

    def save(self, folder: Path) -> None:
        """Writes the index as files named index.* into a folder that exists; OSError where it cannot."""
        ...


@runtime_checkable
class SelectiveIndex(Index, Protocol):
    """An index that reads what each query is allowed while it searches."""

    def search_allowed(
        self, query: Float32[np.ndarray, "Q D"], k: int, allowed: Allowed
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """As `Index.search`, of the rows that each query is allowed: min(k, allowed) places are filled."""
        ...


@runtime_checkable
class DepthIndex(SelectiveIndex, Protocol):
    """An index that reads as far as it is told, and says how much it read."""

    spec: IndexSpec

    def at(self, spec: IndexSpec) -> "DepthIndex":
        """The same lists and codes, searched as another spec says; nothing is copied."""
        ...

    @property
    def depths(self) -> Float[np.ndarray, " P"]:
        """How far it may be told to read, ascending: `stop` of a partition, `nprobe` of lists of FAISS."""
        ...

    @property
    def num_lists(self) -> int:
        """Lists that the items lie in."""
        ...

    @property
    def num_bytes(self) -> int:
        """What a search reads, the vectors aside."""
        ...

    def to(self, stop: float) -> "DepthIndex":
        """The same, searched so far; nothing is copied."""
        ...

    def search_with(
        self, query: Float32[np.ndarray, "Q D"], k: int, *, stop: float
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"], Int64[np.ndarray, "2"]]:
        """As `Index.search`, so far; also how many codes and lists were read."""
        ...


def check_vectors(vectors: Float32[np.ndarray, "..."]) -> None:
    """Raises IndexBuildError unless the vectors are (N >= 1, D >= 1), finite, and their scores are too."""
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise IndexBuildError(
            f"index: vectors have the shape {vectors.shape}; expected (items, dimension), both at least 1"
        )
    # Mostly this says it all: a norm is at most √D times the largest entry, and that is NaN where one is.
    largest = np.maximum(vectors.max(), -vectors.min())
    if largest <= _MAX_NORM / vectors.shape[1] ** 0.5:
        return
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise IndexBuildError(
            f"index: {len(bad)} of {len(vectors)} vectors are not finite, the first in row {bad[0]}; "
            "expected finite vectors (a NaN vector counts in an index and is never found)"
        )
    largest = float(np.linalg.norm(vectors.astype(np.float64, copy=False), axis=1).max())
    if largest > _MAX_NORM:
        raise IndexBuildError(
            f"index: the longest vector has norm {largest:.3g}; expected <= {_MAX_NORM:.0e}, as inner "
            "products overflow float32 beyond it"
        )


def check_query(query: Float32[np.ndarray, "Q D"], k: int, dimension: int) -> None:
    """Raises QueryError unless an index of this dimension can answer the query."""
    if k < 0:
        raise QueryError(f"k = {k}: expected 0 or more places")
    if query.ndim != 2 or query.shape[1] != dimension:
        raise QueryError(f"index: queries have the shape {query.shape}; expected (queries, {dimension})")
    if not np.isfinite(query).all():
        raise QueryError("index: a query vector is not finite; expected finite vectors")


def nothing_found(num_queries: int, k: int) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
    """The answer of an index that holds nothing: score -inf and row -1 in every place."""
    return np.full((num_queries, k), -np.inf, np.float32), np.full((num_queries, k), -1, np.int64)


def best_first(
    score: Float32[np.ndarray, "Q K"], row: Int64[np.ndarray, "Q K"]
) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
    """Each line by falling score, equal scores by row; places with row -1 get score -inf and stand last."""
    score = np.where(row < 0, np.float32(-np.inf), score)
    order = np.lexsort((row, -score), axis=-1)
    return np.take_along_axis(score, order, axis=-1), np.take_along_axis(row, order, axis=-1)
