"""Vectors → index, and files → index: one match on the kind."""

import logging
import time
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from retrieval.index.exact import ExactIndex, load_exact
from retrieval.index.faiss.flat import build_flat, load_flat
from retrieval.index.faiss.gpu import build_gpu_ivf, load_gpu_ivf
from retrieval.index.faiss.hnsw import build_hnsw, load_hnsw
from retrieval.index.faiss.ivf import build_ivf, load_ivf
from retrieval.index.gpu import gpu_index
from retrieval.index.partitioned.build import build_partitioned, load_partitioned
from retrieval.index.spec import Index, IndexKind, IndexSpec
from retrieval.index.updates import UPDATES_FILE, load_updated
from towers.errors import IndexBuildError
from towers.settings import check_ranges

log = logging.getLogger(__name__)


def build_index(
    spec: IndexSpec, vectors: Float32[np.ndarray, "N D"], queries: Float32[np.ndarray, "Q D"] | None = None
) -> Index:
    """The index of the vectors, row i for vectors[i].

    queries: real ones, which a partition is laid out for; no other kind reads them.
    Raises IndexBuildError on vectors of another shape, on none at all and on NaN or infinity; ConfigError
    on a spec out of range.
    """
    check_ranges(spec, "index")
    start = time.perf_counter()
    index: Index
    match spec.kind:
        case IndexKind.EXACT:
            index = ExactIndex(vectors)
        case IndexKind.FLAT:
            index = build_flat(vectors)
        case IndexKind.HNSW:
            index = build_hnsw(vectors, spec)
        case IndexKind.GPU:
            index = gpu_index(vectors, spec.device)
        case IndexKind.IVF:
            index = build_ivf(vectors, spec)
        case IndexKind.GPU_IVF:
            index = build_gpu_ivf(vectors, spec)
        case IndexKind.PARTITIONED:
            index = build_partitioned(vectors, spec, queries)
        case IndexKind.COMPILED:
            raise IndexBuildError("index: kind compiled looks for a spec; expected the spec that it found")
    log.info(
        "index built kind=%s num_items=%d dimension=%d seconds=%.2f",
        spec.kind,
        index.size,
        index.dimension,
        time.perf_counter() - start,
    )
    return index


def load_index(spec: IndexSpec, folder: Path, vectors: Float32[np.ndarray, "N D"]) -> Index:
    """The index of these vectors that `Index.save` wrote to the folder; verify the files' hashes first.

    Of an `UpdatedIndex`, the vectors are those of all rows or of the build, and the spec is the build's.
    """
    if (folder / UPDATES_FILE).is_file():
        return load_updated(folder, vectors, lambda built: _load(spec, folder, built))
    return _load(spec, folder, vectors)


def _load(spec: IndexSpec, folder: Path, vectors: Float32[np.ndarray, "N D"]) -> Index:
    match spec.kind:
        case IndexKind.EXACT:
            return load_exact(folder)
        case IndexKind.FLAT:
            return load_flat(folder)
        case IndexKind.HNSW:
            return load_hnsw(folder, spec)
        case IndexKind.GPU:
            return gpu_index(vectors, spec.device)
        case IndexKind.IVF:
            return load_ivf(folder, vectors, spec)
        case IndexKind.GPU_IVF:
            return load_gpu_ivf(folder, vectors, spec)
        case IndexKind.PARTITIONED:
            return load_partitioned(folder, vectors, spec)
        case IndexKind.COMPILED:
            raise IndexBuildError("index: kind compiled is stored as what came of it; expected another kind")
