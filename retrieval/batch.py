"""The best titles of every profile, as one Parquet file: answers made offline, on one machine."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64
from rich.console import Console
from rich.progress import Progress

from retrieval.control.view import View
from retrieval.eligibility.bitmaps import num_bytes
from retrieval.eligibility.rules import Rule
from retrieval.retriever import Retriever
from retrieval.stages import Stage, stage, timed
from towers.folders import file_aside
from towers.recommender import PAD, Degraded, Queries, Rankings, check_k

log = logging.getLogger(__name__)

# Profiles answered at once, a row group of the file: what is held is some such blocks, whatever their number.
_BLOCK = 1 << 13
# Of bitmaps of what profiles may be shown, held at once.
_BITMAP_BYTES = 256 << 20
# Of a row group: ids stand once in it, as long as they take less than this.
_DICTIONARY_BYTES = 64 << 20

RECOMMENDATIONS = pa.schema(
    [
        pa.field("profile_id", pa.string(), nullable=False),
        pa.field("item_id", pa.list_(pa.dictionary(pa.int32(), pa.string())), nullable=False),  # best first
        pa.field("score", pa.list_(pa.float32()), nullable=False),
        pa.field("degraded", pa.dictionary(pa.int32(), pa.string())),  # null where the answer is as asked for
        pa.field("release_id", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    ]
)
"""A row a profile, in the release's order; lists of k, or of all that are eligible where they are fewer."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch: profiles answered, those that are tagged, and wall time by what it was for.

    seconds: of everything; encode_seconds: of the queries' vectors, among them.
    """

    num_profiles: int
    num_degraded: int
    seconds: float
    encode_seconds: float


def recommend_all(
    retriever: Retriever,
    path: Path,
    k: int = 100,
    *,
    time_seconds: int | None = None,
    rule_of: Callable[[str], Rule | None] | None = None,
) -> BatchReport:
    """Writes the best k titles of every profile to a Parquet file (`RECOMMENDATIONS`), whole or not at all.

    time_seconds: as in `Retriever.questions`. rule_of: a profile's country → what it may be shown, called
    once a country; every title where None. A profile is shown what its controls let it be besides, as they
    are when its block is answered; of one with personalisation off not even the country is read.
    While one block is written, the next is answered; on a terminal a bar shows how far it is. Raises
    QueryError where k is no count, ControlsError where controls cannot be read.
    """
    check_k(k)
    begun, num_degraded, num_profiles = time.perf_counter(), 0, len(retriever.profile_ids)
    rules: dict[str, Rule | None] = {}
    console = Console(stderr=True)
    with (
        file_aside(path) as aside,
        _writer(aside) as writer,
        ThreadPoolExecutor(1) as pool,
        timed() as times,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        written: Future[None] | None = None
        for first in progress.track(range(0, num_profiles, _BLOCK), description="recommending"):
            last = min(first + _BLOCK, num_profiles)
            with stage(Stage.QUERY):
                views = retriever.views(first, last)
                queries = retriever.questions(first, last, time_seconds, views)
            country = queries.country.tolist()
            if rule_of is not None:
                rules |= {each: rule_of(each) for each in set(country) - set(rules)}
            asked = [view.within(rules.get(each)) for view, each in zip(views, country, strict=True)]
            rankings = _ranked(retriever, queries, k, asked)
            degraded = _degraded(queries, rankings, views)
            if written is not None:
                written.result()
            written = pool.submit(_write, writer, retriever, first, rankings, degraded)
            num_degraded += sum(reason is not None for reason in degraded)
        if written is not None:
            written.result()
    report = BatchReport(num_profiles, num_degraded, time.perf_counter() - begun, times.seconds[Stage.ENCODE])
    log.info(
        "recommendations written num_profiles=%d num_degraded=%d k=%d seconds=%.2f encode_seconds=%.2f",
        report.num_profiles,
        report.num_degraded,
        k,
        report.seconds,
        report.encode_seconds,
    )
    return report


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        RECOMMENDATIONS,
        # Codes of a dictionary and scores hardly shrink, at half the time again of all the rest.
        compression="none",
        use_dictionary=["item_id.list.element", "degraded", "release_id"],
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        write_statistics=["profile_id"],
    )


def _ranked(retriever: Retriever, queries: Queries, k: int, rules: list[Rule | None]) -> Rankings:
    """The rankings of a block; of so many queries at once as their bitmaps fit in memory."""
    if len(set(rules)) * num_bytes(retriever.items.num_rows) <= _BITMAP_BYTES:
        return retriever.rank(queries, k, rules)
    size = max(1, _BITMAP_BYTES // num_bytes(retriever.items.num_rows))
    parts = [
        retriever.rank(queries.select(np.arange(start, stop)), k, rules[start:stop])
        for start in range(0, len(queries), size)
        for stop in (min(start + size, len(queries)),)
    ]
    return Rankings(
        np.concatenate([part.item_row for part in parts]),
        np.concatenate([part.score for part in parts]),
        tuple(reason for part in parts for reason in part.degraded or (None,) * len(part)),
    )


def _degraded(queries: Queries, rankings: Rankings, views: Sequence[View]) -> list[Degraded | None]:
    """Why each answer is not in full, as `Retriever.recommend` says it."""
    reasons = rankings.degraded or (None,) * len(queries)
    lengths = queries.history.lengths.tolist()
    return [
        (reason if length else Degraded.EMPTY_HISTORY) if view.personalised else Degraded.NOT_PERSONALISED
        for reason, length, view in zip(reasons, lengths, views, strict=True)
    ]


def _write(
    writer: pq.ParquetWriter,
    retriever: Retriever,
    first: int,
    rankings: Rankings,
    degraded: list[Degraded | None],
) -> None:
    filled = rankings.item_row != PAD
    num = len(rankings)
    offset = pa.array(np.concatenate([[0], np.cumsum(filled.sum(axis=1))]), pa.int32())
    row, score = (
        each.ravel() if filled.all() else each[filled] for each in (rankings.item_row, rankings.score)
    )
    ids = _ids(row, retriever)
    columns = [
        pa.array(retriever.profile_ids[first : first + num], pa.string()),
        pa.ListArray.from_arrays(offset, ids),
        pa.ListArray.from_arrays(offset, pa.array(score, pa.float32())),
        pa.array(degraded, pa.string()).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(num, np.int32)), pa.array([retriever.release_id])),
    ]
    writer.write_table(pa.Table.from_arrays(columns, schema=RECOMMENDATIONS), row_group_size=_BLOCK)


def _ids(item_row: Int64[np.ndarray, " n"], retriever: Retriever) -> pa.DictionaryArray:
    """The ids of these rows, each distinct one once."""
    found = np.zeros(retriever.items.num_rows, bool)
    found[item_row] = True
    distinct = np.flatnonzero(found)
    place = np.empty(len(found), np.int32)
    place[distinct] = np.arange(len(distinct))
    ids = retriever.items.vocabulary.ids
    return pa.DictionaryArray.from_arrays(
        pa.array(place[item_row]), pa.array([ids[row] for row in distinct.tolist()], pa.string())
    )
