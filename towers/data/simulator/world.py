"""A simulated service and the truth behind it, that no log can give."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int, Int64

from towers.data.schema import Tables
from towers.data.simulator.audience import Audience, class_of
from towers.data.simulator.calendar import NUM_DAYS, NUM_WEEKS, day_of, week_start_ms
from towers.data.simulator.catalogue import Catalogue
from towers.data.simulator.demand import Demand, Shock, row_of_home
from towers.data.simulator.licences import Licences
from towers.data.simulator.liking import liking
from towers.data.simulator.numeric import POOL
from towers.data.simulator.searches import Searches
from towers.data.simulator.segments import members
from towers.data.simulator.settings import Leak, SimulatedSettings
from towers.data.simulator.tastes import NUM_SLOTS, SLOT_SHARES
from towers.data.simulator.titles import SUB_GENRES
from towers.data.simulator.watches import Cause
from towers.data.simulator.words import COUNTRIES


@dataclass(frozen=True, slots=True)
class World:
    """A simulated service and the truth behind it.

    tables: what a service would have logged.
    catalogue, licences, demand: titles with what is latent in them, in the rows of the tables; where they may
    be shown; what is popular when. audience: profiles and their tastes, in the rows of the tables.
    watches: WATCH records (E,), what is behind each event, in the order of the table; searches: the same for
    queries, each with the row of the event that it led to.
    spelled: string (Q,), the queries without the slips of typing.
    """

    settings: SimulatedSettings
    tables: Tables
    catalogue: Catalogue
    licences: Licences
    demand: Demand
    audience: Audience
    watches: np.ndarray
    searches: Searches
    spelled: pa.StringArray

    def affinity(
        self, profile_rows: Int64[np.ndarray, " n"], time_ms: int | Int64[np.ndarray, " n"] | None = None
    ) -> Float32[np.ndarray, "n N"]:
        """The true relevance of every title to the profiles given, at a time; as the log ends without one.

        It is what minutes follow: taste, people, language, country and era. Popularity, licences and what was
        watched before are no part of it.
        """
        return liking(self.audience, self.catalogue, profile_rows, self._days(profile_rows, time_ms))

    def liked_sub_genres(
        self, profile_rows: Int64[np.ndarray, " n"], time_ms: int | Int64[np.ndarray, " n"] | None = None
    ) -> Int64[np.ndarray, "n 4"]:
        """The sub-genres that the profiles like at a time, strongest first."""
        day = self._days(profile_rows, time_ms)
        slot = profile_rows[:, None] * NUM_SLOTS + np.arange(NUM_SLOTS)
        entry = self.audience.tastes.in_force(slot, np.broadcast_to(day[:, None], slot.shape))
        liked: np.ndarray = self.audience.tastes.sub_genre[entry]
        return liked.astype(np.int64)

    def choice_probability(
        self, profile_row: int, time_ms: int, after: int | None = None
    ) -> Float64[np.ndarray, " N"]:
        """How likely each title is what a profile watches next, at home: a probability, in closed form.

        Given that the watch is meant, is no sequel and no rewatch. after: the sub-genre sought last; None
        where nothing was. Nothing is taken to be watched already: leave those out and renormalise.
        """
        settings, tastes = self.settings, self.audience.tastes
        row = np.array([profile_row])
        day = self._days(row, time_ms)
        week = min(int(day[0]) // 7, NUM_WEEKS - 1)
        allowed = self.on_offer(time_ms, int(self.audience.country[profile_row]))
        allowed &= self.catalogue.maturity <= self.audience.cap[profile_row]
        suits = np.exp(self.audience.suits(row)[0].astype(np.float64))[class_of(self.catalogue)]
        home = self._home_page(profile_row, week)
        liked, any_title = (
            self._shelves(week, allowed * suits, home),
            self._shelves(week, 1.0 * allowed, home),
        )

        fresh = np.zeros(len(allowed))
        slots = profile_row * NUM_SLOTS + np.arange(NUM_SLOTS)
        for share, entry in zip(SLOT_SHARES, tastes.in_force(slots, np.repeat(day, NUM_SLOTS)), strict=True):
            wanted = liked[tastes.sub_genre[entry]]
            start, stop = self.catalogue.film_offset[tastes.person[entry] :][:2]
            films = self.catalogue.film[start:stop]
            by_person = np.zeros(len(allowed))
            by_person[films] = allowed[films] / max(1, len(films))
            by_person += (1 - by_person.sum()) * wanted
            mixed = settings.person_share * by_person + (1 - settings.person_share) * wanted
            fresh += settings.taste_share * share * mixed
        segment = len(COUNTRIES) if self.audience.kids[profile_row] else self.audience.country[profile_row]
        anywhere = np.bincount(tastes.following[segment], minlength=len(SUB_GENRES)) / POOL
        fresh += (1 - settings.taste_share) * anywhere @ any_title
        if after is not None:
            fresh = settings.sequence_share * liked[after] + (1 - settings.sequence_share) * fresh
        found: np.ndarray = settings.row_share * home + (1 - settings.row_share) * fresh
        return found

    def on_offer(self, time_ms: int, country: int) -> Bool[np.ndarray, " N"]:
        """Which titles may be shown in a country, a row of COUNTRIES, at a time of the log."""
        week = int(day_of(np.array([time_ms]), np.array([country]))[0]) // 7
        num_items = len(self.catalogue)
        return self.licences.allowed(
            np.full(num_items, min(max(week, 0), NUM_WEEKS - 1)),
            np.arange(num_items),
            np.full(num_items, country),
        )

    def arrival_ms(self) -> Int64[np.ndarray, " N"]:
        """When each title came on offer where the week begins first, in Unix milliseconds."""
        every_country = np.arange(len(COUNTRIES))
        week = np.broadcast_to(self.catalogue.arrival_week[:, None], (len(self.catalogue), len(COUNTRIES)))
        starts = week_start_ms(week, np.broadcast_to(every_country, week.shape))
        earliest: np.ndarray = starts.min(axis=1)
        return earliest

    @property
    def accidental(self) -> Bool[np.ndarray, " E"]:
        """Events that nobody meant, in the order of `tables.events`."""
        accidents: np.ndarray = self.watches["cause"] == Cause.ACCIDENT
        return accidents

    @property
    def underserved(self) -> Bool[np.ndarray, " P"]:
        """Profiles of the under-served segment; none where nobody is."""
        return members(self.audience, self.settings.underserved_segment) & (self.settings.underserved > 0)

    @property
    def shock(self) -> Shock | None:
        """The title that was shocked, in which week, and by what factor."""
        return self.demand.shock

    @property
    def leak(self) -> str | None:
        """The column that knows the future: table, column and name of the attribute."""
        match self.settings.leak:
            case Leak.NONE:
                return None
            case Leak.LIFETIME_PLAYS:
                return f"items.attributes.{Leak.LIFETIME_PLAYS}"
            case Leak.LAST_TITLE:
                return f"profiles.attributes.{Leak.LAST_TITLE}"

    def _shelves(self, week: int, weight: np.ndarray, home: np.ndarray) -> np.ndarray:
        """float64 (S, N), what is drawn from each shelf of a week; from the home page where it is empty."""
        num_items, first = len(self.catalogue), week * len(SUB_GENRES)
        places = self.demand.shelf[first : first + len(SUB_GENRES)].astype(np.int64)
        places += np.arange(len(SUB_GENRES))[:, None] * num_items
        count = np.bincount(places.ravel(), minlength=len(SUB_GENRES) * num_items)
        chance = count.reshape(len(SUB_GENRES), num_items) * weight
        total = chance.sum(axis=1, keepdims=True)
        shelves: np.ndarray = np.where(total > 0, chance / np.where(total > 0, total, 1.0), home)
        return shelves

    def _home_page(self, profile_row: int, week: int) -> np.ndarray:
        seen_by = (self.audience.country[[profile_row]], self.audience.cap[[profile_row]])
        line = int(row_of_home(np.array([week]), *seen_by)[0])
        chance = np.bincount(self.demand.place[self.demand.num_shown[line]], minlength=1) / POOL
        home = np.zeros(len(self.catalogue))
        np.add.at(home, self.demand.row[line][: len(chance)], chance)
        return home

    def _days(
        self, profile_rows: Int64[np.ndarray, " n"], time_ms: int | Int[np.ndarray, " n"] | None
    ) -> Int64[np.ndarray, " n"]:
        if time_ms is None:
            return np.full(len(profile_rows), NUM_DAYS - 1)
        times = np.broadcast_to(np.asarray(time_ms, np.int64), profile_rows.shape)
        day: np.ndarray = np.clip(day_of(times, self.audience.country[profile_rows]), 0, NUM_DAYS - 1)
        return day
