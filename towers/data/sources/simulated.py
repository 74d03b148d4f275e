"""A simulated streaming service: the embedded default of the demo, with a truth that tests can ask for."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64

from towers.data.schema import EVENTS, ITEMS, PROFILES, QUERIES, TIME, Tables, table, validate
from towers.data.simulator.audience import Audience, affinity, make_audience
from towers.data.simulator.catalogue import LANGUAGE_OF, LANGUAGES, Catalogue, make_catalogue
from towers.data.simulator.searches import draw_searches
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.data.simulator.watches import ChoiceWeights, choose, draw_minutes, draw_starts, draw_visits
from towers.data.simulator.words import AGE_BANDS, COUNTRIES, GENRES, MATURITY
from towers.settings import bounded, check_ranges

log = logging.getLogger(__name__)

LOG_START_MS = 1_672_617_600_000
"""When the log begins: Monday 2 January 2023, 00:00 UTC, in Unix milliseconds."""
WEEK_MS = 7 * 24 * 60 * 60 * 1000

_AWAY_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class SimulatedSettings:
    """How large the service is, and what moves its audience.

    taste_weight, popularity_weight, sequence_weight: how much a profile's tastes, the appeal of a title and
    what was watched before it weigh in a choice; with 0 it does not. accident_share: plays nobody meant.
    arrival_share, cold_share: titles that arrive during the log, and as it ends, watched by nobody.
    sequel_share: titles that continue another. query_share: watches that a search came before.
    """

    num_profiles: int = bounded(2000, ge=1)
    num_items: int = bounded(1200, ge=len(SUB_GENRES), le=50_000)
    num_events: int = bounded(60_000, ge=1)
    seed: int = bounded(7, ge=0)
    taste_weight: float = bounded(1.0, ge=0.0, le=10.0)
    popularity_weight: float = bounded(1.0, ge=0.0, le=10.0)
    sequence_weight: float = bounded(1.0, ge=0.0, le=10.0)
    accident_share: float = bounded(0.05, ge=0.0, lt=1.0)
    arrival_share: float = bounded(0.2, ge=0.0, le=0.5)
    cold_share: float = bounded(0.02, ge=0.0, le=0.3)
    sequel_share: float = bounded(0.08, ge=0.0, le=0.3)
    query_share: float = bounded(0.05, ge=0.0, le=1.0)

    @property
    def title(self) -> str:
        """What a report calls this data."""
        return f"simulated service, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class World:
    """A simulated service and the truth behind it.

    tables: what a service would have logged.
    catalogue, audience: titles and profiles with what is latent in them, in the rows of the tables.
    accidental: bool (E,), events of `tables.events` that nobody meant.
    """

    tables: Tables
    catalogue: Catalogue
    audience: Audience
    accidental: Bool[np.ndarray, " E"]

    def affinity(self, profile_rows: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n N"]:
        """The true relevance of every title to the profiles given; popularity and order are no part of it."""
        return affinity(self.audience, self.catalogue, profile_rows)

    def arrival_ms(self) -> Int64[np.ndarray, " N"]:
        """When each title came on offer, in Unix milliseconds."""
        arrival: np.ndarray = LOG_START_MS + self.catalogue.arrival_week * WEEK_MS
        return arrival


def read_simulated(settings: SimulatedSettings) -> Tables:
    """The tables of a simulated service; the same settings and numpy give the same bytes on every machine."""
    return simulate(settings).tables


def simulate(settings: SimulatedSettings) -> World:
    """A simulated service and its truth.

    Raises ConfigError on a setting out of range, and SchemaError where the counts are impossible together:
    more events than the profiles can watch without watching a title twice.
    """
    check_ranges(settings, "simulated")
    catalogue_rng, audience_rng, visit_rng, choice_rng, watch_rng, search_rng = np.random.default_rng(
        settings.seed
    ).spawn(6)
    catalogue = make_catalogue(
        catalogue_rng,
        settings.num_items,
        arrival_share=settings.arrival_share,
        cold_share=settings.cold_share,
        sequel_share=settings.sequel_share,
    )
    audience = make_audience(audience_rng, settings.num_profiles, catalogue)
    visits = draw_visits(visit_rng, settings.num_profiles, settings.num_events, catalogue)
    weights = ChoiceWeights(
        settings.taste_weight, settings.popularity_weight, settings.sequence_weight, settings.accident_share
    )
    choices = choose(choice_rng, audience, catalogue, visits, weights)
    tenths = draw_minutes(watch_rng, catalogue, choices)
    start_ms = LOG_START_MS + draw_starts(watch_rng, visits, tenths)
    profile_row = np.repeat(np.arange(len(audience)), np.diff(visits.offset))
    country = np.where(
        watch_rng.random(len(profile_row)) < _AWAY_SHARE,
        watch_rng.integers(0, len(COUNTRIES), len(profile_row)),
        audience.country[profile_row],
    )
    order = np.argsort(start_ms, kind="stable")  # a service logs what happens as it happens
    watches = _Watches(*(a[order] for a in (profile_row, choices.item_row, start_ms, tenths, country)))
    item_id, profile_id = _ids("t", len(catalogue)), _ids("p", len(audience))
    tables = Tables(
        items=_item_table(catalogue, item_id),
        events=_event_table(watches, profile_id, item_id),
        profiles=_profile_table(audience, profile_id),
        queries=_query_table(search_rng, catalogue, watches, profile_id, item_id, settings.query_share),
    )
    validate(tables, "simulated")
    log.info(
        "simulated a service num_items=%d num_profiles=%d num_events=%d num_queries=%d seed=%d",
        *(tables.items.num_rows, tables.profiles.num_rows, tables.events.num_rows, tables.queries.num_rows),
        settings.seed,
    )
    return World(tables, catalogue, audience, choices.accidental[order])


@dataclass(frozen=True, slots=True)
class _Watches:
    """Events in order of time, one array entry each; minutes in tenths, country as a row of COUNTRIES."""

    profile_row: Int64[np.ndarray, " E"]
    item_row: Int64[np.ndarray, " E"]
    start_ms: Int64[np.ndarray, " E"]
    tenths: Int64[np.ndarray, " E"]
    country: Int64[np.ndarray, " E"]


def _item_table(catalogue: Catalogue, item_id: pa.Array) -> pa.Table:
    genres = [genre.name for genre in GENRES]
    people = catalogue.people
    codes = [country.code for country in COUNTRIES]
    both_sub_genres = list(
        zip(catalogue.sub_genre.tolist(), catalogue.second_sub_genre.tolist(), strict=True)
    )
    both_countries = zip(catalogue.country.tolist(), catalogue.second_country.tolist(), strict=True)
    return table(
        ITEMS,
        {
            "item_id": item_id,
            "title": list(catalogue.titles),
            "release_year": catalogue.year.astype(np.int16),
            "genres": [
                list(dict.fromkeys(genres[GENRE_OF[row]] for row in rows if row >= 0))
                for rows in both_sub_genres
            ],
            "sub_genres": [[SUB_GENRES[row] for row in rows if row >= 0] for rows in both_sub_genres],
            "cast": [[people[row] for row in rows if row >= 0] for rows in catalogue.cast.tolist()],
            "directors": [[people[row]] for row in catalogue.director.tolist()],
            "countries": [[codes[row] for row in rows if row >= 0] for rows in both_countries],
            "language": _take(LANGUAGES, LANGUAGE_OF[catalogue.country]),
            "maturity": _take(MATURITY, catalogue.maturity),
            "rating": catalogue.rating,
            "duration_minutes": catalogue.duration.astype(np.float32),
            "synopsis": list(catalogue.synopses),
        },
    )


def _profile_table(audience: Audience, profile_id: pa.Array) -> pa.Table:
    return table(
        PROFILES,
        {
            "profile_id": profile_id,
            "country": _take([country.code for country in COUNTRIES], audience.country),
            "language": _take(LANGUAGES, audience.language),
            "age_band": _take(AGE_BANDS, audience.age_band),
        },
    )


def _event_table(watches: _Watches, profile_id: pa.Array, item_id: pa.Array) -> pa.Table:
    return table(
        EVENTS,
        {
            "profile_id": profile_id.take(watches.profile_row),
            "item_id": item_id.take(watches.item_row),
            "start": pa.array(watches.start_ms, TIME),
            "minutes_watched": (watches.tenths / 10.0).astype(np.float32),
            "country": _take([country.code for country in COUNTRIES], watches.country),
        },
    )


def _query_table(
    rng: np.random.Generator,
    catalogue: Catalogue,
    watches: _Watches,
    profile_id: pa.Array,
    item_id: pa.Array,
    share: float,
) -> pa.Table:
    searches = draw_searches(rng, catalogue, watches.item_row, share)
    time_ms = watches.start_ms[searches.event] - searches.lead_ms
    order = np.argsort(time_ms, kind="stable")
    event = searches.event[order]
    played = searches.item_row[order]
    return table(
        QUERIES,
        {
            "profile_id": profile_id.take(watches.profile_row[event]),
            "text": pa.array(searches.text, pa.string()).take(order),
            "time": pa.array(time_ms[order], TIME),
            "country": _take([country.code for country in COUNTRIES], watches.country[event]),
            "item_id": item_id.take(pa.array(played, mask=played < 0)),
        },
    )


def _ids(prefix: str, count: int) -> pa.Array:
    width = len(str(count - 1))
    return pa.array([f"{prefix}{row:0{width}d}" for row in range(count)], pa.string())


def _take(values: Sequence[str], rows: Int64[np.ndarray, " n"]) -> pa.Array:
    return pa.array(values, pa.string()).take(rows)
