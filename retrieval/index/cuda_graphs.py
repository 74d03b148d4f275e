"""A search of few queries as one launch: its kernels are recorded once, and played again for the next."""

import gc
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor

Function = Callable[[Tensor, int], tuple[Tensor, ...]]

_MOST = 8
"""Recordings that are kept; each holds the memory of what it computes."""


class Replays:
    """A function of queries and k whose shapes follow from how many queries there are, on a GPU.

    Queries are filled up with zeros to the next of `sizes`, and so is the answer, which stays as it is until
    the next call. Not for concurrent calls.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self._kept: OrderedDict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, ...]]]
        self._kept = OrderedDict()

    def __call__(self, function: Function, query: Float32[Tensor, "Q D"], k: int) -> tuple[Tensor, ...]:
        """What the function gives, for the queries and the zeros after them.

        It is the same in every call; handed over anew, so that its owner is in no circle and its memory is
        free with the last reference to it.
        """
        size = next(size for size in self._sizes if size >= len(query))
        if (size, k) not in self._kept:
            self._kept[size, k] = self._recorded(function, F.pad(query, (0, 0, 0, size - len(query))), k)
            if len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        self._kept.move_to_end((size, k))
        graph, given, found = self._kept[size, k]
        given[: len(query)].copy_(query)
        if len(query) < size:
            given[len(query) :].zero_()
        graph.replay()
        return found

    def _recorded(
        self, function: Function, given: Tensor, k: int
    ) -> tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, ...]]:
        # Once before: kernels are compiled and libraries loaded, which cannot be recorded.
        stream = torch.cuda.Stream(given.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(given.device))
        with torch.cuda.stream(stream):
            function(given, k)
        torch.cuda.current_stream(given.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # What other threads do on the GPU meanwhile is theirs.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"), _uncollected():
            found = function(given, k)
        return graph, given, found


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is collected: a recording that is freed in the middle of another one breaks that."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
