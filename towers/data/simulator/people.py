"""Invented actors and directors: each is at home in one genre, a few are in everything."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.data.simulator.numeric import allocate, offsets
from towers.data.simulator.words import FIRST_NAMES, LAST_NAMES, MIDDLE_INITIALS

_FAME_EXPONENT = 0.8


@dataclass(frozen=True, slots=True)
class Guild:
    """People of one profession, sorted by the genre they are at home in.

    first_row: the row of its first person among all people.
    genre_offset: int64 (G+1,), people of genre g are genre_offset[g]:genre_offset[g+1].
    fame: float64 (n+1,), cumulative share of roles, from 0.
    """

    first_row: int
    genre_offset: Int64[np.ndarray, " G1"]
    fame: Float64[np.ndarray, " n1"]

    def draw(
        self, rng: np.random.Generator, genre: Int64[np.ndarray, "*shape"]
    ) -> Int64[np.ndarray, "*shape"]:
        """One person per genre asked for, by fame among those at home there."""
        start, stop = self.genre_offset[genre], self.genre_offset[genre + 1]
        point = self.fame[start] + rng.random(genre.shape) * (self.fame[stop] - self.fame[start])
        place = np.searchsorted(self.fame, point, side="right") - 1
        person: np.ndarray = self.first_row + np.clip(place, start, stop - 1)
        return person


def make_guild(
    rng: np.random.Generator, num_people: int, titles_of_genre: Int64[np.ndarray, " G"], first_row: int
) -> Guild:
    """A guild with at least one person per genre, the rest as the genres have titles."""
    num_people = max(num_people, len(titles_of_genre))
    roomy = np.full(len(titles_of_genre), num_people)
    of_genre = allocate(titles_of_genre + 1.0, num_people, 1, roomy)
    fame = (1.0 + rng.permutation(num_people)) ** -_FAME_EXPONENT
    return Guild(first_row, offsets(of_genre), np.concatenate([np.zeros(1), np.cumsum(fame)]))


def make_names(rng: np.random.Generator, num_people: int) -> tuple[str, ...]:
    """Distinct invented names, with a middle initial or two where so many people need them.

    There are 1.2 people a title; two initials suffice for 2.1 million titles.
    """
    num_short, num_initials = len(FIRST_NAMES) * len(LAST_NAMES), len(MIDDLE_INITIALS)
    num_middles = 1
    while num_people > num_short * num_middles:
        num_middles = 1 + num_initials * num_middles
    num_names = num_short * num_middles
    drawn = rng.choice(num_names, num_people, replace=False)
    return tuple(_name(int(place)) for place in drawn)


def _name(place: int) -> str:
    place, last = divmod(place, len(LAST_NAMES))
    middles, first = divmod(place, len(FIRST_NAMES))
    middle = ""
    while middles:
        middles, initial = divmod(middles - 1, len(MIDDLE_INITIALS))
        middle = f" {MIDDLE_INITIALS[initial]}.{middle}"
    return f"{FIRST_NAMES[first]}{middle} {LAST_NAMES[last]}"
