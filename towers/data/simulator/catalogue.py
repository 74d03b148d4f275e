"""The simulated catalogue: titles in order of arrival, with franchises, people and latent quality."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from towers.data.simulator.calendar import FIRST_YEAR, NUM_WEEKS
from towers.data.simulator.numeric import allocate, offsets, place_in_group
from towers.data.simulator.people import Guild, make_guild, make_names
from towers.data.simulator.titles import (
    GENRE_OF,
    SUB_GENRES,
    capacity,
    draw_synopses,
    draw_titles,
    sequel_titles,
)
from towers.data.simulator.words import COUNTRIES, GENRES, KIDS_SUB_GENRES, MATURITY_OF_GENRE, Genre
from towers.errors import SchemaError

LANGUAGES = tuple(dict.fromkeys(country.language for country in COUNTRIES))
LANGUAGE_OF = np.array([LANGUAGES.index(country.language) for country in COUNTRIES])
"""int64 (C,): the language of each country."""
DECADES = tuple(range(1960, 2030, 10))
KIDS_TITLES = np.array([SUB_GENRES.index(name) for name in SUB_GENRES if KIDS_SUB_GENRES.get(name) == 1.0])
"""int64, the sub-genres that are made for children: each has a title for the youngest, always on offer."""

_CAST_SLOTS = 5
_PARTS = 3


@dataclass(frozen=True, slots=True)
class Catalogue:
    """N titles in order of arrival, one array entry each.

    sub_genre, second_sub_genre: int64; the second is -1 where there is none.
    country, second_country: int64 rows of COUNTRIES; the second is -1 where there is none.
    year: int64; arrival_week: int64, non-decreasing, 0 for what was there when the log begins.
    prequel_row: int64, -1 for titles that follow none.
    evergreen: int64 (K,), titles for the youngest that are everywhere and always on offer.
    duration: int64 minutes; maturity: int64 rows of MATURITY; rating: float32, 0 to 10.
    appeal: float32, the log-weight of popularity, correlated with the rating through latent quality.
    cast: int64 (N, 5) rows of people, billing order, -1 where a place is empty; director: int64 (N,).
    people: all names; actors, directors: who is at home where.
    film_offset, film: the titles of person p are film[film_offset[p]:film_offset[p+1]].
    """

    titles: tuple[str, ...]
    synopses: tuple[str, ...]
    sub_genre: Int64[np.ndarray, " N"]
    second_sub_genre: Int64[np.ndarray, " N"]
    country: Int64[np.ndarray, " N"]
    second_country: Int64[np.ndarray, " N"]
    year: Int64[np.ndarray, " N"]
    arrival_week: Int64[np.ndarray, " N"]
    prequel_row: Int64[np.ndarray, " N"]
    evergreen: Int64[np.ndarray, " K"]
    duration: Int64[np.ndarray, " N"]
    maturity: Int64[np.ndarray, " N"]
    rating: Float32[np.ndarray, " N"]
    appeal: Float32[np.ndarray, " N"]
    cast: Int64[np.ndarray, "N 5"]
    director: Int64[np.ndarray, " N"]
    people: tuple[str, ...]
    actors: Guild
    directors: Guild
    film_offset: Int64[np.ndarray, " P1"]
    film: Int64[np.ndarray, " R"]

    def __len__(self) -> int:
        return len(self.titles)


def make_catalogue(
    rng: np.random.Generator, num_items: int, *, arrival_share: float, cold_share: float, sequel_share: float
) -> Catalogue:
    """A catalogue of `num_items` titles, of which shares arrive during the log, after it, or are sequels."""
    num_of_sub_genre = _sub_genre_counts(rng, num_items)
    sub_genre = np.repeat(np.arange(len(SUB_GENRES)), num_of_sub_genre)
    part = _franchise_parts(rng, num_of_sub_genre, sequel_share)
    evergreen = offsets(num_of_sub_genre)[KIDS_TITLES]
    week, year = _release(rng, part, evergreen, arrival_share, cold_share)
    quality = rng.normal(size=num_items)
    # A sequel is made where the first part was loved, and is seldom as good.
    quality = np.where(part > 0, quality[np.arange(num_items) - part] + 0.3 - 0.4 * part, quality)
    appeal = 0.5 * quality + rng.normal(0.0, 1.0, num_items)
    rating = np.clip(6.3 + 0.9 * quality + rng.normal(0.0, 0.4, num_items), 1.0, 9.9)
    titles = [
        title for row, count in enumerate(num_of_sub_genre) for title in draw_titles(rng, row, int(count))
    ]
    titles = list(sequel_titles(titles, part))
    synopses = draw_synopses(rng, sub_genre)
    second = _second_sub_genre(rng, sub_genre)
    country, second_country = _countries(rng, part)
    duration, maturity = _durations(rng, sub_genre), _maturity(rng, sub_genre)
    maturity[evergreen] = 0
    actors, directors = _guilds(rng, sub_genre)
    people = make_names(rng, directors.first_row + len(directors.fame) - 1)
    cast, director = _casting(rng, sub_genre, part, actors, directors)

    # Rows in order of arrival; within a week in no order that gives the sub-genre away.
    order = np.lexsort((rng.random(num_items), week))
    row_of = np.argsort(order)
    prequel = np.where(part > 0, row_of[np.arange(num_items) - (part > 0)], -1)
    film_offset, film = _filmography(cast[order], director[order], len(people))
    return Catalogue(
        titles=tuple(titles[row] for row in order),
        synopses=tuple(synopses[row] for row in order),
        sub_genre=sub_genre[order],
        second_sub_genre=second[order],
        country=country[order],
        second_country=second_country[order],
        year=year[order],
        arrival_week=week[order],
        prequel_row=prequel[order],
        evergreen=row_of[evergreen],
        duration=duration[order],
        maturity=maturity[order],
        rating=np.round(rating[order], 1).astype(np.float32),
        appeal=appeal[order].astype(np.float32),
        cast=cast[order],
        director=director[order],
        people=people,
        actors=actors,
        directors=directors,
        film_offset=film_offset,
        film=film,
    )


def decade_row(year: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The row of DECADES that each year lies in."""
    row: np.ndarray = (year - DECADES[0]) // 10
    return row


def _sub_genre_counts(rng: np.random.Generator, num_items: int) -> np.ndarray:
    room = np.array([capacity(row) for row in range(len(SUB_GENRES))])
    if num_items > room.sum():
        raise SchemaError(
            f"simulated: num_items = {num_items} is more than the {room.sum()} titles its words make"
        )
    weight = np.exp(rng.normal(0.0, 0.3, len(GENRES)))[GENRE_OF] * np.exp(
        rng.normal(0.0, 0.3, len(SUB_GENRES))
    )
    return allocate(weight, num_items, 1, room)


def _franchise_parts(
    rng: np.random.Generator, num_of_sub_genre: np.ndarray, sequel_share: float
) -> np.ndarray:
    """int64 (N,): 0 for first parts and titles that stand alone, 1 and 2 for sequels of the row before."""
    place = place_in_group(num_of_sub_genre)
    count = np.repeat(num_of_sub_genre, num_of_sub_genre)
    # One franchise in two has a third part: 1.5 sequels each.
    num_franchises = np.minimum(np.rint(sequel_share * count / 1.5), count // _PARTS)
    part = np.where(place < _PARTS * num_franchises, place % _PARTS, 0)
    return np.where((part == 2) & (rng.random(len(part)) < 0.5), 0, part)


def _release(
    rng: np.random.Generator,
    part: np.ndarray,
    evergreen: np.ndarray,
    arrival_share: float,
    cold_share: float,
) -> tuple[np.ndarray, np.ndarray]:
    num_items = len(part)
    row = np.arange(num_items)
    num_cold = round(cold_share * num_items)
    num_new = round(arrival_share * num_items)
    week = np.zeros(num_items, np.int64)
    week[:num_cold] = NUM_WEEKS
    week[num_cold : num_cold + num_new] = rng.integers(
        1, NUM_WEEKS, size=len(week[num_cold : num_cold + num_new])
    )
    week = rng.permutation(week)
    week[evergreen] = 0
    for number in range(1, _PARTS):  # no part arrives before the one it follows
        follows = row[part == number]
        week[follows] = np.maximum(week[follows], week[follows - 1])
    now = FIRST_YEAR + np.minimum(week, NUM_WEEKS - 1) * 7 // 365
    # Half of what arrives is new; the rest, and what was there before, is library, mostly recent.
    library = np.maximum(DECADES[0], FIRST_YEAR - 1 - rng.exponential(14.0, num_items).astype(np.int64))
    year = np.where((week > 0) & (rng.random(num_items) < 0.5), now, library)
    has_sequel = np.isin(row, row[part == 1] - 1)
    year = np.where(has_sequel, np.minimum(year, FIRST_YEAR - 9), year)
    return week, np.where(part > 0, year[row - part] + 3 * part, year)


def _second_sub_genre(rng: np.random.Generator, sub_genre: np.ndarray) -> np.ndarray:
    """A second sub-genre for half the titles, of the same genre or one near it: it is what links them."""
    fits = np.array([[_fits(first, second) for second in GENRES] for first in GENRES])
    fits = fits[GENRE_OF][:, GENRE_OF] & ~np.eye(len(SUB_GENRES), dtype=bool)
    second = np.argmax(rng.random((len(sub_genre), len(SUB_GENRES))) * fits[sub_genre], axis=1)
    return np.where(rng.random(len(sub_genre)) < 0.5, second, -1)


def _fits(first: Genre, second: Genre) -> bool:
    return second.name == first.name or second.name in first.near


def _countries(rng: np.random.Generator, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share = np.array([country.production_share for country in COUNTRIES])
    country = rng.choice(len(COUNTRIES), len(part), p=share / share.sum())
    country = country[np.arange(len(part)) - part]
    second = rng.choice(len(COUNTRIES), len(part), p=share / share.sum())
    second = np.where((rng.random(len(part)) < 0.15) & (second != country), second, -1)
    return country, second


def _durations(rng: np.random.Generator, sub_genre: np.ndarray) -> np.ndarray:
    centre = rng.normal(102.0, 8.0, len(SUB_GENRES))[sub_genre]
    minutes = np.clip(centre + rng.normal(0.0, 15.0, len(sub_genre)), 45.0, 180.0)
    duration: np.ndarray = np.rint(minutes).astype(np.int64)
    return duration


def _maturity(rng: np.random.Generator, sub_genre: np.ndarray) -> np.ndarray:
    span = np.array([MATURITY_OF_GENRE[genre.name] for genre in GENRES])[GENRE_OF[sub_genre]]
    certificate: np.ndarray = rng.integers(span[:, 0], span[:, 1] + 1)
    return certificate


def _guilds(rng: np.random.Generator, sub_genre: np.ndarray) -> tuple[Guild, Guild]:
    titles_of_genre = np.bincount(GENRE_OF[sub_genre], minlength=len(GENRES))
    actors = make_guild(rng, round(0.9 * len(sub_genre)), titles_of_genre, 0)
    directors = make_guild(rng, round(0.3 * len(sub_genre)), titles_of_genre, len(actors.fame) - 1)
    return actors, directors


def _casting(
    rng: np.random.Generator, sub_genre: np.ndarray, part: np.ndarray, actors: Guild, directors: Guild
) -> tuple[np.ndarray, np.ndarray]:
    base = np.arange(len(part)) - part
    genre = np.broadcast_to(GENRE_OF[sub_genre][:, None], (len(sub_genre), _CAST_SLOTS))
    anywhere = rng.integers(0, len(GENRES), genre.shape)
    cast = actors.draw(rng, np.where(rng.random(genre.shape) < 0.15, anywhere, genre))
    director = directors.draw(rng, GENRE_OF[sub_genre])[base]
    cast[:, :2] = cast[base, :2]  # the leads return in a sequel
    for slot in range(1, _CAST_SLOTS):
        twice = (cast[:, :slot] == cast[:, slot : slot + 1]).any(axis=1)
        cast[twice, slot] = -1
    num_billed = rng.integers(3, _CAST_SLOTS + 1, len(cast))
    cast[np.arange(_CAST_SLOTS) >= num_billed[:, None]] = -1
    return cast, director


def _filmography(cast: np.ndarray, director: np.ndarray, num_people: int) -> tuple[np.ndarray, np.ndarray]:
    person = np.concatenate([cast.ravel(), director])
    film = np.concatenate([np.repeat(np.arange(len(cast)), _CAST_SLOTS), np.arange(len(director))])
    person, film = person[person >= 0], film[person >= 0]
    order = np.argsort(person, kind="stable")
    return offsets(np.bincount(person, minlength=num_people)), film[order]
