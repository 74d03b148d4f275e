"""Results in order, a few of them computed ahead by threads: what is in memory stays bounded."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

NUM_THREADS = max(1, min(2, os.cpu_count() or 1))
"""More threads would hold more of the log in memory; NumPy and Arrow let go of the interpreter's lock."""


def computed_ahead(function: Callable[[A], B], inputs: Iterable[A]) -> Iterator[B]:
    """`function` of each input, in order; up to NUM_THREADS + 1 inputs are read before their turn."""
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for each in inputs:
                waiting.append(pool.submit(function, each))
                if len(waiting) > NUM_THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
