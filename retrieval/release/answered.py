"""What releases answer to the same questions, asked by item id: each may have a catalogue of its own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from retrieval.completion import unseen
from retrieval.release.read import Release
from towers.data.histories import Histories
from towers.data.split import HeldOut
from towers.evaluation import metrics
from towers.evaluation.concentration import concentration
from towers.recommender import PAD, Queries

K = 10
"""Places that are looked at."""

_BATCH = 256
_NUM_TIMED, _NUM_ROUNDS = 48, 5


@dataclass(frozen=True, slots=True)
class Answered:
    """How a release did on Q questions.

    ndcg: float64 (Q,), at K. coverage: share of its own catalogue that is shown. gini, popularity_lift: of
    what is shown, by its own train events (`towers.evaluation.concentration`).
    """

    ndcg: Float64[np.ndarray, " Q"]
    coverage: float
    gini: float
    popularity_lift: float | None


def answered(release: Release, asked: HeldOut, row: Int64[np.ndarray, " n"]) -> Answered:
    """The release's answers to questions about n titles.

    row: the row of each of them in the release, OOV of one that it does not know: left out of a history, and
    missed as a target.
    """
    queries, num_items = queries_for(asked, row), release.answers.num_items
    item_row = np.full((len(queries), K), PAD, np.int64)
    for start in range(0, len(queries), _BATCH):
        batch = queries.select(np.arange(start, min(start + _BATCH, len(queries))))
        ranked = release.answers.rank(batch, K, unseen(batch.history))
        item_row[start : start + len(batch)] = ranked.item_row
    target = row[asked.target_row]
    # Of one row, targets that are not known would be one target; each is a row of its own, shown to nobody.
    unknown = np.flatnonzero(target < 0)
    target[unknown] = num_items + np.arange(len(unknown))
    # Of a release that was made from another some rows have no title: what is shown is by titles.
    place, num_titles = np.full(num_items, PAD), len(release.catalogue)
    place[release.catalogue.rows] = np.arange(num_titles)
    shown_title = np.where(item_row == PAD, PAD, place[item_row])
    history = replace(queries.history, item_row=place[queries.history.item_row])
    num_watches = release.num_events[release.catalogue.rows]
    shown = concentration(shown_title, K, num_items=num_titles, num_watches=num_watches, history=history)
    return Answered(
        ndcg=metrics.ndcg(metrics.find_hits(item_row, asked.target_offset, target), K),
        coverage=metrics.coverage(shown_title, K, num_items=num_titles),
        gini=shown.gini,
        popularity_lift=shown.popularity_lift,
    )


def queries_for(asked: HeldOut, row: Int64[np.ndarray, " n"]) -> Queries:
    """The questions in the rows of a release; row: as in `answered`."""
    history = asked.history
    item_row = row[history.item_row]
    known = item_row >= 0
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(known)])
    own = Histories(
        before[history.offset],
        item_row[known],
        np.asarray(history.time_seconds)[known],
        np.asarray(history.minutes)[known],
        np.asarray(history.weight)[known],
    )
    return Queries(own, asked.time_seconds, asked.country, asked.profiles)


def cpu_milliseconds(
    releases: Sequence[tuple[Release, Int64[np.ndarray, " n"]]], asked: HeldOut, k: int
) -> list[float]:
    """CPU time of one query of each release, all threads of it together: the least median of some rounds.

    releases: each with the rows of the titles in it, as in `answered`; they take turns, query by query. CPU
    time does not count the time in which other processes have the cores; what they take from caches and clock
    differs from round to round, and the best round of a release is the one they took least from.
    """
    chosen = np.linspace(0, len(asked) - 1, min(_NUM_TIMED, len(asked))).astype(np.int64)
    lines = []
    for _, row in releases:
        queries = queries_for(asked, row)
        lines.append([queries.select(np.array([line])) for line in chosen.tolist()])
    spent = np.empty((len(releases), _NUM_ROUNDS + 1, len(chosen)))
    for turn in range(_NUM_ROUNDS + 1):  # the first compiles, loads and warms
        for line in range(len(chosen)):
            for which, (release, _) in enumerate(releases):
                query = lines[which][line]
                begun = time.process_time()
                release.answers.rank(query, min(k, release.answers.num_items), unseen(query.history))
                spent[which, turn, line] = time.process_time() - begun
    least: list[float] = (1e3 * np.median(spent[:, 1:], axis=2).min(axis=1)).tolist()
    return least


def newest_events(history: Histories, num: int) -> Int64[np.ndarray, " n"]:
    """The places of the newest events of all, at most so many, oldest of them first."""
    seconds = np.asarray(history.time_seconds)
    if num < len(seconds):
        places = np.argpartition(seconds, len(seconds) - num)[len(seconds) - num :]
    else:
        places = np.arange(len(seconds))
    newest: np.ndarray = places[np.argsort(seconds[places], kind="stable")]
    return newest
