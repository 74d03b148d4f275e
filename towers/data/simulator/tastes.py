"""What profiles like at what time: four tastes each, every one redrawn at a known rate."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from towers.data.simulator.calendar import NUM_DAYS, NUM_WEEKS
from towers.data.simulator.catalogue import Catalogue
from towers.data.simulator.numeric import POOL, offsets, place_in_group, pools
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.data.simulator.words import COUNTRIES, KIDS_SUB_GENRES

SLOT_SHARES = (0.4, 0.3, 0.2, 0.1)
"""How often each of a profile's tastes is followed, the strongest first."""
NUM_SLOTS = len(SLOT_SHARES)

_SAME_GENRE_SHARE = 0.35
_SIBLINGS = np.array(
    [np.setdiff1d(np.flatnonzero(genre == GENRE_OF), row) for row, genre in enumerate(GENRE_OF)]
)
"""int64 (S, 3), the other sub-genres of the genre of each."""
_DAY_BITS = 10  # a day of the log, below 1024


@dataclass(frozen=True, slots=True)
class Tastes:
    """The tastes of P profiles, slot by slot: slot k of profile p is s = 4 p + k.

    offset: int64 (4 P + 1,), slot s held the tastes offset[s]:offset[s+1], one after the other.
    since_day: int32 (T,), the first day of the log on which it was in force; 0 for the first of a slot.
    sub_genre, person: int32 (T,), what was liked.
    following: int64 (C + 1, 1024), sub-genres to draw from: what each country follows, and children last.
    """

    offset: Int64[np.ndarray, " S1"]
    since_day: Int32[np.ndarray, " T"]
    sub_genre: Int32[np.ndarray, " T"]
    person: Int32[np.ndarray, " T"]
    following: Int64[np.ndarray, "C1 1024"]

    def in_force(
        self, slot: Int64[np.ndarray, "*shape"], day: Int64[np.ndarray, "*shape"]
    ) -> Int64[np.ndarray, "*shape"]:
        """The entry in force in each slot on each day."""
        if len(self.since_day) == len(self.offset) - 1:
            return slot  # nothing was ever redrawn
        key = (np.repeat(np.arange(len(self.offset) - 1), np.diff(self.offset)) << _DAY_BITS) | self.since_day
        asked = (slot << _DAY_BITS) | np.clip(day, 0, NUM_DAYS)
        entry: np.ndarray = np.searchsorted(key, asked, side="right") - 1
        return entry

    def part(self, start: int, stop: int) -> "Tastes":
        """The tastes of the profiles start:stop alone."""
        offset = self.offset[start * NUM_SLOTS : stop * NUM_SLOTS + 1]
        entries = slice(offset[0], offset[-1])
        return Tastes(
            offset - offset[0],
            self.since_day[entries],
            self.sub_genre[entries],
            self.person[entries],
            self.following,
        )


def make_tastes(
    rng: np.random.Generator, catalogue: Catalogue, segment: Int64[np.ndarray, " P"], drift_rate: float
) -> Tastes:
    """Tastes of profiles, each of a segment: the row of its country, or one more for children.

    A redraw comes in continuous time at `drift_rate` per week and slot, shows from that day on, and differs
    from what it replaces; so a slot is untouched over d days with probability exp(-drift_rate · d / 7).
    """
    following = _following(rng)
    slot_segment = np.repeat(segment, NUM_SLOTS)
    num_slots = len(slot_segment)
    count = (
        1 + rng.poisson(drift_rate * NUM_WEEKS, num_slots) if drift_rate > 0 else np.ones(num_slots, np.int64)
    )
    slot = np.repeat(np.arange(num_slots), count)
    first = place_in_group(count) == 0
    moment = np.where(first, 0.0, rng.random(len(slot)))
    moment = np.sort(slot + moment) - slot  # in order of time within each slot
    day = (moment * NUM_DAYS).astype(np.int32)
    sub_genre = _sub_genres(rng, following, slot_segment[slot], slot, first)
    return Tastes(
        offset=offsets(count),
        since_day=day,
        sub_genre=sub_genre.astype(np.int32),
        person=_people(rng, catalogue, sub_genre, slot).astype(np.int32),
        following=following,
    )


def _following(rng: np.random.Generator) -> np.ndarray:
    everywhere = rng.normal(0.0, 0.4, len(SUB_GENRES))
    there = rng.normal(0.0, 0.5, (len(COUNTRIES), len(SUB_GENRES)))
    kids = np.array([KIDS_SUB_GENRES.get(name, 0.0) for name in SUB_GENRES])
    return pools(rng, np.vstack([np.exp(everywhere + there), kids]), np.arange(len(SUB_GENRES)))


def _sub_genres(
    rng: np.random.Generator,
    following: np.ndarray,
    segment: np.ndarray,
    slot: np.ndarray,
    first: np.ndarray,
) -> np.ndarray:
    """What the segment follows; for a weaker taste of an adult at times a sibling of the strongest."""
    drawn: np.ndarray = following[segment, rng.integers(0, POOL, len(slot))]
    strongest = drawn[first].reshape(-1, NUM_SLOTS)[:, 0]
    sibling = _SIBLINGS[strongest[slot // NUM_SLOTS], rng.integers(0, _SIBLINGS.shape[1], len(slot))]
    alike = first & (slot % NUM_SLOTS > 0) & (segment < len(COUNTRIES))
    drawn = np.where(alike & (rng.random(len(slot)) < _SAME_GENRE_SHARE), sibling, drawn)
    again = np.flatnonzero(~first)
    while len(again := again[drawn[again] == drawn[again - 1]]):
        drawn[again] = following[segment[again], rng.integers(0, POOL, len(again))]
        # What changed may now equal what follows it.
        after = again[again + 1 < len(drawn)] + 1
        again = np.union1d(again, after[~first[after]])
    return drawn


def _people(
    rng: np.random.Generator, catalogue: Catalogue, sub_genre: np.ndarray, slot: np.ndarray
) -> np.ndarray:
    """A person at home in the liked genre: a director in the third slot, actors in the others."""
    genre = GENRE_OF[sub_genre]
    directs = slot % NUM_SLOTS == 2
    person = np.empty(len(slot), np.int64)
    person[directs] = catalogue.directors.draw(rng, genre[directs])
    person[~directs] = catalogue.actors.draw(rng, genre[~directs])
    return person
