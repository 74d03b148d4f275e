"""A simulated streaming service: the embedded default of the demo, with a truth that tests can ask for."""

import logging
import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from towers.data.schema import Tables
from towers.data.simulator.audience import Audience, make_audience
from towers.data.simulator.calendar import LOG_START_MS, WEEK_MS
from towers.data.simulator.catalogue import make_catalogue
from towers.data.simulator.demand import make_demand
from towers.data.simulator.licences import make_licences
from towers.data.simulator.liking import Liking
from towers.data.simulator.log import Ids, event_table, item_table, profile_table, query_table, with_attribute
from towers.data.simulator.numeric import offsets
from towers.data.simulator.searches import Searches, make_phrases
from towers.data.simulator.segments import country_of, members
from towers.data.simulator.service import WATCH, Service
from towers.data.simulator.sessions import Lives, draw_lives
from towers.data.simulator.settings import Leak, SimulatedSettings
from towers.data.simulator.stage import set_stage
from towers.data.simulator.world import World
from towers.settings import check_ranges

__all__ = [
    "LOG_START_MS",
    "WEEK_MS",
    "Leak",
    "SimulatedSettings",
    "World",
    "read_simulated",
    "simulate",
]

log = logging.getLogger(__name__)

_PROFILES_PER_PART = 4096
_EVENTS_PER_PART = 1 << 19
_MAX_THREADS = 4


def read_simulated(settings: SimulatedSettings) -> Tables:
    """The tables of a simulated service; the same settings give the same bytes, whatever the threads."""
    return simulate(settings).tables


def simulate(settings: SimulatedSettings, num_threads: int | None = None) -> World:
    """A simulated service and its truth.

    num_threads: threads that draw at once, as many as there are cores up to four without it; what is drawn
    does not depend on it.
    Raises ConfigError on a setting out of range, and SchemaError where the counts are impossible together:
    more events than the profiles have days, or more titles than the words make.
    """
    check_ranges(settings, "simulated")
    with ThreadPoolExecutor(num_threads or min(_num_cores(), _MAX_THREADS)) as threads:
        world = _simulate(settings, threads)
    tables = world.tables
    log.info(
        "simulated a service num_items=%d num_profiles=%d num_events=%d num_queries=%d seed=%d",
        *(tables.items.num_rows, tables.profiles.num_rows, tables.events.num_rows, tables.queries.num_rows),
        settings.seed,
    )
    return world


def _simulate(settings: SimulatedSettings, threads: Executor) -> World:
    rngs = np.random.default_rng(settings.seed).spawn(7)
    catalogue_rng, licence_rng, demand_rng, audience_rng, lives_rng, phrase_rng, service_rng = rngs
    catalogue = make_catalogue(
        catalogue_rng,
        settings.items,
        arrival_share=settings.arrival_share,
        cold_share=settings.cold_share,
        sequel_share=settings.sequel_share,
    )
    # Of text, and of no use to the titles and profiles drawn meanwhile.
    phrases = threads.submit(make_phrases, phrase_rng, catalogue)
    underserved = settings.underserved_segment
    licences = make_licences(
        licence_rng, catalogue, settings.window_share, (country_of(underserved), settings.underserved)
    )
    item_ids, profile_ids = Ids("t", settings.items), Ids("p", settings.profiles)
    items = threads.submit(item_table, catalogue, licences, item_ids)
    demand = make_demand(
        demand_rng,
        catalogue,
        licences,
        popularity_weight=settings.popularity_weight,
        popularity_drift=settings.popularity_drift,
        position_bias=settings.position_bias,
        popularity_shock=settings.popularity_shock,
    )
    audience = make_audience(
        audience_rng, settings.profiles, catalogue, settings.kids_share, settings.drift_rate
    )
    activity = np.where(members(audience, underserved), 1.0 - settings.underserved, 1.0)
    lives = draw_lives(lives_rng, settings.num_events, activity)
    service = Service(
        settings=settings,
        catalogue=catalogue,
        licences=licences,
        stage=set_stage(catalogue, licences, demand),
        liking=Liking(catalogue),
        phrases=phrases.result(),
    )
    watches, searches = _run(service, service_rng, audience, lives, threads)
    profiles = threads.submit(profile_table, audience, profile_ids)
    watches, searches, events = _in_order_of_time(watches, searches, profile_ids, item_ids, threads)
    tables = Tables(
        items=items.result(),
        events=events,
        profiles=profiles.result(),
        queries=query_table(searches, service.phrases, watches, profile_ids, item_ids),
    )
    return World(
        settings=settings,
        tables=_leaked(tables, settings.leak, watches, item_ids),
        catalogue=catalogue,
        licences=licences,
        demand=demand,
        audience=audience,
        watches=watches,
        searches=searches,
        spelled=service.phrases.text.take(pa.array(searches.spelled)),
    )


def _run(
    service: Service, rng: np.random.Generator, audience: Audience, lives: Lives, threads: Executor
) -> tuple[np.ndarray, Searches]:
    """WATCH records and searches of all profiles, in parts, each with random numbers of its own."""
    starts = range(0, len(audience), _PROFILES_PER_PART)
    watches = np.empty(int(lives.count.sum()), WATCH)
    first = offsets(lives.count)

    def run(start: int, part_rng: np.random.Generator) -> Searches:
        stop = min(start + _PROFILES_PER_PART, len(audience))
        part = watches[first[start] : first[stop]]
        found = service.run(part_rng, audience.part(start, stop), lives.part(start, stop), start, part)
        return replace(found, event=found.event + first[start])

    parts = list(threads.map(run, starts, rng.spawn(len(starts))))
    names = [field.name for field in fields(Searches)]
    return watches, Searches(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _in_order_of_time(
    watches: np.ndarray, searches: Searches, profile_ids: Ids, item_ids: Ids, threads: Executor
) -> tuple[np.ndarray, Searches, pa.Table]:
    """A service logs what happens as it happens: watches and searches in that order, and the events table."""
    # The event packed below its time: sorting one number is several times faster than an argsort.
    bits = len(watches).bit_length()
    order = watches["start_ms"] - watches["start_ms"].min()
    order <<= bits
    order |= np.arange(len(watches))
    order.sort()
    order &= (1 << bits) - 1
    ordered, place = np.empty_like(watches), np.empty_like(order)

    def log_part(start: int) -> pa.Table:
        stop = min(start + _EVENTS_PER_PART, len(watches))
        ordered[start:stop] = watches.take(order[start:stop])
        place[order[start:stop]] = np.arange(start, stop)
        return event_table(ordered[start:stop], profile_ids, item_ids)

    events = pa.concat_tables(threads.map(log_part, range(0, len(watches), _EVENTS_PER_PART)))
    asked_ms = watches["start_ms"][searches.event] - searches.lead_ms
    by_time = np.argsort(asked_ms, kind="stable")
    searches = replace(searches, event=place[searches.event])
    names = [field.name for field in fields(Searches)]
    return ordered, Searches(*(getattr(searches, name)[by_time] for name in names)), events


def _leaked(tables: Tables, leak: Leak, watches: np.ndarray, item_ids: Ids) -> Tables:
    """The tables with the column that knows the future, where one is asked for."""
    match leak:
        case Leak.NONE:
            return tables
        case Leak.LIFETIME_PLAYS:
            plays = pa.array(np.bincount(watches["item_row"], minlength=tables.items.num_rows))
            return replace(tables, items=with_attribute(tables.items, leak, plays.cast(pa.string())))
        case Leak.LAST_TITLE:
            last = np.full(tables.profiles.num_rows, -1)
            last[watches["profile_row"]] = watches["item_row"]  # in order of time: the last one stays
            named = pc.if_else(pa.array(last >= 0), item_ids.take(np.maximum(last, 0)), None)
            return replace(tables, profiles=with_attribute(tables.profiles, leak, named))


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
