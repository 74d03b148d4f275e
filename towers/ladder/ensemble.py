"""Ensembles of any recommenders: reciprocal rank fusion, and a blend stacked on held-out questions."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from towers.data.split import HeldOut
from towers.errors import ConfigError
from towers.ladder.logistic import LogisticSettings, LogOdds, fit_logistic
from towers.recommender import PAD, Queries, Rankings, Recommender, check_k
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

# Between two items that no member listed, relative to the least score: a million places in float32.
_STEP = np.float32(2**-20)


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """damping: k₀ of 1 / (k₀ + rank); more lets lower ranks count. depth: places of each list that count."""

    damping: float = bounded(60.0, ge=0.0)
    depth: int = bounded(200, ge=1)


@dataclass(frozen=True, slots=True)
class BlendSettings:
    """depth: places of each list that count. logistic: the regression."""

    depth: int = bounded(200, ge=1)
    logistic: LogisticSettings = field(default_factory=LogisticSettings)


@dataclass(frozen=True, slots=True)
class Fusion:
    """A Recommender by reciprocal rank fusion of its members.

    score(i) = Σ_m 1 / (k₀ + rank_m(i)) over the members that list i in their first `depth` places, ranks
    from 1. Items that none of them lists so high follow as the first member has them, scored below 0.
    Source: Cormack, Clarke and Büttcher, SIGIR 2009, doi:10.1145/1571941.1572114.
    """

    members: Mapping[str, Recommender]
    settings: FusionSettings

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items of highest fused score."""
        listed = _listed(self.members, queries, self.settings.depth)
        ranked = np.where(np.isnan(listed.rank), np.inf, listed.rank)
        score = (1.0 / (self.settings.damping + ranked)).sum(axis=1)
        return _ranked(listed, score, next(iter(self.members.values())), queries, k)


@dataclass(frozen=True, slots=True)
class Blend:
    """A Recommender by a linear blend of what its members say of an item.

    log_odds: of three inputs per member: its reciprocal rank, its score scaled from 0 at its last counted
    place to 1 at its first, and its listing the item at all; all 0 where it does not. Its log-odds that the
    item is watched next are the score. Items that no member lists in its first `depth` places follow as the
    first member has them, scored below all others.
    """

    members: Mapping[str, Recommender]
    log_odds: LogOdds
    depth: int

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items of highest log-odds."""
        listed = _listed(self.members, queries, self.depth)
        return _ranked(
            listed, self.log_odds.of(listed.inputs()), next(iter(self.members.values())), queries, k
        )


def fit_fusion(members: Mapping[str, Recommender], settings: FusionSettings | None = None) -> Fusion:
    """Fusion of recommenders that rank one catalogue; nothing is learned."""
    settings = settings or FusionSettings()
    check_ranges(settings, "fusion")
    _check_members(members, "fusion")
    return Fusion(dict(members), settings)


def fit_blend(
    members: Mapping[str, Recommender], validation: HeldOut, settings: BlendSettings | None = None
) -> Blend:
    """Blend of recommenders that were fitted without the answers of the validation questions.

    Logistic regression (scikit-learn) of whether an item that a member lists is an answer: stacking, Wolpert
    1992, doi:10.1016/S0893-6080(05)80023-1. Raises MissingExtraError without scikit-learn, TrainingError
    where no member lists any answer or the optimiser does not converge.
    """
    settings = settings or BlendSettings()
    check_ranges(settings, "blend")
    _check_members(members, "blend")
    questions = Queries(validation.history, validation.time_seconds, validation.country, validation.profiles)
    listed = _listed(members, questions, settings.depth)
    width = 1 + max(
        (int(part.max()) for part in (listed.item_row, validation.target_row) if len(part)), default=0
    )
    asked = np.repeat(np.arange(len(validation)), np.diff(validation.target_offset))
    watched = np.isin(listed.query * width + listed.item_row, asked * width + validation.target_row)
    log_odds = fit_logistic(listed.inputs(), watched, settings.logistic, "blend")
    log.info("fitted blend num_members=%d num_questions=%d", len(members), len(validation))
    return Blend(dict(members), log_odds, settings.depth)


def _check_members(members: Mapping[str, Recommender], key: str) -> None:
    if not members:
        raise ConfigError(f"{key}.members: none; expected at least one recommender")


@dataclass(frozen=True, slots=True)
class _Listed:
    """Every (query, item) that one of M members lists, by query, then row.

    rank: float64 (C, M), from 1; NaN where the member does not list the item. score: float64 (C, M), scaled
    within the member's list from 1 at its first place to 0 at its last.
    """

    query: Int64[np.ndarray, " C"]
    item_row: Int64[np.ndarray, " C"]
    rank: Float64[np.ndarray, "C M"]
    score: Float64[np.ndarray, "C M"]

    def inputs(self) -> Float64[np.ndarray, "C F"]:
        """Reciprocal rank, scaled score and being listed, of each member in turn."""
        listed = ~np.isnan(self.rank)
        parts = np.stack([1.0 / np.where(listed, self.rank, np.inf), self.score, listed], axis=2)
        return parts.reshape(len(self.rank), 3 * self.rank.shape[1])


def _listed(members: Mapping[str, Recommender], queries: Queries, depth: int) -> _Listed:
    """What the members list in their first `depth` places."""
    lists = [member.rank(queries, depth) for member in members.values()]
    width = 1 + max((int(part.item_row.max()) for part in lists if part.item_row.size), default=0)
    found = [np.nonzero(part.item_row != PAD) for part in lists]
    cells = [
        query * width + part.item_row[query, place] for part, (query, place) in zip(lists, found, strict=True)
    ]
    pair, slot = np.unique(np.concatenate(cells), return_inverse=True)
    slots = np.split(slot.reshape(-1), np.cumsum([len(cell) for cell in cells])[:-1])
    rank, score = np.full((len(pair), len(lists)), np.nan), np.zeros((len(pair), len(lists)))
    for member, (part, (query, place)) in enumerate(zip(lists, found, strict=True)):
        rank[slots[member], member] = place + 1.0
        score[slots[member], member] = _scaled(part)[query, place]
    query, item_row = np.divmod(pair, width)
    return _Listed(query, item_row, rank, score)


def _scaled(rankings: Rankings) -> Float64[np.ndarray, "Q K"]:
    """Scores from 1 at the first place to 0 at the last filled one; 1 where all are equal."""
    filled = rankings.item_row != PAD
    score = np.where(filled, rankings.score.astype(np.float64), np.nan)
    least = np.fmin.reduce(score, axis=1, keepdims=True)
    span = score[:, :1] - least
    scaled: np.ndarray = np.where(span > 0.0, (score - least) / np.where(span > 0.0, span, 1.0), 1.0)
    return scaled


def _ranked(
    listed: _Listed, score: Float64[np.ndarray, " C"], first: Recommender, queries: Queries, k: int
) -> Rankings:
    """The k highest scored items of each query, ties by row; then as `first` ranks what was not listed."""
    check_k(k)
    item_row = np.full((len(queries), k), PAD, dtype=np.int64)
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    order = np.lexsort((listed.item_row, -score, listed.query))
    query = listed.query[order]
    num_listed = np.bincount(query, minlength=len(queries))
    place = np.arange(len(query)) - np.repeat(np.cumsum(num_listed) - num_listed, num_listed)
    shown = place < k
    item_row[query[shown], place[shown]] = listed.item_row[order][shown]
    best[query[shown], place[shown]] = score[order][shown]
    short = np.flatnonzero(num_listed < k)
    if len(short):
        _append(item_row, best, short, num_listed, first.rank(queries.select(short), k).item_row)
    return Rankings(item_row, best)


def _append(
    item_row: Int64[np.ndarray, "Q K"],
    best: np.ndarray,
    short: Int64[np.ndarray, " n"],
    num_listed: Int64[np.ndarray, " Q"],
    rest: Int64[np.ndarray, "n K"],
) -> None:
    """Fills the lines `short`, in place, with the items of `rest` that they do not hold yet."""
    num_places = item_row.shape[1]
    for query, line in zip(short.tolist(), rest, strict=True):
        held = item_row[query, : num_listed[query]]
        new = line[(line != PAD) & ~np.isin(line, held)][: num_places - len(held)]
        stop = len(held) + len(new)
        item_row[query, len(held) : stop] = new
        least = np.float32(min(0.0, best[query, len(held) - 1])) if len(held) else np.float32(0)
        step = max(np.float32(1), abs(least)) * _STEP
        best[query, len(held) : stop] = least - step * np.arange(1, len(new) + 1, dtype=np.float32)
