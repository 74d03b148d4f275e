"""Lists on a GPU beside every vector on it: `python -m benchmarks.studies.gpu_lists`, which writes nothing.

Two million unit vectors of 128 numbers, near tastes that all share, and other such queries. From arrays in
the memory of the CPU to answers there, k = 100: FAISS over every vector on the GPU, our kind gpu, and kind
gpu_ivf by how many lists it reads. Medians of rounds in which all are measured one after another.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import faiss
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_topk import drawn
from retrieval.index.faiss.gpu import build_gpu_ivf
from retrieval.index.gpu import GpuIndex
from retrieval.index.operating import recall_by_query
from retrieval.index.spec import Codes, Device, IndexKind, IndexSpec

NUM_ITEMS, K, SPREAD, NUM_ROUNDS = 2_000_000, 100, 0.5, 7
BATCHES = (1, 16, 1_024, 4_096)
DEPTHS = (4, 16, 64)
Search = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Prints recall and milliseconds of each, and of the build."""
    item = drawn(NUM_ITEMS, "cuda", spread=SPREAD)
    queries = {num: drawn(num, "cuda", spread=SPREAD, seed=num).cpu().numpy() for num in BATCHES}
    ours = GpuIndex.of(item)
    searched: dict[str, Search] = {"gpu": ours.search, "FAISS flat": _flat(item.cpu().numpy())}
    for codes in (Codes.FLAT, Codes.SQ8):
        spec = IndexSpec(IndexKind.GPU_IVF, codes=codes, device=Device.CUDA, refine_factor=1.0)
        started = time.perf_counter()
        index = build_gpu_ivf(item.cpu().numpy(), spec)
        print(f"gpu_ivf {codes}: {index.num_lists} lists, built in {time.perf_counter() - started:.1f} s")
        searched |= {f"gpu_ivf {codes}, {depth} lists": index.to(depth).search for depth in DEPTHS}
    exact = ours.search(queries[BATCHES[-1]], K)[1]
    recall = {
        name: float(recall_by_query(search(queries[BATCHES[-1]], K)[1], exact).mean())
        for name, search in searched.items()
    }
    took: dict[tuple[str, int], list[float]] = {}
    for _ in range(NUM_ROUNDS + 1):
        for name, search in searched.items():
            for num, query in queries.items():
                took.setdefault((name, num), []).append(_milliseconds(partial(search, query, K)))
    table = Table(title=f"{torch.cuda.get_device_name()}, FAISS {faiss.__version__}, {NUM_ITEMS:,} vectors")
    for heading in ("index", f"recall@{K}", *(f"ms of {num}" for num in BATCHES)):
        table.add_column(heading, justify="left" if heading == "index" else "right")
    for name in searched:
        # The first round warms up.
        times = (f"{median(took[name, num][1:]):.2f}" for num in BATCHES)
        table.add_row(name, f"{recall[name]:.3f}", *times)
    Console(width=120).print(table)


def _flat(vectors: np.ndarray) -> Search:
    """FAISS's own search of every vector on the GPU."""
    library: Any = faiss
    memory = library.StandardGpuResources()
    index = library.GpuIndexFlatIP(memory, vectors.shape[1])
    index.add(vectors)

    def search(query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        # It is kept: the index works in its memory, and does not hold it.
        assert memory
        found: tuple[np.ndarray, np.ndarray] = index.search(query, k)
        return found

    return search


def _milliseconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
