"""The index of a release in the making, and the real queries that it is laid out for and judged by."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64

from retrieval.index.build import build_index
from retrieval.index.compile import compile_index
from retrieval.index.curve_report import PLOT_FILE, plot
from retrieval.index.operating import write_curve
from retrieval.index.spec import Geometry, Index, IndexKind, IndexSpec
from retrieval.release.certificate import FEW_EVENTS
from retrieval.release.files import read_index
from towers.data.dataset import Dataset
from towers.data.order import spread
from towers.recommender import Queries

# Query vectors an index is laid out for, at most: more change it little.
_MAX_BUILD_QUERIES = 20_000
_NEW_ONE_IN = 4


class SavedIndex:
    """Called once, it builds the index into the folder and gives it as it is read back from its files.

    spec: what it is; of kind compiled, after the call, what came of that. asked: gives real queries,
    (Q, D), or (Q, I, D) of I interests, for the kinds that need them.
    """

    def __init__(
        self,
        spec: IndexSpec,
        vectors: Float32[np.ndarray, "N D"],
        folder: Path,
        asked: Callable[[], np.ndarray],
    ) -> None:
        self.spec = spec
        self._vectors, self._folder, self._asked = vectors, folder, asked

    def __call__(self) -> Index:
        """The index, read back."""
        if self.spec.kind is IndexKind.COMPILED:
            made = compile_index(self._vectors, self._queries(), self.spec)
            self.spec, index = made.spec, made.index
            if made.curve is not None:
                write_curve(made.curve, self._folder)
                plot(made.curve, self._folder / PLOT_FILE)
        else:
            laid_out = self.spec.kind is IndexKind.PARTITIONED and self.spec.geometry is Geometry.QUERIES
            index = build_index(self.spec, self._vectors, self._queries() if laid_out else None)
        index.save(self._folder)
        return read_index(self.spec, self._folder, self._vectors)

    def _queries(self) -> np.ndarray:
        query = self._asked()
        return query.reshape(-1, query.shape[-1])


def gate_queries(dataset: Dataset, num_queries: int) -> Queries:
    """Histories of profiles spread evenly over those that have one, each asked at its last event."""
    chosen = spread(np.flatnonzero(dataset.history.lengths), num_queries)
    return _asked(dataset, chosen, np.zeros(len(chosen), bool))


def new_queries(dataset: Dataset, num_queries: int) -> Queries:
    """The profiles of `gate_queries` as if they were new: with no more than their first three events."""
    chosen = spread(np.flatnonzero(dataset.history.lengths), num_queries)
    return _asked(dataset, chosen, np.ones(len(chosen), bool))


def build_queries(dataset: Dataset, num_gate_queries: int) -> Queries:
    """As `gate_queries`, of other profiles: an index is not judged by what it was laid out for.

    Every fourth as if it were new: an index that is laid out for long histories alone finds less for those.
    A service of so few profiles that the gates take them all has no others; then they are the same.
    """
    watched = np.flatnonzero(dataset.history.lengths)
    others = np.setdiff1d(watched, spread(watched, num_gate_queries))
    chosen = spread(others if len(others) else watched, _MAX_BUILD_QUERIES)
    return _asked(dataset, chosen, np.arange(len(chosen)) % _NEW_ONE_IN == _NEW_ONE_IN - 1)


def _asked(dataset: Dataset, chosen: Int64[np.ndarray, " q"], is_new: Bool[np.ndarray, " q"]) -> Queries:
    """Each of these profiles, which all have a history, at its last event.

    One that is new has its first events alone, moved as they are until the last of them is at that moment:
    what is asked now, by who came just now.
    """
    whole = dataset.history
    start, end = whole.offset[chosen], whole.offset[chosen + 1]
    stop = np.where(is_new, np.minimum(start + FEW_EVENTS, end), end)
    time_seconds = np.asarray(whole.time_seconds[end - 1])
    since = time_seconds - np.asarray(whole.time_seconds[stop - 1])
    history = whole.slices(chosen, start, stop)
    history = replace(history, time_seconds=history.time_seconds + np.repeat(since, stop - start))
    known = dataset.profile_table.take(pa.array(chosen))
    return Queries(history, time_seconds, dataset.country[chosen], known)
