"""How much of the exact answer an index finds, over all queries and by slices, and how sure that is."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from retrieval.index.spec import Index
from retrieval.interests import best_of
from towers.errors import ReleaseError
from towers.evaluation.tables import NOTHING, Tables, number
from towers.topk import topk, topk_from

CERTIFICATE_FILE = "index_recall.json"
"""What was certified of an index, in a release."""
FEW_EVENTS, MANY_EVENTS = 3, 50
"""Up to so many events a profile is new; from so many on its history is long."""
LEVEL = 0.99
"""Of an interval: of twenty sound releases not one has any of its four slices wholly below the bound."""

_HEAD_SHARE = 0.8
_MIN_QUERIES = 50
_NEAR_QUERIES = 16


class RecallSlice(StrEnum):
    """Whose answers, or which titles of the exact answers, a recall is of."""

    ALL = "all"
    COLD_ITEMS = "cold_items"
    """Titles without a train event."""
    TAIL_ITEMS = "tail_items"
    """Watched titles but for the head, the fewest that hold four fifths of the train events."""
    NEW_PROFILES = "new_profiles"
    """Profiles as they were at their third event, or at the last they have."""
    LONG_HISTORIES = "long_histories"
    """Profiles of fifty events or more."""


@dataclass(frozen=True, slots=True)
class SliceRecall:
    """One slice: the share of `num_wanted` titles that was found, in the exact answers to `num_queries`.

    recall, low, high: None where nothing is wanted; the interval holds the recall at LEVEL.
    """

    slice: RecallSlice
    num_queries: int
    num_wanted: int
    recall: float | None
    low: float | None
    high: float | None

    @property
    def too_few(self) -> bool:
        """Whether so few queries want anything of it that the interval says little."""
        return self.num_queries < _MIN_QUERIES


@dataclass(frozen=True, slots=True)
class Certificate:
    """The recall of an index among the best k, slice by slice."""

    k: int
    slices: tuple[SliceRecall, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What an index finds of the exact answers to Q queries.

    row: int64 (Q, K), the exact answer; found: which of it the index answers too. hits: int64 (Q,), answered
    rows that score no less than the last of the exact answer, so that an equal one is as good. wanted: what
    of `row` must be found; not an item missed that only ties with what was answered in its place.
    """

    row: Int64[np.ndarray, "Q K"]
    found: Bool[np.ndarray, "Q K"]
    wanted: Bool[np.ndarray, "Q K"]
    hits: Int64[np.ndarray, " Q"]

    def of(self, some: slice) -> "Found":
        """The same of some of the queries."""
        return Found(self.row[some], self.found[some], self.wanted[some], self.hits[some])


def find(
    index: Index, vectors: Float32[np.ndarray, "N D"], query: Float32[np.ndarray, "Q *I D"], k: int
) -> Found:
    """What the index finds of the exact best k, 1 <= k <= N.

    A row that stands twice in an answer counts once. Scores are those of the vectors, not those the index
    reports.
    """
    _, row = best_of(index.search, query, k)
    row = np.sort(row[:, :k], axis=1)
    first = np.concatenate([np.ones((len(row), 1), bool), row[:, 1:] != row[:, :-1]], axis=1)
    answered = first & (row >= 0) & (row < len(vectors))
    score, want = _exact(vectors, query, k, np.where(answered, row, -1))
    good = _reaches(vectors, query, np.where(answered, row, -1), score[:, -1])
    # The same row of two queries is two pairs; of what is padding, none.
    line = np.arange(len(query))[:, None] * len(vectors)
    pair, wanted_pair = np.where(answered, line + row, -1), np.where(want >= 0, line + want, -2)
    found = np.isin(wanted_pair, pair)
    hits = good.sum(axis=1)
    # What is as good, beyond the exact answer, stands for what is missing, last first.
    spare = hits - (good & np.isin(pair, wanted_pair)).sum(axis=1)
    missed_from_here = np.cumsum(~found[:, ::-1], axis=1)[:, ::-1]
    wanted = found | (missed_from_here > spare[:, None])
    return Found(want, found, wanted, hits)


def _exact(
    vectors: Float32[np.ndarray, "N D"],
    query: Float32[np.ndarray, "Q *I D"],
    k: int,
    answered: Int64[np.ndarray, "Q W"],
) -> tuple[Float32[np.ndarray, "Q K"], Int64[np.ndarray, "Q K"]]:
    """Scores and rows of the exact best k; answered: distinct rows that an index gave, -1 where none.

    Where it gave k, the worst of them is a bound, below which nothing is among the best.
    """
    least = np.full(len(query), -np.inf, np.float32)
    whole = np.flatnonzero((answered >= 0).sum(axis=1) >= k)
    for some, scores, size in _scores(vectors, query[whole], answered[whole]):
        # Less than the product below can say of it: sums in another order differ in their last bits.
        best = (scores - 1e-5 * size).max(axis=2)
        least[whole[some]] = np.where(answered[whole[some]] >= 0, best, np.inf).min(axis=1)
    asked, items = torch.from_numpy(query), torch.from_numpy(vectors)
    best = topk_from(asked, items, k, torch.from_numpy(least)) if np.isfinite(least).all() else None
    score, row = topk(asked, items, k) if best is None else best
    return score.numpy(), row.numpy()


def _reaches(
    vectors: Float32[np.ndarray, "N D"],
    query: Float32[np.ndarray, "Q *I D"],
    row: Int64[np.ndarray, "Q W"],
    least: Float32[np.ndarray, " Q"],
) -> Bool[np.ndarray, "Q W"]:
    """Which of these rows, -1 none, score what is asked of their query."""
    good = np.zeros(row.shape, bool)
    for some, scores, size in _scores(vectors, query, row):
        # Sums in another order differ in the last bits of the largest product.
        good[some] = (scores >= least[some, None, None] - 1e-6 * size).any(axis=2)
    return good & (row >= 0)


def _scores(
    vectors: Float32[np.ndarray, "N D"], query: Float32[np.ndarray, "Q *I D"], row: Int64[np.ndarray, "Q W"]
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """The scores of rows for their query's interests, and what the sums would be of numbers without signs.

    Of some queries at a time, (q, W, I) each: their vectors stay near a cache.
    """
    interests = (query[:, None] if query.ndim == 2 else query).transpose(0, 2, 1)
    for start in range(0, len(query), _NEAR_QUERIES):
        some = slice(start, start + _NEAR_QUERIES)
        near = vectors[row[some]]
        scores, size = near @ interests[some], np.abs(near) @ np.abs(interests[some])
        yield some, scores, size


def certify(
    of_all: Found, of_new: Found | None, num_events: Int64[np.ndarray, " N"], length: Int64[np.ndarray, " Q"]
) -> Certificate:
    """The recall over all queries and by slices.

    of_all: of queries of `length` events each; of_new: of those of new profiles, None where nobody asked.
    """
    k = of_all.row.shape[1]
    head = head_of(num_events)
    full = np.full(len(of_all.hits), k)
    long = length >= MANY_EVENTS

    def of_items(slice_: RecallSlice, chosen: np.ndarray) -> SliceRecall:
        wanted = of_all.wanted & chosen[of_all.row]
        return _slice(slice_, (wanted & of_all.found).sum(axis=1), wanted.sum(axis=1))

    new = (of_new.hits, np.full(len(of_new.hits), k)) if of_new else (full[:0], full[:0])
    return Certificate(
        k,
        (
            _slice(RecallSlice.ALL, of_all.hits, full),
            of_items(RecallSlice.COLD_ITEMS, num_events == 0),
            of_items(RecallSlice.TAIL_ITEMS, (num_events > 0) & ~head),
            _slice(RecallSlice.NEW_PROFILES, *new),
            _slice(RecallSlice.LONG_HISTORIES, of_all.hits[long], full[long]),
        ),
    )


def head_of(num_events: Int64[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """The fewest titles, most watched first and then by row, that hold four fifths of all train events."""
    order = np.argsort(-num_events, kind="stable")
    before = np.cumsum(num_events[order]) - num_events[order]
    head = np.zeros(len(num_events), bool)
    head[order] = before < _HEAD_SHARE * num_events.sum()
    return head


def recall_interval(
    hits: Int64[np.ndarray, " Q"], wanted: Int64[np.ndarray, " Q"], level: float = LEVEL
) -> tuple[float, float, float]:
    """Σ hits / Σ wanted and its interval, where the hits of one query go together; wanted is 1 or more.

    The score interval of a share r over as many independent draws as the queries are worth:
    n_eff = r (1 − r) / Var r, with Var r = Q / (Q − 1) Σ (hits − r · wanted)² / (Σ wanted)² that of a ratio
    over Q queries; at most Σ wanted, and Q where nothing varies; times (z / t)² of Student's t of Q − 1
    degrees, as the variance is a guess too. Unlike a bootstrap's, the interval has a width where
    every query is answered alike. Sources: Wilson 1927, doi:10.1080/01621459.1927.10502953; Korn and
    Graubard 1998, Survey Methodology 24, 193-201, of the effective sample size.
    """
    num, total = len(hits), int(wanted.sum())
    share = float(hits.sum() / total)
    rest = hits - share * wanted
    variance = num / max(num - 1, 1) * float(np.sum(rest**2)) / total**2
    worth = min(float(total), share * (1.0 - share) / variance) if variance > 0.0 else float(num)
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    # t by its first term beyond the normal.
    worth *= (1.0 + (z**2 + 1.0) / (4.0 * max(num - 1, 1))) ** -2
    z2 = z**2
    centre = (share + z2 / (2.0 * worth)) / (1.0 + z2 / worth)
    half = np.sqrt(z2 * (share * (1.0 - share) / worth + z2 / (4.0 * worth**2))) / (1.0 + z2 / worth)
    return share, max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _slice(name: RecallSlice, hits: np.ndarray, wanted: np.ndarray) -> SliceRecall:
    asked = wanted > 0
    hits, wanted = hits[asked], wanted[asked]
    if len(hits) == 0:
        return SliceRecall(name, 0, 0, None, None, None)
    return SliceRecall(name, len(hits), int(wanted.sum()), *recall_interval(hits, wanted))


def write_certificate(certificate: Certificate, folder: Path) -> None:
    """Writes CERTIFICATE_FILE into a folder that exists."""
    text = json.dumps(asdict(certificate) | {"level": LEVEL}, indent=1, allow_nan=False)
    (folder / CERTIFICATE_FILE).write_text(text + "\n", encoding="utf-8")


def read_certificate(folder: Path) -> Certificate | None:
    """What `write_certificate` wrote; None where there is none. ReleaseError where it is another file."""
    path = folder / CERTIFICATE_FILE
    if not path.is_file():
        return None
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        slices = [each | {"slice": RecallSlice(each["slice"])} for each in read["slices"]]
        return Certificate(int(read["k"]), tuple(SliceRecall(**each) for each in slices))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReleaseError(f"{path}: {error!r}; expected the recall of an index by slices") from error


def certificate_view(certificate: Certificate) -> Tables:
    """The certificate for a terminal."""
    columns = ["recall of the index", "queries", "titles", f"R@{certificate.k}", f"{LEVEL:.0%}", ""]
    return Tables(columns, [_cells(each) for each in certificate.slices], num_names=1)


def _cells(each: SliceRecall) -> list[str]:
    name = each.slice.value.replace("_", " ")
    interval = NOTHING if each.low is None else f"{number(each.low)}-{number(each.high)}"
    cells: Sequence[str] = (f"{each.num_queries:,}", f"{each.num_wanted:,}", number(each.recall), interval)
    return [name, *cells, "too few to tell" if each.too_few else ""]
