"""Small releases for tests: real parts, no mocks."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from retrieval.catalogue import Catalogue
from retrieval.index.build import build_index
from retrieval.index.spec import IndexKind, IndexSpec
from retrieval.profiles import ProfileHistories
from retrieval.release.read import Release
from retrieval.vectors import VectorAnswers
from towers.data.histories import Histories
from towers.data.schema import ITEMS, table
from towers.data.vocabulary import Vocabulary
from towers.recommender import Queries


class MeanEncoder:
    """A query is the mean of the vectors watched; the prior of an empty history is the first vector."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.dimension = int(vectors.shape[1])
        self.fingerprint = "mean"
        self.profile_columns: tuple[str, ...] = ()
        self._vectors = vectors

    def encode(self, queries: Queries) -> np.ndarray:
        history = queries.history
        query = np.tile(self._vectors[:1], (len(queries), 1))
        for line in range(len(queries)):
            watched = history.items_of(line)
            if len(watched):
                query[line] = self._vectors[watched].mean(axis=0)
        return query.astype(np.float32)


def histories(*item_rows: Sequence[int]) -> Histories:
    """One history per sequence of rows, an event an hour, minutes unknown."""
    offset = np.concatenate([[0], np.cumsum([len(rows) for rows in item_rows])]).astype(np.int64)
    flat = np.array([row for rows in item_rows for row in rows], np.int64)
    hours = np.array([hour for rows in item_rows for hour in range(len(rows))], np.int64)
    return Histories(offset, flat, 1_700_000_000 + 3600 * hours, np.full(len(flat), np.nan, np.float32))


def queries(*item_rows: Sequence[int]) -> Queries:
    """One query per history, asked at one moment after all of them."""
    history = histories(*item_rows)
    return Queries(
        history, np.full(len(history), 1_800_000_000, np.int64), np.array([""] * len(history), dtype=np.str_)
    )


def items_table(num_items: int, **columns: object) -> pa.Table:
    """Items i0, i1, …, titled "Title 0", …, unless the columns given say otherwise."""
    ids = [f"i{row}" for row in range(num_items)]
    return table(ITEMS, {"item_id": ids, "title": [f"Title {row}" for row in range(num_items)], **columns})


def by_vectors(made: Release) -> VectorAnswers:
    """What a release of this module answers by."""
    assert isinstance(made.answers, VectorAnswers)
    return made.answers


def release(
    vectors: np.ndarray,
    *,
    kind: IndexKind = IndexKind.FLAT,
    items: pa.Table | None = None,
    num_events: np.ndarray | None = None,
    profiles: Mapping[str, Sequence[int]] | None = None,
) -> Release:
    """A release of these vectors, in memory; by default item 0 is the most popular, and so on down."""
    profiles = profiles or {}
    history = histories(*profiles.values())
    return Release(
        release_id="r000001",
        catalogue=Catalogue(items_table(len(vectors)) if items is None else items),
        num_events=np.arange(len(vectors))[::-1].astype(np.int64) if num_events is None else num_events,
        answers=VectorAnswers(vectors, build_index(IndexSpec(kind), vectors), MeanEncoder(vectors)),
        profiles=ProfileHistories(
            Vocabulary(profiles), history, np.array([""] * len(profiles), dtype=np.str_), 1_800_000_000
        ),
    )
