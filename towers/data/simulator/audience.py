"""The simulated profiles: where they live, what they like, and the true affinity that follows from it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from towers.data.simulator.catalogue import DECADES, LANGUAGE_OF, LANGUAGES, Catalogue
from towers.data.simulator.numeric import factor_grid, gumbel
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.data.simulator.words import AGE_BANDS, COUNTRIES, GENRES

_LIKED_WEIGHTS = np.array([4.5, 4.0, 3.25, 2.5])
_GENRE_WEIGHT = 0.75
_LANGUAGE_WEIGHT = 0.75
_COUNTRY_WEIGHT = 0.75
_DECADE_WEIGHT = 1.5
_PERSON_WEIGHT = np.float32(2.0)
_LANGUAGE_OF_COUNTRY_SHARE = 0.85
_AGE_SHARES = np.array([0.16, 0.25, 0.22, 0.16, 0.12, 0.09])


@dataclass(frozen=True, slots=True)
class Audience:
    """P profiles, one array entry each.

    country: int64 rows of COUNTRIES; language: int64 rows of LANGUAGES; age_band: int64 rows of AGE_BANDS.
    liked_sub_genre: int64 (P, 4), best liked first.
    favourite: int64 (P, 3), rows of the catalogue's people: two actors and a director.
    taste: float32 (P, F), acts on the catalogue's factors.
    """

    country: Int64[np.ndarray, " P"]
    language: Int64[np.ndarray, " P"]
    age_band: Int64[np.ndarray, " P"]
    liked_sub_genre: Int64[np.ndarray, "P 4"]
    favourite: Int64[np.ndarray, "P 3"]
    taste: Float32[np.ndarray, "P F"]

    def __len__(self) -> int:
        return len(self.country)


def make_audience(rng: np.random.Generator, num_profiles: int, catalogue: Catalogue) -> Audience:
    """Profiles with a country, a language, an age band and tastes."""
    share = np.array([country.profile_share for country in COUNTRIES])
    country = rng.choice(len(COUNTRIES), num_profiles, p=share / share.sum())
    settled = rng.random(num_profiles) < _LANGUAGE_OF_COUNTRY_SHARE
    language = np.where(settled, LANGUAGE_OF[country], rng.integers(0, len(LANGUAGES), num_profiles))
    age_band = rng.choice(len(AGE_BANDS), num_profiles, p=_AGE_SHARES)
    liked = _liked_sub_genres(rng, num_profiles)
    favourite = np.column_stack(
        [
            catalogue.actors.draw(rng, GENRE_OF[liked[:, 0]]),
            catalogue.actors.draw(rng, GENRE_OF[liked[:, 1]]),
            catalogue.directors.draw(rng, GENRE_OF[liked[:, 0]]),
        ]
    )
    taste = _taste(rng, country, language, age_band, liked)
    return Audience(country, language, age_band, liked, favourite, taste)


def affinity(
    audience: Audience, catalogue: Catalogue, profile_rows: Int64[np.ndarray, " n"]
) -> Float32[np.ndarray, "n N"]:
    """The true relevance of every title to the profiles given: taste, language, country, era and people.

    Popularity, novelty and the order of watching are no part of it. The same on every machine, bit for bit.
    """
    relevance: np.ndarray = audience.taste[profile_rows] @ catalogue.factor.T
    for person in audience.favourite[profile_rows].T:
        start, stop = catalogue.film_offset[person], catalogue.film_offset[person + 1]
        num_films = stop - start
        line = np.repeat(np.arange(len(person)), num_films)
        place = np.arange(len(line)) + np.repeat(start - (np.cumsum(num_films) - num_films), num_films)
        relevance[line, catalogue.film[place]] += _PERSON_WEIGHT  # a person stands in a title once
    return relevance


def _liked_sub_genres(rng: np.random.Generator, num_profiles: int) -> np.ndarray:
    """Four draws from a softmax over sub-genres: some are followed more, and each profile has its genres."""
    following = rng.normal(0.0, 0.4, len(SUB_GENRES))
    genre = 1.5 * rng.normal(size=(num_profiles, len(GENRES)))
    utility = following + genre[:, GENRE_OF] + gumbel(rng, (num_profiles, len(SUB_GENRES)))
    liked: np.ndarray = np.argsort(-utility, axis=1, kind="stable")[:, : len(_LIKED_WEIGHTS)]
    return liked


def _taste(
    rng: np.random.Generator,
    country: np.ndarray,
    language: np.ndarray,
    age_band: np.ndarray,
    liked: np.ndarray,
) -> np.ndarray:
    """Columns as the catalogue's factors: sub-genres, languages, countries, decades."""
    line = np.arange(len(country))
    sub_genres = np.zeros((len(country), len(SUB_GENRES)))
    for place in range(liked.shape[1]):
        same_genre = GENRE_OF[liked[:, place]][:, None] == GENRE_OF
        sub_genres = np.maximum(sub_genres, _GENRE_WEIGHT * same_genre)
    np.put_along_axis(sub_genres, liked, _LIKED_WEIGHTS, axis=1)
    languages = np.zeros((len(country), len(LANGUAGES)))
    languages[line, language] = _LANGUAGE_WEIGHT
    countries = np.zeros((len(country), len(COUNTRIES)))
    countries[line, country] = _COUNTRY_WEIGHT
    # The older the band, the earlier the years that feel like home.
    centre = 2018.0 - 6.0 * age_band + rng.normal(0.0, 6.0, len(country))
    distance = (np.array(DECADES) + 5.0 - centre[:, None]) / 12.0
    decades = _DECADE_WEIGHT * np.exp(-(distance**2))
    return factor_grid(np.hstack([sub_genres, languages, countries, decades]))
