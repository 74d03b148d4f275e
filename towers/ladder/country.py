"""The rung of popularity where the request comes from."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.data.histories import Histories
from towers.errors import QueryError
from towers.ladder.heuristics import Popular, fit_popular
from towers.ladder.popularity import rank_by_group
from towers.recommender import Queries, Rankings, check_history, check_k
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CountrySettings:
    """prior_events: a country's own events weigh as much as the whole's when it has so many."""

    prior_events: float = bounded(1000.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class CountryPopular:
    """A Recommender by popularity in the country of the request, the own history left out.

    score(i | c) = (n_ic + m · n_i / n) / (n_c + m), where n_ic train events of item i are of profiles of
    country c, n_i and n_c are the sums over countries and items, n is that over both, and m `prior_events`.
    A country with few events is answered much as the whole, an unknown one, n_c = 0, exactly so. Equals are
    placed by n_i and then by row. Source: Dirichlet smoothing, Zhai and Lafferty, TOIS 2004,
    doi:10.1145/984321.984322.

    popular: popularity over all of train.
    country: str (C,), the countries of train, ascending.
    offset: int64 (C+1,), country c owns the places offset[c]:offset[c+1] of item_row and num_watches.
    item_row: int64 (V,), the items watched there, best first; num_watches: int64 (V,), how often.
    num_events: int64 (C+1,), events of each country; the last is the unknown one's and 0.
    """

    popular: Popular
    country: np.ndarray
    offset: Int64[np.ndarray, " C1"]
    item_row: Int64[np.ndarray, " V"]
    num_watches: Int64[np.ndarray, " V"]
    num_events: Int64[np.ndarray, " C1"]
    prior_events: float

    def rank(self, queries: Queries, k: int) -> Rankings:
        """The k items most popular in each query's country."""
        check_k(k)
        check_history(queries.history, len(self.popular.order))
        return rank_by_group(queries.history, k, _rows_of(queries.country, self.country), self._leaders)

    def _leaders(self, country: int, num_places: int) -> tuple[np.ndarray, np.ndarray]:
        """The best of those watched there and of all: an item beyond both heads has enough before it."""
        start = self.offset[country]
        stop = min(start + num_places, self.offset[min(country + 1, len(self.country))])
        head = self.popular.order[:num_places]
        head = head[~np.isin(head, self.item_row[start:stop])]
        item = np.concatenate([self.item_row[start:stop], head])
        num_watches = np.concatenate([self.num_watches[start:stop], np.zeros(len(head), np.int64)])
        score = _score(self.popular, item, num_watches, self.num_events[country], self.prior_events)
        order = np.lexsort((item, -self.popular.num_watches[item], -score))[:num_places]
        return item[order], score[order]


def fit_country_popular(
    train: Histories, num_items: int, country: np.ndarray, settings: CountrySettings | None = None
) -> CountryPopular:
    """CountryPopular of the train events over a catalogue of `num_items`.

    country: str (P,), of each profile of train, "" where unknown: its events count for the whole alone.
    Raises QueryError where there are not as many countries as profiles.
    """
    settings = settings or CountrySettings()
    check_ranges(settings, "country")
    if len(country) != len(train):
        raise QueryError(f"country: {len(country)} countries for {len(train)} profiles; expected as many")
    popular = fit_popular(train, num_items)
    names = np.unique(country[country != ""]).astype(np.str_)
    row = np.repeat(_rows_of(country, names), train.lengths)
    known = row < len(names)
    pair, num_watches = np.unique(row[known] * num_items + train.item_row[known], return_counts=True)
    of_country, item = np.divmod(pair, num_items)
    num_events = np.bincount(row[known], minlength=len(names) + 1)
    score = _score(popular, item, num_watches, num_events[of_country], settings.prior_events)
    best = np.lexsort((item, -popular.num_watches[item], -score, of_country))
    log.info("fitted country_popular num_events=%d num_countries=%d", train.num_events, len(names))
    return CountryPopular(
        popular=popular,
        country=names,
        offset=np.searchsorted(of_country, np.arange(len(names) + 1)),
        item_row=item[best],
        num_watches=num_watches[best],
        num_events=num_events,
        prior_events=settings.prior_events,
    )


def _score(
    popular: Popular,
    item_row: Int64[np.ndarray, " n"],
    num_watches: Int64[np.ndarray, " n"],
    num_events: Int64[np.ndarray, " n"] | np.int64,
    prior_events: float,
) -> Float64[np.ndarray, " n"]:
    whole = popular.num_watches[item_row] / max(1, len(popular.item_row))
    score: np.ndarray = (num_watches + prior_events * whole) / (num_events + prior_events)
    return score


def _rows_of(country: np.ndarray, names: np.ndarray) -> Int64[np.ndarray, " n"]:
    """The place of each country in the ascending `names`; len(names) where it is not there."""
    at = np.searchsorted(names, country)
    known = np.zeros(len(country), np.bool_)
    within = at < len(names)
    known[within] = names[at[within]] == country[within]
    return np.where(known, at, len(names))
