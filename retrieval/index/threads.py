"""Many queries on several threads: kernels that hold no interpreter lock, each over a span of them."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

# Fewer queries than this are not worth another thread.
_MIN_SPAN = 32

_pool: ThreadPoolExecutor | None = None


def _forget() -> None:
    """A child process has none of its parent's threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _num_cores() -> int:
    """As many threads as this process may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


NUM_THREADS = _num_cores()


def in_spans(
    call: Callable[[int, int], T], num: int, threads: int | None = None, min_span: int = _MIN_SPAN
) -> list[T]:
    """What call(first, last) gives for spans that cover 0 to num, at most one a thread."""
    global _pool
    if num < 2 * min_span:
        return [call(0, num)]
    spans = min(threads or NUM_THREADS, num // min_span)
    if spans <= 1:
        return [call(0, num)]
    if _pool is None:
        _pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="search")
    edge = [num * each // spans for each in range(spans + 1)]
    return list(_pool.map(call, edge[:-1], edge[1:]))
