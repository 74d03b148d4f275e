"""Rungs that factorise the profile × item matrix: EASE in closed form, iALS by alternating least squares."""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn.functional import embedding_bag

from towers.data.histories import Histories, runs
from towers.evaluation.exact import ExactRecommender
from towers.ladder.catalogue import batches, most_watched, rank_catalogue, recency_weights
from towers.ladder.extra import of_extra
from towers.ladder.fold_in import FoldInEncoder, FoldInSettings, item_vectors
from towers.recommender import Queries, Rankings, check_history
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EASESettings:
    """regularisation: λ, in profiles: how many it takes to make a co-watch believed.

    recency: decay per place of the query's history: an event weighs exp(-recency · age), the newest having
    age 0; with 0 all weigh the same, which is EASE as published.
    max_items: only so many of the most watched items get a weight, as memory grows with the square of their
    number (20,000 items: 1.6 GB, and as much again while fitting); the others follow by popularity.
    """

    regularisation: float = bounded(100.0, gt=0.0)
    recency: float = bounded(0.1, ge=0.0)
    max_items: int = bounded(20_000, ge=1)


@dataclass(frozen=True, slots=True)
class EASE:
    """A Recommender by a linear item-to-item model, the own history left out.

    weight: float32 (M + 1, M), of each kept item for each; the last row, of all other items, is 0.
    kept: int64 (M,), the catalogue rows that have a weight, the most watched.
    place: int64 (N,), each item's row of `weight`; M for items without one.
    order: int64 (N,), all items, the most watched first.
    score(j) = Σ_i w_i · weight(i, j) over the history, w_i falling with age. Items without a weight follow
    in order of popularity; a history without any item that has one gives popularity.
    """

    weight: Float32[np.ndarray, "M1 M"]
    kept: Int64[np.ndarray, " M"]
    place: Int64[np.ndarray, " N"]
    order: Int64[np.ndarray, " N"]
    recency: float

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items of highest score per query."""
        return rank_catalogue(queries, k, self.order, lambda part: self._scores(part.history))

    def _scores(self, history: Histories) -> Float32[np.ndarray, "Q N"]:
        scores = np.full((len(history), len(self.order)), np.nan, np.float32)
        place = self.place[history.item_row]
        age_weight = recency_weights(history, self.recency).astype(np.float32)
        summed = embedding_bag(
            torch.from_numpy(place),
            torch.from_numpy(self.weight),
            torch.from_numpy(history.offset),
            mode="sum",
            per_sample_weights=torch.from_numpy(age_weight),
            include_last_offset=True,
        ).numpy()
        num_known = np.bincount(history.profile_rows()[place < len(self.kept)], minlength=len(history))
        known = np.flatnonzero(num_known)
        scores[known[:, None], self.kept] = summed[known]
        return scores


def fit_ease(train: Histories, num_items: int, settings: EASESettings | None = None) -> EASE:
    """EASE of the train events over a catalogue of `num_items`.

    weight = I − P · diag(1 / diag(P)), P = (XᵀX + λI)⁻¹, X the binary profile × item matrix: the ridge
    regression of each item on all others. Source: Steck, WWW 2019, doi:10.1145/3308558.3313710. With fewer
    profiles than items P is had from the smaller inverse: P = (I − Xᵀ(XXᵀ + λI)⁻¹X) / λ.
    """
    settings = settings or EASESettings()
    check_ranges(settings, "ease")
    check_history(train, num_items)
    num_watches = np.bincount(train.item_row, minlength=num_items)
    order = most_watched(train, num_items)
    kept = np.sort(order[: min(settings.max_items, int(np.count_nonzero(num_watches)))])
    place = np.full(num_items, len(kept), dtype=np.int64)
    place[kept] = np.arange(len(kept))
    inverse = _inverse_gram(train, place, len(kept), settings.regularisation)
    weight = torch.zeros(len(kept) + 1, len(kept))
    torch.div(inverse, -inverse.diagonal(), out=weight[:-1])
    weight[:-1].fill_diagonal_(0.0)
    log.info("fitted ease num_events=%d num_items=%d kept=%d", train.num_events, num_items, len(kept))
    return EASE(weight.numpy(), kept, place, order, settings.recency)


def _inverse_gram(train: Histories, place: np.ndarray, num_kept: int, regularisation: float) -> Tensor:
    """float32 (M, M): the inverse of XᵀX + λI over the kept items."""
    item = place[train.item_row]
    cell = np.unique((train.profile_rows() * num_kept + item)[item < num_kept])
    profile, item = np.divmod(cell, max(1, num_kept))
    if num_kept <= len(train):
        return _inverse(_co_watches(profile, item, len(train), num_kept), regularisation)
    binary = torch.zeros(len(train), num_kept)
    binary[torch.from_numpy(profile), torch.from_numpy(item)] = 1.0
    inverse = (binary.T @ _inverse(binary @ binary.T, regularisation)) @ binary
    inverse.neg_().diagonal().add_(1.0)
    return inverse.div_(regularisation)


def _co_watches(profile: np.ndarray, item: np.ndarray, num_profiles: int, num_kept: int) -> Tensor:
    """float32 (M, M): profiles that watched both, from the pairs of each profile, so many pairs at a time."""
    length = np.bincount(profile, minlength=num_profiles)[profile]
    first = np.searchsorted(profile, profile)
    counts = torch.zeros(num_kept * num_kept)
    for start, stop in batches(length):
        part = length[start:stop]
        cell = np.repeat(item[start:stop] * num_kept, part) + item[runs(first[start:stop], part)]
        counts.index_add_(0, torch.from_numpy(cell), torch.ones(len(cell)))
    return counts.reshape(num_kept, num_kept)


def _inverse(gram: Tensor, regularisation: float) -> Tensor:
    gram.diagonal().add_(regularisation)
    return torch.cholesky_inverse(torch.linalg.cholesky(gram))


@dataclass(frozen=True, slots=True)
class IALSSettings:
    """num_factors: dimension of the embeddings. regularisation: λ of both. iterations: sweeps.

    confidence: α, how much more a watch of weight 1 counts than an absence.
    recency: decay per place of the query's history, as in EASE; with 0 all weigh the same.
    num_threads: cores that fit; 0 takes all. The result does not depend on it.
    The defaults lie between what the validation items of MovieLens latest-small and of MovieTweetings 100K
    prefer (leave-one-out); they differ much, so this rung gains by a search.
    """

    num_factors: int = bounded(64, ge=1)
    regularisation: float = bounded(10.0, gt=0.0)
    confidence: float = bounded(1.0, gt=0.0)
    iterations: int = bounded(15, ge=1)
    recency: float = bounded(0.5, ge=0.0)
    seed: int = bounded(0, ge=0, lt=2**32)
    num_threads: int = bounded(0, ge=0)


@dataclass(frozen=True, slots=True)
class IALS:
    """A Recommender by implicit-feedback matrix factorisation, the own history left out.

    encoder: Queries → float32 (Q, D); the query is no train row: it is solved from its history.
    exact: ranks by inner product with its item_vectors, float32 (N, D), of `fold_in.item_vectors`.
    Items never watched in train follow all others; a history without any other gives popularity.
    """

    encoder: FoldInEncoder
    exact: ExactRecommender

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items of highest inner product with each query."""
        return self.exact.rank(queries, k)


def fit_ials(train: Histories, num_items: int, settings: IALSSettings | None = None) -> IALS:
    """IALS of the train events over a catalogue of `num_items`, each event as sure as its weight says.

    Minimises Σ_ui c_ui (p_ui − <x_u, y_i>)² + λ (Σ‖x_u‖² + Σ‖y_i‖²), where p_ui is 1 with confidence
    c_ui = α · weight for watched pairs and 0 with confidence 1 for all others. Source: Hu, Koren and
    Volinsky, ICDM 2008, doi:10.1109/ICDM.2008.22. Raises MissingExtraError without `implicit`.
    """
    settings = settings or IALSSettings()
    check_ranges(settings, "ials")
    check_history(train, num_items)
    implicit = of_extra("implicit.cpu.als", "ials")
    with _one_blas_thread():
        model = implicit.AlternatingLeastSquares(
            factors=settings.num_factors,
            regularization=settings.regularisation,
            alpha=settings.confidence,
            iterations=settings.iterations,
            num_threads=settings.num_threads,
            random_state=settings.seed,
        )
        model.fit(_weighted_matrix(train, train.weight, num_items), show_progress=False)
    log.info("fitted ials num_events=%d num_items=%d", train.num_events, num_items)
    num_events = np.bincount(train.item_row, minlength=num_items)
    vectors = item_vectors(np.asarray(model.item_factors, np.float32), num_events)
    query = FoldInSettings(settings.regularisation, settings.confidence, settings.recency)
    encoder = FoldInEncoder(vectors, query)
    return IALS(encoder, ExactRecommender(encoder.encode, vectors))


def _weighted_matrix(history: Histories, weight: np.ndarray, num_items: int) -> Any:
    """The scipy CSR matrix (P, N) of weights; of an item watched twice the later counts."""
    sparse = of_extra("scipy.sparse", "ials")
    cell = history.profile_rows() * num_items + history.item_row
    pair, from_end = np.unique(cell[::-1], return_index=True)
    value = weight[::-1][from_end].astype(np.float32)
    profile, item = np.divmod(pair, max(1, num_items))
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(profile, minlength=len(history)))])
    return sparse.csr_matrix(
        (value, item.astype(np.int32), offset.astype(np.int32)), (len(history), num_items)
    )


def _one_blas_thread() -> Any:
    """BLAS on one thread: implicit runs its own, and the two together are many times slower (its README)."""
    return of_extra("threadpoolctl", "ials").threadpool_limits(1, "blas")
