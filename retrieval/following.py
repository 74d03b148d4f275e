"""Hot swap: a Retriever of the current release, replaced by that of the next one while queries run."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from retrieval.control.store import ReadsControls
from retrieval.release.store import current
from retrieval.release.verify import Verify
from retrieval.retriever import Retriever
from towers.data.privacy.pseudonyms import Pseudonyms

log = logging.getLogger(__name__)

Alarm = Callable[[str, Exception], None]
"""Told of a release that cannot be served, and why."""

_WARM_PROFILES, _WARM_K = 8, 100


class Following:
    """The current release of a root, whichever that is.

    `retriever` is what to answer one request with: take it once, and all that the request asks of it comes
    from one release. A newer release is opened and warmed aside while the older answers, then takes its place
    between two reads of `retriever`; the older one is freed with the last request that holds it. Until then
    both are in memory. A release that cannot be opened leaves the older one in place; it is tried again at
    each look, and the alarm is raised once for it.

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
    ) -> None:
        """Opens the release that is current; raises as `Retriever.open` does where that cannot be served.

        controls: of profiles, kept to by every release that takes another's place; pseudonyms: as there.
        """
        self._root, self._every, self._verify = Path(root), every_seconds, verify
        self._alarm, self._controls, self._pseudonyms = alarm, controls, pseudonyms
        self._refreshing = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed: str | None = None
        self._retriever = _warmed(Retriever.open(self._root, verify, controls, pseudonyms))

    @property
    def retriever(self) -> Retriever:
        """The newest release that could be opened."""
        return self._retriever

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
                retriever = Retriever.open(self._root, self._verify, self._controls, self._pseudonyms)
                opened = _warmed(retriever)
            except Exception as error:  # whatever is wrong with a release, the older one answers on
                self._report(wanted, error)
                return False
            before, self._retriever, self._failed = self._retriever.release_id, opened, None
            log.info(
                "release swapped id=%s instead_of=%s seconds=%.2f",
                opened.release_id,
                before,
                time.perf_counter() - begun,
            )
            return True

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


def _warmed(retriever: Retriever) -> Retriever:
    """The same, after a few queries: what the first ones would wait for is loaded and compiled."""
    for row, profile_id in enumerate(retriever.profile_ids[:_WARM_PROFILES]):
        retriever.rank(retriever.questions(row, row + 1), _WARM_K)
        retriever.recommend(profile_id, k=_WARM_K)  # under a key that of a stranger
    retriever.recommend(k=_WARM_K)
    retriever.suggest("a", k=1)  # what text is matched with is made at the first look
    return retriever
