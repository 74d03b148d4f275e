"""What is popular when: weekly weights of titles, shelves of sub-genres and the row on the home page."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt

from towers.data.simulator.calendar import NUM_WEEKS
from towers.data.simulator.catalogue import Catalogue
from towers.data.simulator.licences import Licences
from towers.data.simulator.numeric import POOL, gumbel, pools
from towers.data.simulator.titles import SUB_GENRES
from towers.data.simulator.words import COUNTRIES, KIDS_AGE_BANDS, MATURITY

NUM_PLACES = 20
"""Titles in the row on the home page."""
VIEWERS = (*range(len(KIDS_AGE_BANDS)), len(MATURITY) - 1)
"""The highest certificate of each kind of viewer who gets a row: two ages of children, and adults."""

_SECOND_SHARE = np.float32(0.5)
"""How much of a title's weight counts on the shelf of its second sub-genre."""
_NOVELTY = 2.0
_NOVELTY_WEEKS = 5.0
_MOST_DRAWN = 320
"""Titles drawn for a row; those that are not on offer in its country are passed over."""
_PERSISTENCE = 0.95
"""How much of a title's deviation from its usual appeal is left a week later."""


@dataclass(frozen=True, slots=True)
class Shock:
    """One title whose weight is multiplied in one week."""

    item_row: int
    week: int
    factor: float


@dataclass(frozen=True, slots=True)
class Demand:
    """Popularity by week, as weights and as pools to draw from.

    log_weight: float32 (W, N); -inf where a title is on offer nowhere.
    shelf: (W·S, 1024) rows of titles, a draw by popularity from one sub-genre in one week; titles count half
    where it is their second.
    row: (W·C·V, 20) rows of titles, in the places of the home page of a week, country and viewer.
    num_shown: int64 (W·C·V,), how many titles the row has; place: int64 (21, 1024), places to draw from, by
    how many there are.
    """

    log_weight: Float32[np.ndarray, "W N"]
    shelf: UInt[np.ndarray, "WS 1024"]
    row: UInt[np.ndarray, "WCV 20"]
    num_shown: Int64[np.ndarray, " WCV"]
    place: Int64[np.ndarray, "21 1024"]
    shock: Shock | None


def row_of_home(
    week: Int64[np.ndarray, "*shape"], country: Int64[np.ndarray, "*shape"], cap: Int64[np.ndarray, "*shape"]
) -> Int64[np.ndarray, "*shape"]:
    """Which row of the home page is shown, given the highest certificate of who looks."""
    viewer = np.minimum(cap, len(VIEWERS) - 1)
    line: np.ndarray = (week * len(COUNTRIES) + country) * len(VIEWERS) + viewer
    return line


def make_demand(
    rng: np.random.Generator,
    catalogue: Catalogue,
    licences: Licences,
    *,
    popularity_weight: float,
    popularity_drift: float,
    position_bias: float,
    popularity_shock: float,
) -> Demand:
    """Weights, shelves and rows of every week.

    Log-weight = appeal · popularity_weight + an autoregressive walk of deviation popularity_drift + a lift
    that fades while a title is new; the shocked title's weight gains popularity_shock times itself.
    """
    shelf_rng, row_rng, place_rng, shock_rng = rng.spawn(4)
    log_weight = (popularity_weight * catalogue.appeal + _novelty(catalogue)).astype(np.float32)
    if popularity_drift > 0:
        log_weight += popularity_drift * _walk(rng, len(catalogue))
    shock = None
    if popularity_shock > 0:
        shock = _draw_shock(shock_rng, catalogue, licences, 1.0 + popularity_shock)
        log_weight[shock.week, shock.item_row] += np.float32(np.log(shock.factor))
    log_weight[licences.on_offer == 0] = -np.inf
    row, num_shown = _rows(row_rng, catalogue, licences, log_weight)
    return Demand(
        log_weight=log_weight,
        shelf=_shelves(shelf_rng, catalogue, log_weight),
        row=row,
        num_shown=num_shown,
        place=_places(place_rng, position_bias),
        shock=shock,
    )


def _novelty(catalogue: Catalogue) -> np.ndarray:
    age = np.arange(NUM_WEEKS)[:, None] - catalogue.arrival_week
    lift = _NOVELTY * np.exp(-np.maximum(age, 0) / _NOVELTY_WEEKS)
    novelty: np.ndarray = np.where(catalogue.arrival_week == 0, 0.0, lift)
    return novelty


def _walk(rng: np.random.Generator, num_items: int) -> np.ndarray:
    """float32 (W, N), of variance 1 in every week."""
    walk = rng.standard_normal((NUM_WEEKS, num_items), dtype=np.float32)
    fresh = np.float32(np.sqrt(1 - _PERSISTENCE**2))
    for week in range(1, NUM_WEEKS):
        walk[week] = np.float32(_PERSISTENCE) * walk[week - 1] + fresh * walk[week]
    return walk


def _draw_shock(rng: np.random.Generator, catalogue: Catalogue, licences: Licences, factor: float) -> Shock:
    """A title of middling appeal that is always on offer everywhere (one of the evergreens, if none is)."""
    everywhere = (licences.on_offer == (1 << len(COUNTRIES)) - 1).all(axis=0)
    everywhere[catalogue.evergreen] = False
    rows = np.flatnonzero(everywhere) if everywhere.any() else catalogue.evergreen
    middling = rows[np.argsort(np.abs(catalogue.appeal[rows]), kind="stable")[: max(1, len(rows) // 10)]]
    return Shock(int(rng.choice(middling)), int(rng.integers(NUM_WEEKS // 3, NUM_WEEKS - 10)), factor)


def _shelves(rng: np.random.Generator, catalogue: Catalogue, log_weight: np.ndarray) -> np.ndarray:
    weight = np.exp(log_weight)
    shelf = np.empty((NUM_WEEKS, len(SUB_GENRES), POOL), _row_type(catalogue))
    for sub_genre in range(len(SUB_GENRES)):
        is_first, is_second = catalogue.sub_genre == sub_genre, catalogue.second_sub_genre == sub_genre
        rows = np.flatnonzero(is_first | is_second)
        share = np.where(is_first[rows], np.float32(1), _SECOND_SHARE)
        shelf[:, sub_genre] = pools(rng, share * weight[:, rows], rows)
    return shelf.reshape(-1, POOL)


def _rows(
    rng: np.random.Generator, catalogue: Catalogue, licences: Licences, log_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Up to 20 titles drawn by popularity, without replacement, in places that owe nothing to popularity."""
    score = log_weight + gumbel(rng, log_weight.shape).astype(np.float32)
    row = np.full((NUM_WEEKS, len(COUNTRIES), len(VIEWERS), NUM_PLACES), catalogue.evergreen[0])
    num_shown = np.zeros(row.shape[:3], np.int64)
    for viewer, cap in enumerate(VIEWERS):
        fit = np.flatnonzero(catalogue.maturity <= cap)
        drawn = fit[np.argsort(-score[:, fit], axis=1, kind="stable")[:, :_MOST_DRAWN]]
        bits = np.take_along_axis(licences.on_offer, drawn, axis=1)
        for country in range(len(COUNTRIES)):
            week, column = np.nonzero(bits & np.uint16(1 << country))
            rank = np.arange(len(week)) - np.searchsorted(week, np.arange(NUM_WEEKS))[week]
            week, column, rank = (entry[rank < NUM_PLACES] for entry in (week, column, rank))
            row[week, country, viewer, rank] = drawn[week, column]
            num_shown[:, country, viewer] = np.bincount(week, minlength=NUM_WEEKS)
    # Where nothing that was drawn is on offer, one title for the youngest is.
    lines, shown = row.reshape(-1, NUM_PLACES), np.maximum(num_shown.ravel(), 1)
    shuffled = np.where(np.arange(NUM_PLACES) < shown[:, None], rng.random(lines.shape), 2.0)
    places = np.argsort(shuffled, axis=1, kind="stable")
    return np.take_along_axis(lines, places, axis=1).astype(_row_type(catalogue)), shown


def _places(rng: np.random.Generator, position_bias: float) -> np.ndarray:
    place = np.arange(NUM_PLACES)
    weight = np.where(place < np.arange(NUM_PLACES + 1)[:, None], (1.0 + place) ** -position_bias, 0.0)
    return pools(rng, weight, place)


def _row_type(catalogue: Catalogue) -> np.dtype[np.unsignedinteger]:
    """The narrowest type that holds a row: pools are read at random, and the smaller the faster."""
    return np.min_scalar_type(len(catalogue))
