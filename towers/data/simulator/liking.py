"""How much profiles truly like titles, in nats, and how long they watch them for it."""

import numpy as np
from jaxtyping import Float32, Int, Int64

from towers.data.simulator.audience import Audience, class_of
from towers.data.simulator.catalogue import Catalogue
from towers.data.simulator.tastes import NUM_SLOTS
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.data.simulator.watches import Cause

_LIKED = np.array([3.0, 2.6, 2.2, 1.8], np.float32)
_SECOND_SHARE = np.float32(0.5)
_SAME_GENRE = np.float32(0.75)
_PERSON = np.float32(1.5)

_MINUTES_SLOPE, _HALF_WATCHED_AT, _MINUTES_NOISE = 0.6, 3.2, 0.9
_CREDITS = 0.93


def liking(
    audience: Audience,
    catalogue: Catalogue,
    profile_row: Int64[np.ndarray, " n"],
    day: Int64[np.ndarray, " n"],
) -> Float32[np.ndarray, "n N"]:
    """How much each profile likes every title on a day of the log.

    liking = Σ over its tastes k of l_k (1 for the title's sub-genre, ½ for its second) + 0.75 for a genre it
    has a taste in + 1.5 per liked person in the credits + what suits (language, country, decade);
    l = 3, 2.6, 2.2, 1.8. Popularity, novelty and what was watched before are no part of it.
    """
    tastes = audience.tastes
    line = np.arange(len(profile_row))
    slot = profile_row[:, None] * NUM_SLOTS + np.arange(NUM_SLOTS)
    entry = tastes.in_force(slot, np.broadcast_to(day[:, None], slot.shape))
    of_sub_genre = np.zeros((len(line), len(SUB_GENRES) + 1), np.float32)  # the last is for no second one
    of_genre = np.zeros((len(line), GENRE_OF[-1] + 1), np.float32)
    for place in range(NUM_SLOTS):
        liked = tastes.sub_genre[entry[:, place]]
        of_sub_genre[line, liked] += _LIKED[place]
        of_genre[line, GENRE_OF[liked]] = _SAME_GENRE
    found = of_sub_genre[:, catalogue.sub_genre] + of_genre[:, GENRE_OF[catalogue.sub_genre]]
    found += _SECOND_SHARE * of_sub_genre[:, catalogue.second_sub_genre]
    found += audience.suits(profile_row)[:, class_of(catalogue)]
    for place in range(NUM_SLOTS):
        person = tastes.person[entry[:, place]]
        start, stop = catalogue.film_offset[person], catalogue.film_offset[person + 1]
        num_films = stop - start
        of_line = np.repeat(line, num_films)
        film = np.arange(len(of_line)) + np.repeat(start - (np.cumsum(num_films) - num_films), num_films)
        found[of_line, catalogue.film[film]] += _PERSON  # a person stands in a title once
    return found


class Liking:
    """The liking of single titles, for many pairs at once; the same numbers as `liking`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._sub_genre = catalogue.sub_genre.astype(np.int32)
        self._second = catalogue.second_sub_genre.astype(np.int32)
        self._genre_of = GENRE_OF.astype(np.int32)
        self._class = class_of(catalogue)
        self._credits = np.ascontiguousarray(
            np.column_stack([catalogue.cast, catalogue.director]).T, np.int32
        )

    def of_pairs(
        self,
        audience: Audience,
        owner: Int64[np.ndarray, " E"],
        item_row: Int[np.ndarray, " E"],
        day: Int64[np.ndarray, " E"],
    ) -> Float32[np.ndarray, " E"]:
        """How much each profile likes the title beside it on that day."""
        tastes = audience.tastes
        first, second = self._sub_genre[item_row], self._second[item_row]
        genre = self._genre_of[first]
        credited = [column[item_row] for column in self._credits]
        found: np.ndarray = audience.suits(np.arange(len(audience)))[owner, self._class[item_row]]
        same_genre = np.zeros(len(owner), bool)
        slot = owner * NUM_SLOTS
        for place in range(NUM_SLOTS):
            entry = tastes.in_force(slot + place, day)
            liked, person = tastes.sub_genre[entry], tastes.person[entry]
            found += _LIKED[place] * (liked == first)
            found += _LIKED[place] * _SECOND_SHARE * (liked == second)
            same_genre |= self._genre_of[liked] == genre
            in_credits = credited[0] == person
            for column in credited[1:]:
                in_credits |= column == person
            found += _PERSON * in_credits
        found += _SAME_GENRE * same_genre
        return found


def draw_minutes(
    rng: np.random.Generator,
    duration: Int[np.ndarray, " E"],
    liked: Float32[np.ndarray, " E"],
    cause: Int[np.ndarray, " E"],
) -> Int64[np.ndarray, " E"]:
    """Tenths of a minute watched: the more liked the nearer the end; an accident ends within minutes."""
    num_events = len(liked)
    drive = np.float32(_MINUTES_SLOPE) * (liked - np.float32(_HALF_WATCHED_AT))
    drive += np.float32(_MINUTES_NOISE) * rng.standard_normal(num_events, np.float32)
    completion = 1 / (1 + np.exp(-drive))
    # Who gets as far as the credits has watched it all.
    completion[completion > _CREDITS] = 1
    minutes = completion * duration
    by_accident = np.flatnonzero(cause == Cause.ACCIDENT)
    minutes[by_accident] = rng.uniform(0.5, 6.0, len(by_accident))
    tenths: np.ndarray = np.rint(np.maximum(minutes, np.float32(0.5)) * 10).astype(np.int64)
    return tenths
