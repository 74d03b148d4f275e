"""Vectors and a spec → the index of lists."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from retrieval.index.partitioned.basis import Basis, item_basis, query_basis
from retrieval.index.partitioned.index import PartitionedIndex
from retrieval.index.partitioned.kernels import CODE_STEP, MAX_CODE_DIM
from retrieval.index.partitioned.layout import FINE_DIM, laid_out, read_layout, turned
from retrieval.index.partitioned.partition import lists_of, partition
from retrieval.index.spec import Geometry, IndexSpec, Refinement, check_vectors
from towers.errors import IndexBuildError


@dataclass(frozen=True, slots=True)
class Frame:
    """What codes of any width may share: the coordinates, and the list of each of N items."""

    basis: Basis
    list_of: Int64[np.ndarray, " N"]


def build_partitioned(
    vectors: Float32[np.ndarray, "N D"], spec: IndexSpec, queries: Float32[np.ndarray, "Q D"] | None = None
) -> PartitionedIndex:
    """The index of the vectors, in the geometry that the spec names.

    Raises IndexBuildError where the vectors cannot be indexed, and on a geometry of queries without any.
    """
    check_vectors(vectors)
    return partitioned_in(frame_of(vectors, spec, queries), vectors, spec, queries)


def frame_of(
    vectors: Float32[np.ndarray, "N D"], spec: IndexSpec, queries: Float32[np.ndarray, "Q D"] | None
) -> Frame:
    """The coordinates of a geometry, and lists by those of them that a code of the spec holds."""
    if spec.geometry is Geometry.ITEMS:
        basis = item_basis(vectors)
    elif queries is not None and len(queries):
        basis = query_basis(vectors, queries)
    else:
        raise IndexBuildError(
            "index: geometry queries without queries; expected query vectors, or geometry items"
        )
    basis = _whole_steps(basis)
    head = turned(vectors, basis.item[: _code_dim(spec, basis)])
    return Frame(basis, lists_of(head, spec.lists_for(len(vectors)), spec.seed))


def partitioned_in(
    frame: Frame,
    vectors: Float32[np.ndarray, "N D"],
    spec: IndexSpec,
    queries: Float32[np.ndarray, "Q D"] | None,
) -> PartitionedIndex:
    """The index of the vectors in these coordinates and lists, with codes as the spec says."""
    basis = frame.basis
    code_dim = _code_dim(spec, basis)
    most = MAX_CODE_DIM - FINE_DIM
    if spec.refinement is Refinement.CODES and len(basis.item) - code_dim > most:
        raise IndexBuildError(
            f"index: {len(basis.item)} coordinates, {code_dim} of them in the code; expected at most {most} "
            f"others where codes refine"
        )
    head = turned(vectors, basis.item[:code_dim])
    asked = None if queries is None else turned(queries, basis.query[:code_dim])
    lists = partition(head, asked, frame.list_of)
    return PartitionedIndex(laid_out(vectors, head, basis.item, basis.query, lists, spec), vectors, spec)


def load_partitioned(folder: Path, vectors: Float32[np.ndarray, "N D"], spec: IndexSpec) -> PartitionedIndex:
    """The index that `PartitionedIndex.save` wrote, over the vectors it was built from."""
    return PartitionedIndex(read_layout(folder, vectors), vectors, spec)


def _code_dim(spec: IndexSpec, basis: Basis) -> int:
    return min(-(-spec.code_dim // CODE_STEP) * CODE_STEP, len(basis.item), MAX_CODE_DIM)


def _whole_steps(basis: Basis) -> Basis:
    """The same with coordinates that are always 0, up to a multiple of `CODE_STEP`."""
    more = [(0, -len(basis.item) % CODE_STEP), (0, 0)]
    return Basis(np.pad(basis.item, more), np.pad(basis.query, more))
