"""Hot swap: a Retriever of the current release, replaced by that of the next one while queries run."""

import logging
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from retrieval.control.store import ReadsControls
from retrieval.release.store import current
from retrieval.release.verify import Verify
from retrieval.retriever import Retriever
from towers.data.privacy.pseudonyms import Pseudonyms
from towers.data.privacy.sealed import StoreKeys
from towers.errors import ConfigError, ReleaseError

log = logging.getLogger(__name__)

Alarm = Callable[[str, Exception], None]
"""Told of a release that cannot be served, and why."""

_WARM_PROFILES, _WARM_K = 8, 100
_NICE = 10
"""How much the thread that opens a release gives way to those that answer; only Linux knows it of threads."""
_SWITCH_SECONDS = 0.0005
"""How long a thread keeps Python to itself while a release is opened beside those that answer."""
_OPENING = threading.Lock()
"""Held while a release is opened: of several roots that a process follows, one at a time."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One change of release.

    seconds: from the first look at the new one until it took over. resident_bytes: what the process held in
    memory before, and with both releases open; mapped pages count for both; None where the system does not
    say.
    """

    release_id: str
    instead_of: str
    seconds: float
    resident_bytes: tuple[int, int] | None


class Following:
    """The current release of a root, whichever that is.

    `retriever` is what to answer one request with: take it once, and all that the request asks of it comes
    from one release. A newer release is opened and warmed aside while the older answers, then takes its place
    between two reads of `retriever`; the older one is freed with the last request that holds it. Until then
    both are in memory, with one copy of titles that are the same, and never a third: the next is not opened
    while a request still holds the last but one; where that lasts, the alarm is raised. A release that cannot
    be opened leaves the older one in place; it is tried again at each look, and the alarm is raised once.

    Looks are made by `refresh`, or by a thread of its own inside a `with` block. Safe for any number of
    threads.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        every_seconds: float = 5.0,
        verify: Verify = Verify.FULL,
        alarm: Alarm | None = None,
        controls: ReadsControls | None = None,
        pseudonyms: Pseudonyms | None = None,
        store_keys: StoreKeys | None = None,
        patience_seconds: float = 30.0,
    ) -> None:
        """Opens the release that is current; raises as `Retriever.open` does where that cannot be served.

        controls: of profiles, kept to by every release that takes another's place; pseudonyms and
        store_keys: as there.
        patience_seconds: how long a look waits for requests to let go of the last release but one.
        ConfigError where there is no such time between looks.
        """
        if not 0 < every_seconds < math.inf:
            raise ConfigError(f"every_seconds = {every_seconds}: expected seconds between looks, above 0")
        self._root, self._every, self._verify = Path(root), every_seconds, verify
        self._alarm, self._controls, self._pseudonyms = alarm, controls, pseudonyms
        self._store_keys = store_keys
        self._refreshing = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: str | None = None
        self._last_swap: Swap | None = None
        self._older: weakref.ref[Retriever] | None = None
        self._freed = threading.Event()
        self._patience = patience_seconds
        self._retriever = self._warm()

    @property
    def retriever(self) -> Retriever:
        """The newest release that could be opened."""
        return self._retriever

    @property
    def last_swap(self) -> Swap | None:
        """The newest change of release; None before the first."""
        return self._last_swap

    def refresh(self) -> bool:
        """Looks whether another release is current, and takes it; whether it did.

        Never raises for a release that cannot be served: it is logged, and the alarm is raised.
        """
        with self._refreshing:
            wanted = "the current release"
            begun = time.perf_counter()
            try:
                wanted = current(self._root) or wanted
                if wanted == self._retriever.release_id:
                    self._failed = None
                    return False
                self._await_room()
                held = _resident_bytes()
                # In a thread of its own: what it takes of priority from itself, it may not be given back.
                with ThreadPoolExecutor(1, "release opener") as opener:
                    opened = opener.submit(self._open).result()
            except Exception as error:  # whatever is wrong with a release, the older one answers on
                self._report(wanted, error)
                return False
            both, before = _resident_bytes(), self._retriever
            self._freed = freed = threading.Event()
            self._older = weakref.ref(before, lambda _: freed.set())
            self._retriever, self._failed = opened, None
            self._last_swap = Swap(
                opened.release_id,
                before.release_id,
                time.perf_counter() - begun,
                None if held is None or both is None else (held, both),
            )
            log.info("release swapped %s", _told(self._last_swap))
            return True

    def _open(self) -> Retriever:
        """The release that is current, warmed, while this thread gives way to those that answer."""
        with _giving_way():
            return self._warm(like=self._retriever)

    def _warm(self, like: Retriever | None = None) -> Retriever:
        opened = Retriever.open(
            self._root, self._verify, self._controls, self._pseudonyms, self._store_keys, like
        )
        return _warmed(opened)

    def _await_room(self) -> None:
        """Waits for the last release but one to be freed; ReleaseError where that takes too long."""
        if self._older is None or self._older() is None or self._freed.wait(self._patience):
            return
        raise ReleaseError(
            f"{self._root}: a request still holds the release before {self._retriever.release_id}, and a "
            "third is not opened; expected requests to let go of their retriever"
        )

    def __enter__(self) -> "Following":
        """Begins to look every so many seconds."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._look, name="release follower", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the looking; the release that is open stays so."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(self._every):
            self.refresh()

    def _report(self, wanted: str, error: Exception) -> None:
        # One that is tried again and again is said once.
        if self._failed == wanted:
            return
        self._failed = wanted
        log.error("release not served id=%s still=%s error=%s", wanted, self._retriever.release_id, error)
        if self._alarm is not None:
            try:
                self._alarm(wanted, error)
            except Exception:  # what another raises must not end the looking
                log.exception("the alarm failed")


def _told(swap: Swap) -> str:
    said = f"id={swap.release_id} instead_of={swap.instead_of} seconds={swap.seconds:.2f}"
    if swap.resident_bytes is None:
        return said
    return f"{said} resident_bytes={swap.resident_bytes[0]} with_both={swap.resident_bytes[1]}"


def _resident_bytes() -> int | None:
    """What of the process is in memory, pages that others share among it; None where Linux's /proc is not."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def _giving_way() -> Iterator[None]:
    """Inside, this thread gives way to those that answer, on the cores and in Python.

    A thread that computes in Python keeps it for five milliseconds at a time by default, longer than many an
    answer takes. The thread's priority stays low: few processes may raise one again.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(os.getpriority(os.PRIO_PROCESS, thread), _NICE))
    with _OPENING:  # two at once would each restore what the other set
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, _SWITCH_SECONDS))
        try:
            yield
        finally:
            sys.setswitchinterval(before)


def _warmed(retriever: Retriever) -> Retriever:
    """The same, after a few queries: what the first ones would wait for is loaded and compiled."""
    for row, profile_id in enumerate(retriever.profile_ids[:_WARM_PROFILES]):
        retriever.rank(retriever.questions(row, row + 1), _WARM_K)
        retriever.recommend(profile_id, k=_WARM_K)  # under a key that of a stranger
    retriever.recommend(k=_WARM_K)
    retriever.suggest("a", k=1)  # what text is matched with is made at the first look
    return retriever
