"""What every recommender takes and gives: Queries in, Rankings out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from towers.data.histories import Histories
from towers.errors import QueryError

PAD = -1
"""The item row of a place in a ranking that no eligible item fills. It is never an item."""


class Degraded(StrEnum):
    """Why an answer is not the one that was asked for."""

    UNKNOWN_PROFILE = "unknown_profile"
    """Nothing is known of the profile, or nobody is named: answered from popularity."""
    EMPTY_HISTORY = "empty_history"
    """The history holds no item of this catalogue: answered from the prior learned for the country."""
    NOT_PRECOMPUTED = "not_precomputed"
    """The release answers from lists, and made none for this history: answered from those of its items."""
    NO_MATCH = "no_match"
    """No item matches the text: answered as if there were none."""
    NOT_AVAILABLE = "not_available"
    """The item that the text names has no licence for the territory and time: answered with similar ones."""
    NOT_PERSONALISED = "not_personalised"
    """The profile has switched personalisation off: answered as newcomers of the country are."""
    BELOW_FLOOR = "below_floor"
    """Fewer new or local titles may be shown than a minimum asks for: all that there are, and others."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Q questions: who asks, when, and what they watched before.

    history: Histories of Q profiles; item rows of the catalogue being ranked.
    time_seconds: int64 (Q,), the moment of the request in Unix seconds; no event of the history is later.
    country: str (Q,), ISO 3166-1 alpha-2 code of the request; "" where unknown.
    profiles: columns of the profiles table, a row per query; None where nothing is known of who asks.
    """

    history: Histories
    time_seconds: Int64[np.ndarray, " Q"]
    country: np.ndarray
    profiles: pa.Table | None = None

    def __post_init__(self) -> None:
        sizes = (len(self.history), len(self.time_seconds), len(self.country))
        if len(set(sizes)) != 1:
            raise QueryError(
                f"queries: {sizes[0]} histories, {sizes[1]} times and {sizes[2]} countries; "
                "expected equal counts"
            )
        if self.profiles is not None and self.profiles.num_rows != len(self):
            raise QueryError(
                f"queries: {self.profiles.num_rows} profiles for {len(self)} queries; expected as many"
            )

    def __len__(self) -> int:
        return len(self.history)

    def select(self, rows: Int64[np.ndarray, " n"]) -> "Queries":
        """The queries of the rows given, in that order."""
        profiles = None if self.profiles is None else self.profiles.take(pa.array(rows))
        return Queries(self.history.select(rows), self.time_seconds[rows], self.country[rows], profiles)


@dataclass(frozen=True, slots=True)
class Rankings:
    """Top-k items per query, best first.

    item_row: int64 (Q, K); PAD where fewer than K items are eligible. No item stands twice in a row.
    score: float32 (Q, K), higher is better, non-increasing along K; -inf at PAD.
    degraded: one entry per query, None where the answer is whole; empty when all are.
    """

    item_row: Int64[np.ndarray, "Q K"]
    score: Float32[np.ndarray, "Q K"]
    degraded: tuple[Degraded | None, ...] = ()

    def __post_init__(self) -> None:
        if self.item_row.shape != self.score.shape:
            raise QueryError(
                f"rankings: rows {self.item_row.shape} and scores {self.score.shape} differ in shape"
            )
        if self.degraded and len(self.degraded) != len(self.item_row):
            raise QueryError(f"rankings: {len(self.degraded)} reasons for {len(self.item_row)} queries")

    def __len__(self) -> int:
        return len(self.item_row)


@runtime_checkable
class Recommender(Protocol):
    """Whatever ranks the catalogue for queries: a rung of the ladder, or the served Retriever."""

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The best k items per query, the query's own history left out.

        The answer has exactly k columns and min(k, eligible items) of them filled. k = 0 gives an empty
        ranking per query; a negative k raises QueryError.
        """
        ...


def check_k(k: object) -> None:
    """Raises QueryError unless k can be a number of places."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise QueryError(f"k = {k!r}: expected a whole number of places, 0 or more")
    if k < 0:
        raise QueryError(f"k = {k}: expected 0 or more places")


def check_history(history: Histories, num_items: int) -> None:
    """Raises QueryError where a history names an item that a catalogue of `num_items` has not."""
    rows = history.item_row
    # Below 0 is the highest of all without a sign: one pass tells both.
    if len(rows) and rows.view(f"u{rows.itemsize}").max() >= num_items:
        raise QueryError(
            f"history: item rows run from {rows.min()} to {rows.max()}; expected 0 to {num_items - 1}"
        )
