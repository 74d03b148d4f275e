"""The item-kNN rung: what profiles that watched this also watched."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64
from rich.console import Console
from rich.progress import track

from towers.data.histories import Histories
from towers.ladder.catalogue import rank_catalogue, recency_weights
from towers.recommender import PAD, Queries, Rankings, check_history
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

# Co-watched pairs counted at once: bounds the memory of fitting an item that very many profiles watched.
_MAX_PAIRS = 1 << 22


@dataclass(frozen=True, slots=True)
class ItemKNNSettings:
    """num_neighbours: most similar items kept per item.

    shrinkage: added to the cosine's denominator, so that few co-watches weigh less.
    recency: decay per place of the history: an event weighs exp(-recency · age), the newest having age 0;
    with 0 all weigh the same.
    The defaults were chosen together on the validation items of MovieLens latest-small, MovieTweetings 100K
    and Amazon Beauty and Video Games (leave-one-out), and for none of them alone.
    """

    num_neighbours: int = bounded(100, ge=1)
    shrinkage: float = bounded(10.0, ge=0.0)
    recency: float = bounded(0.5, ge=0.0)


@dataclass(frozen=True, slots=True)
class ItemKNN:
    """A Recommender by item-to-item cosine, the own history left out.

    neighbour: int64 (N, M), most similar items, best first; PAD where fewer were co-watched.
    similarity: float32 (N, M), 0 at PAD.
    order: int64 (N,), all items, the most watched first.
    score(i) = Σ_j w_j · sim(j, i) over history items j that have i among their neighbours, where w_j falls
    with the event's age in places. Items without a similarity follow in order of popularity, scored from
    -1/N to -1, so that lists are complete; an empty history gives popularity.
    """

    neighbour: Int64[np.ndarray, "N M"]
    similarity: Float32[np.ndarray, "N M"]
    order: Int64[np.ndarray, " N"]
    recency: float

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items most similar to each query's history."""
        votes = queries.history.lengths * self.neighbour.shape[1]
        return rank_catalogue(queries, k, self.order, lambda part: self._scores(part.history), votes)

    def _scores(self, history: Histories) -> Float32[np.ndarray, "Q N"]:
        num_items = len(self.order)
        neighbour = self.neighbour[history.item_row]
        votes = recency_weights(history, self.recency)[:, None] * self.similarity[history.item_row]
        cell = history.profile_rows()[:, None] * num_items + neighbour
        given = neighbour != PAD
        scores = np.bincount(cell[given], votes[given], minlength=len(history) * num_items)
        scores = scores.reshape(len(history), num_items)
        return np.where(scores > 0.0, scores, np.nan).astype(np.float32)


def fit_item_knn(train: Histories, num_items: int, settings: ItemKNNSettings | None = None) -> ItemKNN:
    """ItemKNN of the train events over a catalogue of `num_items`.

    sim(i, j) = c_ij / (sqrt(c_i · c_j) + shrinkage), where c_ij profiles watched both and c_i watched i: the
    cosine of the columns of the binary profile × item matrix, shrunk. Source: Deshpande and Karypis, TOIS
    2004, doi:10.1145/963770.963776. Counting takes Σ_p (events of p)² steps; memory is that of the result
    and of one item's pairs, never an item × item matrix.
    """
    settings = settings or ItemKNNSettings()
    check_ranges(settings, "item_knn")
    check_history(train, num_items)
    watchers = _Watchers.of(train, num_items)
    width = min(settings.num_neighbours, max(1, num_items - 1))
    neighbour = np.full((num_items, width), PAD, dtype=np.int64)
    similarity = np.zeros((num_items, width), dtype=np.float32)
    num_watches = np.diff(watchers.offset)
    norm = np.sqrt(num_watches)
    console = Console(stderr=True)
    quiet = not console.is_terminal
    for item in track(
        range(num_items), "counting co-watches", console=console, transient=True, disable=quiet
    ):
        together = watchers.co_watches(item)
        together[item] = 0
        others = np.flatnonzero(together)
        value = together[others] / (norm[item] * norm[others] + settings.shrinkage)
        best = _best(value, width)
        neighbour[item, : len(best)], similarity[item, : len(best)] = others[best], value[best]
    log.info("fitted item_knn num_events=%d num_items=%d neighbours=%d", train.num_events, num_items, width)
    return ItemKNN(neighbour, similarity, np.argsort(-num_watches, kind="stable"), settings.recency)


def _best(value: Float64[np.ndarray, " n"], num_places: int) -> Int64[np.ndarray, " m"]:
    """Places of the highest values, best first, ties by place."""
    if len(value) > num_places:
        least = np.partition(value, -num_places)[-num_places]
        candidates = np.flatnonzero(value >= least)
    else:
        candidates = np.arange(len(value))
    best: np.ndarray = candidates[np.argsort(-value[candidates], kind="stable")][:num_places]
    return best


@dataclass(frozen=True, slots=True)
class _Watchers:
    """The profile × item matrix by row (train) and by column (offset, profile); each pair counts once."""

    train: Histories
    offset: Int64[np.ndarray, " N1"]
    profile: Int64[np.ndarray, " E"]

    @classmethod
    def of(cls, train: Histories, num_items: int) -> "_Watchers":
        profile, item = np.divmod(np.unique(train.profile_rows() * num_items + train.item_row), num_items)
        lengths = np.bincount(profile, minlength=len(train))
        offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        nothing = np.zeros(len(item), np.int64)
        distinct = Histories(offset, item, nothing, nothing.astype(np.float32))
        by_item = np.argsort(item, kind="stable")
        ends = np.cumsum(np.bincount(item, minlength=num_items))
        return cls(distinct, np.concatenate([np.zeros(1, np.int64), ends]), profile[by_item])

    def co_watches(self, item: int) -> Int64[np.ndarray, " N"]:
        """How many of the item's watchers watched each item."""
        num_items = len(self.offset) - 1
        watchers = self.profile[self.offset[item] : self.offset[item + 1]]
        pairs = np.cumsum(self.train.lengths[watchers])
        num_chunks = 1 + (int(pairs[-1]) if len(pairs) else 0) // _MAX_PAIRS
        counts = np.zeros(num_items, dtype=np.int64)
        for chunk in np.array_split(watchers, num_chunks):
            counts += np.bincount(self.train.select(chunk).item_row, minlength=num_items)
        return counts
