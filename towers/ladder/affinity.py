"""The rung of genres: what is popular within the genres that a profile watches."""

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
class AffinitySettings:
    """recency: decay per place of the history, exp(-recency · age), the newest having age 0.

    prior_events: events of average taste that are added to each history, so that a short one says little.
    The defaults were chosen on the validation items of MovieLens latest-small and MovieTweetings 100K
    together (leave-one-out).
    """

    recency: float = bounded(0.1, ge=0.0)
    prior_events: float = bounded(5.0, ge=0.0)


@dataclass(frozen=True, slots=True)
class GenreAffinity:
    """A Recommender of what is popular in the profile's genres, the own history left out.

    score(i) = Σ_g P(g | profile) · P(i | g), the genre being what a profile chooses first. An item counts in
    equal parts for its genres G_i, those without any for one of their own:
    P(i | g) = [g in G_i] (n_i / |G_i|) / Σ_j [g in G_j] (n_j / |G_j|), n_i the train events of i;
    P(g | profile) = (Σ_e w_e [g in G_e] / |G_e| + m · P(g)) / (Σ_e w_e + m) over the history's events e, w_e
    the event's weight times its recency, m `prior_events`, P(g) the share of all train events. A profile of
    average taste is answered from popularity, since Σ_g P(g) · P(i | g) = n_i / n; so is an empty history.
    Items that no train profile watched, and with m = 0 those of other genres, follow by popularity.

    tokens: the genres. part: float64 (V,), 1 / |G_i| of each pair; within: float64 (V,), P(i | g) of each, in
    the order of `tokens.by_token`.
    prior: float64 (T,), m · P(g). order: int64 (N,), all items, the most watched first.
    """

    tokens: ItemTokens
    part: Float64[np.ndarray, " V"]
    within: Float64[np.ndarray, " V"]
    prior: Float64[np.ndarray, " T"]
    order: Int64[np.ndarray, " N"]
    recency: float

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items most popular in what each query's profile watches."""
        cost = np.full(len(queries), self.tokens.num_tokens)
        return rank_catalogue(queries, k, self.order, self._scores, cost)

    def _scores(self, queries: Queries) -> Float32[np.ndarray, "Q N"]:
        history = queries.history
        weight = history.weight * recency_weights(history, self.recency)
        taste = self.tokens.gather(self.part, history, weight) + self.prior
        taste[history.lengths == 0] = 0.0
        share = taste / np.maximum(taste.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        scores = self.tokens.spread(self.within, share)
        return np.where(scores > 0.0, scores, np.float32(np.nan))


def fit_genre_affinity(
    train: Histories, items: pa.Table, settings: AffinitySettings | None = None
) -> GenreAffinity:
    """GenreAffinity of the train events over a catalogue, its `items` table."""
    settings = settings or AffinitySettings()
    check_ranges(settings, "affinity")
    check_history(train, items.num_rows)
    tokens = read_tokens(items, [("genres", 0)], rest=True)
    num_watches = np.bincount(train.item_row, minlength=items.num_rows)
    part = 1.0 / tokens.num_of_item[tokens.item_row]
    watched = num_watches[tokens.item_row] * part
    of_genre = np.bincount(tokens.token, watched, minlength=tokens.num_tokens)
    log.info("fitted genre_affinity num_events=%d num_genres=%d", train.num_events, tokens.num_tokens - 1)
    return GenreAffinity(
        tokens=tokens,
        part=part,
        within=(watched / np.where(of_genre > 0.0, of_genre, 1.0)[tokens.token])[tokens.by_token],
        prior=settings.prior_events * of_genre / max(1, train.num_events),
        order=most_watched(train, items.num_rows),
        recency=settings.recency,
    )
