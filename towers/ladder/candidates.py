"""Candidates of the learned rankers: what the cheap rungs find for a query, with features of each pair."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Float64, Int64

from towers.data.columns import days
from towers.data.days import DAYS_PER_YEAR, SECONDS_PER_DAY
from towers.data.histories import Histories
from towers.errors import ConfigError, QueryError
from towers.ladder.catalogue import most_watched, rank_catalogue
from towers.ladder.facts import CountryWatches, Labels, LastWatches, country_watches, labels_of, last_watches
from towers.ladder.heuristics import PopularSettings, fit_popular
from towers.ladder.markov import MarkovSettings, fit_markov
from towers.ladder.neighbours import ItemKNNSettings, fit_item_knn
from towers.recommender import Queries, Rankings, Recommender
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

_YEAR_SECONDS = DAYS_PER_YEAR * SECONDS_PER_DAY
_NUM_RECENT = 5
# Values that the features of a candidate take while they are made, about.
_VALUES_PER_CANDIDATE = 64


class FeatureGroup(StrEnum):
    """Features that are taken or left together."""

    SCORES = "scores"
    """What is watched together and in turn: scores and ranks of item-kNN and of the Markov counts."""
    POPULARITY = "popularity"
    """Scores and ranks of popular and of recently popular; events of the item, also by country."""
    CONTENT = "content"
    """Genres and people that the item shares with the history."""
    TIME = "time"
    """Days since the item's last event; its age."""
    HISTORY = "history"
    """The history's length: the same for all candidates of a query, so it only speaks beside others."""


class Feature(StrEnum):
    """What a ranker knows of a query and a candidate, in the order of the columns.

    All counts are of train events. A score or a rank of a rung that does not list the candidate is 0.
    """

    ITEM_KNN_SCORE = "item_knn_score"
    """log(1 + score) of item-kNN."""
    ITEM_KNN_RECIPROCAL_RANK = "item_knn_reciprocal_rank"
    MARKOV_SCORE = "markov_score"
    """log(1 + score) of the Markov counts."""
    MARKOV_RECIPROCAL_RANK = "markov_reciprocal_rank"
    POPULAR_SCORE = "popular_score"
    """log(1 + share of all events)."""
    POPULAR_RECIPROCAL_RANK = "popular_reciprocal_rank"
    RECENT_SCORE = "recent_score"
    """log(1 + events in the days before the request)."""
    RECENT_RECIPROCAL_RANK = "recent_reciprocal_rank"
    POPULARITY = "popularity"
    """log(1 + events of the item)."""
    COUNTRY_POPULARITY = "country_popularity"
    """log(1 + events of the item by profiles of the query's country)."""
    WATCHED_DAYS_AGO = "watched_days_ago"
    """log(1 + days) from the item's last event before the request; NaN without one."""
    ITEM_AGE_YEARS = "item_age_years"
    """Years from the middle of the release year to the request; NaN where the year is not known."""
    GENRE_OVERLAP = "genre_overlap"
    """Mean over the item's genres of the share of the history's events that have the genre too."""
    RECENT_GENRE_OVERLAP = "recent_genre_overlap"
    """The same with the last five events of the history."""
    PEOPLE_OVERLAP = "people_overlap"
    """The same as genre_overlap with cast and directors."""
    HISTORY_LENGTH = "history_length"
    """log(1 + events of the history)."""

    @property
    def group(self) -> FeatureGroup:
        """The group that it belongs to."""
        match self:
            case (
                Feature.ITEM_KNN_SCORE
                | Feature.ITEM_KNN_RECIPROCAL_RANK
                | Feature.MARKOV_SCORE
                | Feature.MARKOV_RECIPROCAL_RANK
            ):
                return FeatureGroup.SCORES
            case Feature.WATCHED_DAYS_AGO | Feature.ITEM_AGE_YEARS:
                return FeatureGroup.TIME
            case Feature.GENRE_OVERLAP | Feature.RECENT_GENRE_OVERLAP | Feature.PEOPLE_OVERLAP:
                return FeatureGroup.CONTENT
            case Feature.HISTORY_LENGTH:
                return FeatureGroup.HISTORY
            case _:
                return FeatureGroup.POPULARITY


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """num_per_rung: the first so many items of each rung are candidates. The rest: settings of the rungs.

    features: the groups that a ranker learns from, one at the least. Candidates are the same whichever.
    """

    num_per_rung: int = bounded(200, ge=1)
    features: list[FeatureGroup] = field(default_factory=lambda: list(FeatureGroup))
    item_knn: ItemKNNSettings = field(default_factory=ItemKNNSettings)
    markov: MarkovSettings = field(default_factory=MarkovSettings)
    popular: PopularSettings = field(default_factory=PopularSettings)
    recent: PopularSettings = field(default_factory=lambda: PopularSettings(days=7.0))

    def __post_init__(self) -> None:
        if not self.features:
            raise ConfigError(f"candidates.features: none; expected some of {', '.join(FeatureGroup)}")

    @property
    def columns(self) -> tuple[Feature, ...]:
        """The features of those groups, in order."""
        return tuple(feature for feature in Feature if feature.group in self.features)


@dataclass(frozen=True, slots=True)
class Candidates:
    """C candidates of Q queries, by query, then by row.

    query, item_row: int64 (C,). features: float32 (C, F), the columns of their source.
    """

    query: Int64[np.ndarray, " C"]
    item_row: Int64[np.ndarray, " C"]
    features: Float32[np.ndarray, "C F"]


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What the items table says of N items.

    released: float64 (N,), when each came out, in years such as 1999.5; of a title of which only the year is
    known, the middle of it; NaN where not even that is. genres, people: the Labels of each; people are cast
    and directors.
    """

    released: Float64[np.ndarray, " N"]
    genres: Labels
    people: Labels

    def __len__(self) -> int:
        return len(self.released)


def item_facts(items: pa.Table) -> ItemFacts:
    """The ItemFacts of an items table, in its order."""
    year = pc.fill_null(items["release_year"].cast(pa.float64()), float("nan")).to_numpy()
    day = 1970.0 + days(items, "released") * SECONDS_PER_DAY / _YEAR_SECONDS
    return ItemFacts(
        released=np.where(np.isfinite(day), day, year + 0.5),
        genres=labels_of(items, ["genres"]),
        people=labels_of(items, ["cast", "directors"]),
    )


@dataclass(frozen=True, slots=True)
class CandidateSource:
    """Candidates and their features for any queries, learned from one set of train events.

    rungs: item-kNN, Markov, popular and recently popular, in this order; each gives two features.
    order: int64 (N,), all items, the most watched first.
    num_watches: int64 (N,), train events of each item.
    columns: of Feature, those that are given.
    """

    rungs: tuple[Recommender, ...]
    order: Int64[np.ndarray, " N"]
    num_watches: Int64[np.ndarray, " N"]
    facts: ItemFacts
    last_watches: LastWatches
    by_country: CountryWatches
    num_per_rung: int
    columns: tuple[Feature, ...]

    def of(self, queries: Queries) -> Candidates:
        """The union of what the rungs list for each query, without what only fills their lists."""
        num_items, num_rungs = len(self.order), len(self.rungs)
        listed = [rung.rank(queries, min(self.num_per_rung, num_items)) for rung in self.rungs]
        # A rung scores above 0 what it has a reason for; below stands what it lists for completeness.
        found = [np.nonzero(rankings.score > 0.0) for rankings in listed]
        cell = [
            query * num_items + rankings.item_row[query, place]
            for rankings, (query, place) in zip(listed, found, strict=True)
        ]
        pair, slot = np.unique(np.concatenate(cell), return_inverse=True)
        query, item_row = np.divmod(pair, max(1, num_items))
        features = np.zeros((len(pair), len(Feature)), np.float32)
        slots = np.split(slot.reshape(-1), np.cumsum([len(part) for part in cell])[:-1])
        for rung in range(num_rungs):
            row, place = found[rung]
            features[slots[rung], 2 * rung] = np.log1p(listed[rung].score[row, place])
            features[slots[rung], 2 * rung + 1] = 1.0 / (1.0 + place)
        features[:, 2 * num_rungs :] = np.stack(self._facts_of(queries, query, item_row), axis=1)
        order = list(Feature)
        return Candidates(query, item_row, features[:, [order.index(column) for column in self.columns]])

    def _facts_of(self, queries: Queries, query: np.ndarray, item_row: np.ndarray) -> list[np.ndarray]:
        """The columns from POPULARITY on."""
        history, asked = queries.history, queries.time_seconds[query]
        seconds = self.last_watches.seconds_since(item_row, asked)
        year = 1970.0 + asked / _YEAR_SECONDS
        return [
            np.log1p(self.num_watches[item_row]),
            np.log1p(self.by_country.count(queries.country, query, item_row)),
            np.log1p(seconds / SECONDS_PER_DAY),
            year - self.facts.released[item_row],
            self.facts.genres.overlap(history, query, item_row),
            self.facts.genres.overlap(history.last(_NUM_RECENT), query, item_row),
            self.facts.people.overlap(history, query, item_row),
            np.log1p(history.lengths)[query],
        ]

    def cost(self, num_queries: int) -> Int64[np.ndarray, " Q"]:
        """Values held at once for each query, about."""
        return np.full(num_queries, self.num_per_rung * len(self.rungs) * _VALUES_PER_CANDIDATE, np.int64)

    def rank_by(
        self, score: Callable[[Float32[np.ndarray, "C F"]], np.ndarray], queries: Queries, k: int
    ) -> Rankings:
        """The k candidates of highest score, given their features; the other items follow by popularity."""

        def scores(part: Queries) -> Float32[np.ndarray, "Q N"]:
            candidates = self.of(part)
            found = np.full((len(part), len(self.order)), np.nan, np.float32)
            if len(candidates.query):
                found[candidates.query, candidates.item_row] = score(candidates.features)
            return found

        return rank_catalogue(queries, k, self.order, scores, self.cost(len(queries)))


def fit_candidates(
    train: Histories, facts: ItemFacts, country: np.ndarray, settings: CandidateSettings | None = None
) -> CandidateSource:
    """CandidateSource of the train events; `country` is that of each train profile, "" where unknown."""
    settings = settings or CandidateSettings()
    check_ranges(settings, "candidates")
    num_items = len(facts)
    if len(country) != len(train):
        raise QueryError(f"candidates: {len(country)} countries for {len(train)} profiles; expected as many")
    rungs = (
        fit_item_knn(train, num_items, settings.item_knn),
        fit_markov(train, num_items, settings.markov),
        fit_popular(train, num_items, settings.popular),
        fit_popular(train, num_items, settings.recent),
    )
    log.info("fitted candidates num_events=%d num_items=%d", train.num_events, num_items)
    return CandidateSource(
        rungs=rungs,
        order=most_watched(train, num_items),
        num_watches=np.bincount(train.item_row, minlength=num_items),
        facts=facts,
        last_watches=last_watches(train, num_items),
        by_country=country_watches(train, num_items, country),
        num_per_rung=settings.num_per_rung,
        columns=settings.columns,
    )
