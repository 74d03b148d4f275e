"""How long each stage of answering takes, where somebody asks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType


class Stage(StrEnum):
    """The stages of an answer, in order."""

    QUERY = "query"
    """Who asks: the request checked, and what is stored of the profile."""
    FILTER = "filter"
    """What may be shown: the rule's bitmap, and what was watched."""
    ENCODE = "encode"
    """The query's vector."""
    SEARCH = "search"
    """The index."""
    IDS = "ids"
    """Rows to ids."""


@dataclass(slots=True, eq=False)
class StageTimes:
    """Seconds by stage, added up over the answers since; 0 where a stage was not needed."""

    seconds: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(Stage, 0.0))

    @property
    def total_seconds(self) -> float:
        """Of all stages together."""
        return sum(self.seconds.values())


_asked: ContextVar[StageTimes | None] = ContextVar("stage_times", default=None)


@contextmanager
def timed() -> Iterator[StageTimes]:
    """Inside, whatever this thread (or task) answers adds to the times it gives.

    Without it no clock is read. Where one is within another, the inner one has the times.
    """
    times = StageTimes()
    token = _asked.set(times)
    try:
        yield times
    finally:
        _asked.reset(token)


def stage(name: Stage) -> "_Watch | _NoWatch":
    """The block of one stage; of stages within each other each has its time whole."""
    times = _asked.get()
    return _NO_WATCH if times is None else _Watch(times, name)


class _Watch:
    """Adds the time of a block, failed or not."""

    __slots__ = ("_begun", "_name", "_times")

    def __init__(self, times: StageTimes, name: Stage) -> None:
        self._times, self._name = times, name

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._times.seconds[self._name] += time.perf_counter() - self._begun


class _NoWatch:
    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


_NO_WATCH = _NoWatch()
