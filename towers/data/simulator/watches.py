"""What is watched at every visit: causes, draws with rejection, sequels and rewatches; then minutes."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Int8, Int64

from towers.data.simulator.audience import NUM_CLASSES, Audience
from towers.data.simulator.numeric import POOL, repeats
from towers.data.simulator.sessions import Visits
from towers.data.simulator.settings import SimulatedSettings
from towers.data.simulator.stage import Stage
from towers.data.simulator.tastes import NUM_SLOTS, SLOT_SHARES
from towers.data.simulator.titles import SUB_GENRES
from towers.data.simulator.words import COUNTRIES

_KIDS_REWATCH, _MOST_REWATCHED = 5.0, 0.9
_SLOT_BOUNDS = np.cumsum(SLOT_SHARES, dtype=np.float32)[:-1]
_PATIENCE, _LITTLE_PATIENCE, _UNPICKY_ROUNDS = 24, 6, 8
_REPEAT_ROUNDS = 5


class Cause(IntEnum):
    """Why a watch came about."""

    TASTE = 0
    """A title of a sub-genre that the profile likes, or that it sought last."""
    PERSON = 1
    """A title of a person that the profile likes."""
    STROLL = 2
    """Any sub-genre, by popularity."""
    SEQUEL = 3
    """The part after the one watched before it."""
    ROW = 4
    """From the row on the home page."""
    REWATCH = 5
    """A title watched before."""
    ACCIDENT = 6
    """A play that nobody meant, from the row on the home page."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen at each of E visits.

    item_row: int64 (E,); cause: int8 (E,), members of Cause.
    position: int8 (E,), the place in the row on the home page, from 1; 0 where it came from elsewhere.
    """

    item_row: Int64[np.ndarray, " E"]
    cause: Int8[np.ndarray, " E"]
    position: Int8[np.ndarray, " E"]


def choose(
    rng: np.random.Generator, stage: Stage, audience: Audience, visits: Visits, settings: SimulatedSettings
) -> Choices:
    """A title for every visit, out of those on offer at home then, that the profile may watch.

    Each visit draws a cause and, with it, a pool. Titles proposed from the pool are refused unless they are
    on offer, within the profile's certificate and not watched yet; a title of a liked sub-genre is refused by
    a chance too that grows the less it suits, so that it is drawn from pool share · exp(suits), renormalised.
    """
    draw = _Draw(rng, stage, audience, visits, settings)
    draw.propose(np.arange(len(visits.day)), _PATIENCE)
    draw.watch_once(_REPEAT_ROUNDS)
    draw.follow_sequels()
    draw.watch_once(2)
    draw.rewatch()
    return Choices(draw.item, draw.cause, draw.position())


class _Draw:
    """The choices of some profiles so far; `Stage` holds what all of them share."""

    def __init__(
        self,
        rng: np.random.Generator,
        stage: Stage,
        audience: Audience,
        visits: Visits,
        settings: SimulatedSettings,
    ) -> None:
        self._rng, self._stage = rng, stage
        self._owner = visits.owner
        self._first = np.searchsorted(visits.owner, np.arange(len(audience)))
        num_events = len(visits.day)
        week = visits.day // 7
        country = audience.country[visits.owner]
        self._offer = week * stage.num_items
        self._tastes, self._day = audience.tastes, visits.day
        self._segment = np.where(audience.kids, len(COUNTRIES), audience.country)
        self._need = stage.needed(country, audience.cap[visits.owner])
        self._row = stage.home_line(week, country, audience.cap[visits.owner])
        # One line of ones more, for those who take any title.
        self._chance = np.append(_acceptance(audience), np.ones(NUM_CLASSES, np.float32))

        self.item = np.zeros(num_events, np.int64)
        self._target, self.cause = self._causes(audience, settings)
        self._goes_on = rng.random(num_events, np.float32) < settings.sequence_share
        self._any_taste = len(audience) * NUM_CLASSES
        self._first_shelf = week * (len(SUB_GENRES) * POOL)
        self._base, self._size = self._pools(settings)
        self._picky = np.where(self.cause == Cause.TASTE, self._owner * NUM_CLASSES, self._any_taste)

    def _causes(self, audience: Audience, settings: SimulatedSettings) -> tuple[np.ndarray, np.ndarray]:
        """Which event each rewatch repeats, and causes as far as they do not depend on what is watched."""
        rng, num_events = self._rng, len(self._owner)
        cause = np.full(num_events, Cause.TASTE, np.int8)
        chance = rng.random(num_events, np.float32)
        by_accident = settings.accident_share
        from_row = by_accident + (1 - by_accident) * settings.row_share
        again_share = np.where(audience.kids, _KIDS_REWATCH, 1.0) * settings.rewatch_share
        again_share = from_row + (1 - from_row) * np.minimum(again_share, _MOST_REWATCHED)
        cause[chance < again_share.astype(np.float32)[self._owner]] = Cause.REWATCH
        cause[chance < np.float32(from_row)] = Cause.ROW
        cause[chance < np.float32(by_accident)] = Cause.ACCIDENT

        again = np.flatnonzero(cause == Cause.REWATCH)
        first = self._first[self._owner[again]]
        cause[again[again == first]] = Cause.TASTE  # nothing to repeat
        again, first = again[again > first], first[again > first]
        target = np.full(num_events, -1)
        target[again] = first + (rng.random(len(again)) * (again - first)).astype(np.int64)
        chase = again
        while len(chase := chase[cause[target[chase]] == Cause.REWATCH]):
            target[chase] = target[target[chase]]
        cause[again[cause[target[again]] == Cause.ACCIDENT]] = Cause.TASTE
        return target, cause

    def _pools(self, settings: SimulatedSettings) -> tuple[np.ndarray, np.ndarray]:
        """Where in the stage's pool each event draws, and out of how many."""
        num_events, rng, tastes = len(self._day), self._rng, self._tastes
        sought = self.cause == Cause.TASTE
        slot = np.searchsorted(_SLOT_BOUNDS, rng.random(num_events, np.float32), side="right")
        entry = tastes.in_force(self._owner * NUM_SLOTS + slot, self._day)
        sub_genre = tastes.sub_genre.take(entry)
        chance = rng.random(num_events, np.float32)
        by_taste = np.float32(settings.taste_share)
        strolls = chance >= by_taste
        # Whoever goes on stays with the sub-genre sought last.
        starts = sought & ~self._goes_on
        origin = np.maximum.accumulate(np.where(starts, np.arange(num_events), -1))
        stays = sought & self._goes_on & (origin >= self._first[self._owner])
        strolling = np.flatnonzero(strolls)
        sub_genre[strolling] = self._anything(strolling)
        sub_genre = np.where(stays, sub_genre[origin], sub_genre)

        fresh = sought & ~stays
        self.cause[fresh & strolls] = Cause.STROLL
        base = self._first_shelf + sub_genre * POOL
        self._shelf = base.copy()
        size = np.full(num_events, np.float32(POOL))
        fan = np.flatnonzero(fresh & (chance < by_taste * np.float32(settings.person_share)))
        start, num_films = self._stage.films_of(tastes.person[entry[fan]])
        fan, start, num_films = (column[num_films > 0] for column in (fan, start, num_films))
        self.cause[fan] = Cause.PERSON
        base[fan], size[fan] = start, num_films
        from_row = np.flatnonzero((self.cause == Cause.ROW) | (self.cause == Cause.ACCIDENT))
        base[from_row] = self._row[from_row]
        return base, size

    def _anything(self, event: np.ndarray) -> np.ndarray:
        """A sub-genre for each event, by what its country follows, or children."""
        segment = self._segment[self._owner[event]]
        found: np.ndarray = self._tastes.following[segment, self._rng.integers(0, POOL, len(event))]
        return found

    def propose(self, event: np.ndarray, patience: int) -> None:
        """Draws titles for the events given, anew for those drawn before.

        patience: proposals before what is proposed is taken, suit it or not; a few later, the home page is.
        """
        stage, rng = self._stage, self._rng
        for number in range(patience + _UNPICKY_ROUNDS):
            if number == patience:
                self._picky[event] = self._any_taste
            place = rng.random(len(event), np.float32) * self._size.take(event)
            item = stage.pool.take(self._base.take(event) + place.astype(np.int64))
            chance = self._chance.take(self._picky.take(event) + stage.item_class.take(item))
            suited = np.flatnonzero(rng.random(len(event), np.float32) < chance)
            taken = suited[self._allowed(event.take(suited), item.take(suited))]
            self.item[event.take(taken)] = item.take(taken)
            left = np.ones(len(event), bool)
            left[taken] = False
            event = event[left]
            if len(event) == 0:
                return
            if number == 0:
                self._leave_person(event)
        self.cause[event] = Cause.ROW
        self._base[event], self._size[event] = self._row[event], POOL
        place = (rng.random(len(event), np.float32) * POOL).astype(np.int64)
        self.item[event] = stage.pool[self._base[event] + place]

    def _leave_person(self, event: np.ndarray) -> None:
        """Where the film of a person cannot be had, a title of the liked sub-genre is sought instead."""
        event = event[self.cause[event] == Cause.PERSON]
        if len(event):
            self.cause[event] = Cause.TASTE
            self._base[event], self._size[event] = self._shelf[event], POOL
            self._picky[event] = self._owner[event] * NUM_CLASSES

    def _leave_shelf(self, event: np.ndarray) -> None:
        """Where what is liked was all watched, another of the tastes is followed, and in the end none."""
        event = event[self.cause[event] == Cause.TASTE]
        slot = self._owner[event] * NUM_SLOTS + self._rng.integers(0, NUM_SLOTS, len(event))
        liked = self._tastes.sub_genre[self._tastes.in_force(slot, self._day[event])]
        same = self._first_shelf[event] + liked * POOL == self._base[event]
        self._base[event] = self._first_shelf[event] + liked * POOL
        stroll = event[same]
        self.cause[stroll], self._picky[stroll] = Cause.STROLL, self._any_taste
        self._base[stroll] = self._first_shelf[stroll] + self._anything(stroll) * POOL

    def _allowed(self, event: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Whether titles are on offer at the visits, and for the profile's eyes."""
        needed = self._need.take(event)
        allowed: np.ndarray = (self._stage.on_offer.take(self._offer.take(event) + item) & needed) == needed
        return allowed

    def watch_once(self, num_rounds: int) -> None:
        """Draws again where a title was watched before; what still repeats after some rounds stays."""
        drawn = np.flatnonzero(self.cause != Cause.REWATCH)
        for place in range(num_rounds):
            again = np.sort(drawn[repeats(self._owner[drawn], self.item[drawn], self._stage.num_items)])
            if len(again) == 0:
                return
            self._leave_person(again)
            if place >= 2:
                self._leave_shelf(again)
            self.propose(again, _LITTLE_PATIENCE)
            changed = np.zeros(len(self._first), bool)
            changed[self._owner[again]] = True
            drawn = drawn[changed[self._owner[drawn]]]  # the others have no repeats

    def follow_sequels(self) -> None:
        """Whoever goes on watches the next part of the title before, where it is on offer and new to them."""
        sought = self.cause <= Cause.STROLL
        meant_before = np.concatenate([[False], self.cause[:-1] <= Cause.ROW])
        same = np.concatenate([[False], self._owner[1:] == self._owner[:-1]])
        ready = np.flatnonzero(sought & self._goes_on & meant_before & same)
        drawn_item, drawn_cause = self.item.copy(), self.cause.copy()
        for _ in range(2):  # the second part, and the third after it
            sequel = self._stage.sequel_row[self.item[ready - 1]]
            event, sequel = ready[sequel >= 0], sequel[sequel >= 0]
            allowed = self._allowed(event, sequel)
            self.item[event[allowed]], self.cause[event[allowed]] = sequel[allowed], Cause.SEQUEL
        drawn = np.flatnonzero(self.cause != Cause.REWATCH)
        again = drawn[repeats(self._owner[drawn], self.item[drawn], self._stage.num_items)]
        known = again[self.cause[again] == Cause.SEQUEL]
        self.item[known], self.cause[known] = drawn_item[known], drawn_cause[known]

    def rewatch(self) -> None:
        """Repeats what is repeated; where it has left the catalogue, something else is watched."""
        event = np.flatnonzero(self.cause == Cause.REWATCH)
        self.item[event] = self.item[self._target[event]]
        gone = event[~self._allowed(event, self.item[event])]
        self.cause[gone] = Cause.TASTE
        self.propose(gone, _LITTLE_PATIENCE)

    def position(self) -> np.ndarray:
        """int8 (E,), where in the row each title stood that was watched from it; else 0."""
        position = np.zeros(len(self.item), np.int8)
        event = np.flatnonzero((self.cause == Cause.ROW) | (self.cause == Cause.ACCIDENT))
        shown = self._stage.row[self._stage.line_of(self._row[event])]
        position[event] = 1 + np.argmax(shown == self.item[event, None], axis=1)
        return position


def _acceptance(audience: Audience) -> np.ndarray:
    """float32 (P·K,): the chance that a title of each class is taken when proposed, 1 for what suits best."""
    nats = audience.suits(np.arange(len(audience)))
    chance: np.ndarray = np.exp(nats - nats.max(axis=1, keepdims=True))
    return chance.ravel()
