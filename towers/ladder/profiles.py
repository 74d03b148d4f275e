"""The profile-kNN rung: what profiles with a similar history watched."""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64

from towers.data.histories import Histories, runs
from towers.ladder.catalogue import most_watched, rank_catalogue, recency_weights
from towers.recommender import Queries, Rankings, check_history
from towers.settings import bounded, check_ranges
from towers.topk import ordered_topk

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProfileKNNSettings:
    """num_neighbours: most similar train profiles that vote.

    shrinkage: added to the cosine's denominator, so that few common items weigh less.
    recency: decay per place of the query's history: an event weighs exp(-recency · age), the newest having
    age 0; with 0 all weigh the same.
    popularity: power of an item's train events by which its vote is divided; with 0 it counts in full.
    The defaults lie between what the validation items of MovieLens latest-small and of MovieTweetings 100K
    prefer (leave-one-out).
    """

    num_neighbours: int = bounded(100, ge=1)
    shrinkage: float = bounded(10.0, ge=0.0)
    recency: float = bounded(0.5, ge=0.0)
    popularity: float = bounded(0.3, ge=0.0, le=1.0)


@dataclass(frozen=True, slots=True)
class ProfileKNN:
    """A Recommender by profile-to-profile cosine, the own history left out.

    train: Histories of V profiles, each item once.
    watcher_offset, watcher: int64 (N+1,) and (E,), item i was watched by watcher[offset[i]:offset[i+1]].
    order: int64 (N,), all items, the most watched first.
    value: float32 (N,), what a vote for each item counts.
    sim(q, v) = Σ over common items of w_i / (‖w‖ · √n_v + shrinkage), where w_i falls with the age of i in
    the query's history and v has watched n_v items; score(i) = value_i · Σ sim(q, v) over the nearest v that
    watched i. Items that no neighbour watched follow in order of popularity, and an empty history gives it.
    """

    train: Histories
    watcher_offset: Int64[np.ndarray, " N1"]
    watcher: Int64[np.ndarray, " E"]
    order: Int64[np.ndarray, " N"]
    value: Float32[np.ndarray, " N"]
    settings: ProfileKNNSettings

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items most watched by the profiles nearest to each query."""
        check_history(queries.history, len(self.order))
        longest = np.sort(self.train.lengths)[::-1][: self.settings.num_neighbours].sum()
        votes = len(self.train) + longest + self._overlaps(queries.history)
        return rank_catalogue(queries, k, self.order, lambda part: self._scores(part.history), votes)

    def _overlaps(self, history: Histories) -> Int64[np.ndarray, " Q"]:
        """Pairs of an event and one of its watchers, per query."""
        watchers = np.diff(self.watcher_offset)[history.item_row]
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(watchers)])
        pairs: np.ndarray = before[history.offset[1:]] - before[history.offset[:-1]]
        return pairs

    def _scores(self, history: Histories) -> Float32[np.ndarray, "Q N"]:
        num_items, (similarity, neighbour) = len(self.order), self._nearest(history)
        query, place = np.nonzero(similarity > 0.0)
        voter = neighbour[query, place]
        length = self.train.lengths[voter]
        item = self.train.item_row[runs(self.train.offset[voter], length)]
        vote = np.repeat(similarity[query, place].astype(np.float64), length)
        cell = np.repeat(query * num_items, length) + item
        scores = np.bincount(cell, vote, minlength=len(history) * num_items).reshape(len(history), num_items)
        return np.where(scores > 0.0, scores * self.value, np.nan).astype(np.float32)

    def _nearest(self, history: Histories) -> tuple[Float32[np.ndarray, "Q M"], Int64[np.ndarray, "Q M"]]:
        """Similarities and rows of the nearest train profiles, best first, ties by row."""
        num_queries, num_profiles = len(history), len(self.train)
        weight = recency_weights(history, self.settings.recency)
        profile = history.profile_rows()
        norm = np.sqrt(np.bincount(profile, weight**2, minlength=num_queries))
        watchers = np.diff(self.watcher_offset)[history.item_row]
        watcher = self.watcher[runs(self.watcher_offset[history.item_row], watchers)]
        cell = np.repeat(profile * num_profiles, watchers) + watcher
        common = np.bincount(cell, np.repeat(weight, watchers), minlength=num_queries * num_profiles)
        common = common.reshape(num_queries, num_profiles)
        # Where nothing is common 0 / 0 could stand; a profile without events is nobody's neighbour.
        length = np.sqrt(np.maximum(self.train.lengths, 1))
        similarity = common / (np.maximum(norm, 1e-12)[:, None] * length + self.settings.shrinkage)
        width = min(self.settings.num_neighbours, num_profiles)
        if width == 0 or num_queries == 0:
            return np.zeros((num_queries, 0), np.float32), np.zeros((num_queries, 0), np.int64)
        best, row = ordered_topk(torch.from_numpy(similarity.astype(np.float32)), width)
        return best.numpy(), row.numpy()


def fit_profile_knn(
    train: Histories, num_items: int, settings: ProfileKNNSettings | None = None
) -> ProfileKNN:
    """ProfileKNN of the train events over a catalogue of `num_items`: an index of who watched what.

    A query that is itself a train profile is its own nearest neighbour; all that it votes for is its history,
    which is left out. Source: Herlocker et al., SIGIR 1999, doi:10.1145/312624.312682.
    """
    settings = settings or ProfileKNNSettings()
    check_ranges(settings, "profile_knn")
    check_history(train, num_items)
    profile, item = np.divmod(np.unique(train.profile_rows() * num_items + train.item_row), max(1, num_items))
    nothing = np.zeros(len(item), np.int64)
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(profile, minlength=len(train)))])
    num_watchers = np.bincount(item, minlength=num_items)
    log.info("fitted profile_knn num_events=%d num_items=%d", train.num_events, num_items)
    return ProfileKNN(
        train=Histories(offset, item, nothing, nothing.astype(np.float32)),
        watcher_offset=np.concatenate([np.zeros(1, np.int64), np.cumsum(num_watchers)]),
        watcher=profile[np.argsort(item, kind="stable")],
        order=most_watched(train, num_items),
        value=(np.maximum(num_watchers, 1.0) ** -settings.popularity).astype(np.float32),
        settings=settings,
    )
