"""The rung of likeness: more of the cast, the directors and the genres that were watched last."""

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64, Int64

from towers.data.histories import Histories
from towers.ladder.catalogue import most_watched, rank_catalogue, recency_weights
from towers.ladder.tokens import ItemTokens, read_tokens
from towers.recommender import Queries, Rankings, check_history
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MoreOfSettings:
    """num_titles: so many of the last watched titles count; num_cast: so many of a cast, in billing order.

    recency: decay per place of the history, exp(-recency · age), the newest having age 0.
    popularity: how much of an item's popularity counts, as an exponent; with 0 none.
    The defaults were chosen on the validation items of MovieLens latest-small and MovieTweetings 100K
    together (leave-one-out).
    """

    num_titles: int = bounded(5, ge=1)
    num_cast: int = bounded(5, ge=1)
    recency: float = bounded(0.5, ge=0.0)
    popularity: float = bounded(1.0, ge=0.0)


@dataclass(frozen=True, slots=True)
class MoreOf:
    """A Recommender of titles that share tokens with those watched last, the own history left out.

    score(i) = n_i^β · Σ_j w_j · cos(x_j, x_i) over the last titles j of the history, w_j the event's weight
    times its recency, n_i one more than the train events of i, β `popularity`. x_i is idf_t =
    ln(1 + N / N_t) for each token t of i (genres, sub-genres, cast and directors), N_t of N items having it:
    a shared actor says more than a shared drama, and a long cast no more than a short one. Equals: by row.
    Items that share nothing follow by popularity; an empty history gives popularity. Source: Salton and
    Buckley, Information Processing and Management 1988, doi:10.1016/0306-4573(88)90021-0.

    value, value_by_token: float64 (V,), x of each pair, of length 1 by item, in the two orders of `tokens`.
    lift: float32 (N,), n_i^β over the highest of all items, which stands for n_i^β in the score.
    order: int64 (N,), all items, the most watched first.
    """

    tokens: ItemTokens
    value: Float64[np.ndarray, " V"]
    value_by_token: Float64[np.ndarray, " V"]
    lift: Float32[np.ndarray, " N"]
    order: Int64[np.ndarray, " N"]
    num_titles: int
    recency: float

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items most like what each query's profile watched last."""
        cost = np.full(len(queries), self.tokens.num_tokens)
        return rank_catalogue(queries, k, self.order, self._scores, cost)

    def _scores(self, queries: Queries) -> Float32[np.ndarray, "Q N"]:
        history = queries.history.last(self.num_titles)
        weight = history.weight * recency_weights(history, self.recency)
        taste = self.tokens.gather(self.value, history, weight)
        scores = self.tokens.spread(self.value_by_token, taste) * self.lift
        return np.where(scores > 0.0, scores, np.float32(np.nan))


def fit_more_of(train: Histories, items: pa.Table, settings: MoreOfSettings | None = None) -> MoreOf:
    """MoreOf over a catalogue, its `items` table; the train events only say what is popular."""
    settings = settings or MoreOfSettings()
    check_ranges(settings, "more_of")
    check_history(train, items.num_rows)
    columns = [("genres", 0), ("sub_genres", 0), ("cast", settings.num_cast), ("directors", 0)]
    tokens = read_tokens(items, columns, rest=False)
    idf = np.log1p(items.num_rows / np.maximum(1, tokens.num_of_token))[tokens.token]
    norm = np.sqrt(np.bincount(tokens.item_row, idf**2, minlength=items.num_rows))
    value = idf / norm[tokens.item_row]
    lift = (1.0 + np.bincount(train.item_row, minlength=items.num_rows)) ** settings.popularity
    log.info("fitted more_of num_items=%d num_tokens=%d", items.num_rows, tokens.num_tokens)
    return MoreOf(
        tokens=tokens,
        value=value,
        value_by_token=value[tokens.by_token],
        lift=(lift / lift.max(initial=1.0)).astype(np.float32),
        order=most_watched(train, items.num_rows),
        num_titles=settings.num_titles,
        recency=settings.recency,
    )
