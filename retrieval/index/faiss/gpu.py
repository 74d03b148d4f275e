"""Lists of near items that FAISS's GPU build searches on a GPU, whose candidates are scored there too."""

import logging
from pathlib import Path
from threading import Lock
from typing import Any

import faiss
import numpy as np
import torch
from jaxtyping import Float32, Int64

from retrieval.index.faiss.ivf import FaissIvf, build_ivf, load_ivf
from retrieval.index.spec import Codes, Device, IndexSpec, nothing_found
from towers.errors import IndexBuildError

log = logging.getLogger(__name__)

# Left untyped: the CPU build has none of it.
_faiss: Any = faiss
_CODES = (Codes.FLAT, Codes.SQ8)
# What FAISS's kernels keep at most: candidates of a query, and lists that it reads.
_MOST = 2048
# Numbers of candidates' vectors held at once: 2^28 are a GiB.
_MOST_NUMBERS = 1 << 28


class FaissGpuIvf(FaissIvf):
    """As `FaissIvf`, on a GPU: the same lists, codes and answers, within the order of sums.

    FAISS's GPU searches read no selector, and keep 2,048 candidates and lists: where there is a rule, and
    beyond those, the lists in the CPU's memory are searched.
    """

    _on: "_OnGpu"

    @classmethod
    def of(cls, index: FaissIvf) -> "FaissGpuIvf":
        """The index on a GPU too; IndexBuildError where that cannot be."""
        placed = cls._like(index, index.spec)
        placed._on = _OnGpu(index._index, index._vectors)
        return placed

    def at(self, spec: IndexSpec) -> "FaissGpuIvf":
        """The same lists and codes, searched as another spec says; nothing is copied."""
        searched = self._like(self, spec)
        searched._on = self._on
        return searched

    @classmethod
    def _like(cls, index: FaissIvf, spec: IndexSpec) -> "FaissGpuIvf":
        return cls(index._index, index._vectors, spec, turn=index._turn, exponent=index._exponent)

    def _candidates(self, query: np.ndarray, depth: int, nprobe: int, selector: Any = None) -> np.ndarray:
        if selector is not None or max(depth, min(nprobe, self.num_lists)) > _MOST:
            return super()._candidates(query, depth, nprobe, selector)
        return self._on.candidates(self._near(query), depth, min(nprobe, self.num_lists))

    def _refined(
        self, query: Float32[np.ndarray, "Q D"], row: Int64[np.ndarray, "Q C"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        score, best = nothing_found(len(query), k)
        step = max(1, _MOST_NUMBERS // max(1, row.shape[1] * self.dimension))
        for start in range(0, len(query), step):
            part = slice(start, start + step)
            found = self._on.refined(query[part], row[part], k)
            width = found[0].shape[1]
            score[part, :width], best[part, :width] = found
        return score, best


class _OnGpu:
    """What is held on the GPU: lists and codes, by FAISS, and the vectors, by torch.

    Raises IndexBuildError where there is no GPU, no FAISS for it, or too little memory.
    """

    def __init__(self, index: Any, vectors: Float32[np.ndarray, "N D"]) -> None:
        if not hasattr(faiss, "StandardGpuResources"):
            raise IndexBuildError(
                f"index: FAISS {faiss.__version__} as installed here searches on no GPU; expected its GPU "
                "build, faiss-gpu, installed after faiss-cpu: both are the module faiss"
            )
        if not torch.cuda.is_available() or not _faiss.get_num_gpus():
            raise IndexBuildError("index: there is no CUDA device; expected one, or device=cpu")
        # One search at a time: the memory that it works in is shared, and FAISS locks nothing.
        self._lock = Lock()
        try:
            self._memory = _faiss.StandardGpuResources()
            self._index = _faiss.index_cpu_to_gpu(self._memory, torch.cuda.current_device(), index)
            self._item = torch.from_numpy(vectors).cuda()
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise IndexBuildError(
                f"index: {len(vectors):,} vectors cannot be put on the GPU: {reason}; expected room for "
                "them, their codes and 8 bytes a row"
            ) from error

    def candidates(
        self, near: Float32[np.ndarray, "Q H"], depth: int, nprobe: int
    ) -> Int64[np.ndarray, "Q C"]:
        """Rows of so many lists' best, -1 where they hold no more."""
        params = _faiss.SearchParametersIVF(nprobe=nprobe)
        with self._lock:
            found: np.ndarray = self._index.search(near, depth, params=params)[1]
        return found

    def refined(
        self, query: Float32[np.ndarray, "Q D"], row: Int64[np.ndarray, "Q C"], k: int
    ) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
        """As `refine.refined`, of min(k, C) places."""
        asked, found = (torch.from_numpy(np.ascontiguousarray(each)).cuda() for each in (query, row))
        # By row, for a sort that keeps the order of equals; none, -1, is the last of all.
        found = found.where(found >= 0, len(self._item)).sort(dim=1).values
        none = found == len(self._item)
        # A product and a sum: a matrix product would be TF32's where torch is told to use that.
        score = (self._item[found.masked_fill(none, 0)] * asked[:, None]).sum(2)
        score.masked_fill_(none, -torch.inf)
        score, order = score.sort(dim=1, descending=True, stable=True)
        found = found.masked_fill(none, -1).gather(1, order)
        return score[:, :k].cpu().numpy(), found[:, :k].cpu().numpy()


def build_gpu_ivf(vectors: Float32[np.ndarray, "N D"], spec: IndexSpec) -> FaissIvf:
    """Lists and codes of the vectors, on a GPU if one serves; Device.CUDA: IndexBuildError where none does.

    The CPU makes the lists. Raises IndexBuildError also on codes that FAISS searches on no GPU.
    """
    _check_codes(spec)
    return _placed(build_ivf(vectors, spec), spec.device)


def load_gpu_ivf(folder: Path, vectors: Float32[np.ndarray, "N D"], spec: IndexSpec) -> FaissIvf:
    """The index that `FaissIvf.save` wrote, placed as when it was built."""
    _check_codes(spec)
    return _placed(load_ivf(folder, vectors, spec), spec.device)


def _check_codes(spec: IndexSpec) -> None:
    if spec.codes not in _CODES:
        raise IndexBuildError(
            f"index.codes={spec.codes}: kind gpu_ivf does not search these; expected {' or '.join(_CODES)}"
        )


def _placed(index: FaissIvf, device: Device) -> FaissIvf:
    """The index where it shall be searched."""
    if device is Device.CPU:
        return index
    try:
        return FaissGpuIvf.of(index)
    except IndexBuildError as error:
        if device is Device.CUDA:
            raise
        log.warning("index put on the CPU, as one of kind ivf reason=%s", error)
        return index
