"""One part of the service at a time: what some profiles watch, when, where, and what they searched for."""

from dataclasses import dataclass

import numpy as np

from towers.data.simulator.audience import REGIONS, REGIONS_PER_COUNTRY, Audience
from towers.data.simulator.calendar import NUM_WEEKS, day_of, local_to_unix_ms
from towers.data.simulator.catalogue import Catalogue
from towers.data.simulator.licences import Licences
from towers.data.simulator.liking import Liking, draw_minutes
from towers.data.simulator.searches import Phrases, Searches, draw_searches
from towers.data.simulator.sessions import Lives, Visits, draw_starts, draw_visits
from towers.data.simulator.settings import SimulatedSettings
from towers.data.simulator.stage import Stage
from towers.data.simulator.watches import Cause, choose

_AWAY_SHARE = 0.03


WATCH = np.dtype(
    [
        ("start_ms", np.int64),  # Unix milliseconds
        ("profile_row", np.int32),
        ("item_row", np.int32),
        ("minutes", np.float32),
        ("region", np.int16),  # a row of REGIONS, where it was watched
        ("position", np.int8),  # place in the row on the home page, from 1; 0 where it came from elsewhere
        ("cause", np.int8),  # a member of Cause
    ]
)
"""One watch. A record, since to put millions in order of time moves each once then, not column by column."""


@dataclass(frozen=True, slots=True)
class Service:
    """What all profiles share: titles, licences, popularity and phrases, and the settings."""

    settings: SimulatedSettings
    catalogue: Catalogue
    licences: Licences
    stage: Stage
    liking: Liking
    phrases: Phrases

    def run(
        self, rng: np.random.Generator, audience: Audience, lives: Lives, first_row: int, watches: np.ndarray
    ) -> Searches:
        """The searches of some profiles, of which the first is in `first_row`; and their watches, written.

        watches: WATCH (E,), filled here, packed by profile; the searches count their events from its first.
        """
        visits = draw_visits(rng, lives)
        choices = choose(rng, self.stage, audience, visits, self.settings)
        liked = self.liking.of_pairs(audience, visits.owner, choices.item_row, visits.day)
        duration = self.catalogue.duration[choices.item_row]
        tenths = draw_minutes(rng, duration, liked, choices.cause)
        local_ms = draw_starts(rng, visits, audience.kids[visits.owner], tenths)
        start_ms = local_to_unix_ms(local_ms, audience.country[visits.owner])
        watches["start_ms"] = start_ms
        watches["profile_row"] = first_row + visits.owner
        watches["item_row"] = choices.item_row
        watches["minutes"] = tenths.astype(np.float32) / np.float32(10)
        watches["region"] = self._regions(rng, audience, visits, choices.item_row, start_ms)
        watches["position"] = choices.position
        watches["cause"] = choices.cause
        sought = (choices.cause <= Cause.SEQUEL) | (choices.cause == Cause.REWATCH)
        asked = rng.random(len(sought), np.float32) < self.settings.query_share
        return draw_searches(
            rng,
            self.catalogue,
            self.phrases,
            choices.item_row,
            audience.language[visits.owner],
            event=np.flatnonzero(sought & asked),
            typo_share=self.settings.typo_share,
        )

    def _regions(
        self,
        rng: np.random.Generator,
        audience: Audience,
        visits: Visits,
        item_row: np.ndarray,
        start_ms: np.ndarray,
    ) -> np.ndarray:
        """Where each event is: at home, or for a whole session abroad where all of it may be shown."""
        session = np.cumsum(visits.opens) - 1
        region: np.ndarray = audience.region[visits.owner]
        num_sessions = np.count_nonzero(visits.opens)
        travels = rng.random(num_sessions, np.float32) < _AWAY_SHARE
        abroad = rng.integers(0, len(REGIONS), num_sessions)
        event = np.flatnonzero(travels[session])
        country = abroad[session[event]] // REGIONS_PER_COUNTRY
        week = day_of(start_ms[event], country) // 7
        shown = (week >= 0) & (week < NUM_WEEKS)
        shown &= self.licences.allowed(np.clip(week, 0, NUM_WEEKS - 1), item_row[event], country)
        travels[session[event[~shown]]] = False
        event = event[travels[session[event]]]
        region[event] = abroad[session[event]]
        return region
