"""Readable titles and plots that hint at their genre, and their sub-genres as dense rows."""

import numpy as np
from jaxtyping import Int64

from towers.data.simulator.words import GENRES, Genre

SUB_GENRES: tuple[str, ...] = tuple(name for genre in GENRES for name in genre.sub_genres)
GENRE_OF = np.array([row for row, genre in enumerate(GENRES) for _ in genre.sub_genres])
"""int64 (S,): the genre of each sub-genre."""

_NUMERALS = ("", " II", " III")


def capacity(sub_genre: int) -> int:
    """How many distinct titles the words of a sub-genre make."""
    genre = GENRES[GENRE_OF[sub_genre]]
    num_nouns, num_places = len(genre.sub_genres[SUB_GENRES[sub_genre]]), len(genre.places)
    num_adjectives = len(genre.adjectives)
    by_one = num_adjectives + num_places + num_nouns * num_adjectives * num_places
    by_two = (num_nouns - 1) * num_adjectives * (num_adjectives - 1) * num_places
    return num_nouns * (by_one + by_two)


def draw_titles(rng: np.random.Generator, sub_genre: int, num_titles: int) -> list[str]:
    """Distinct titles of one sub-genre, short ones as long as there are enough."""
    genre = GENRES[GENRE_OF[sub_genre]]
    nouns = genre.sub_genres[SUB_GENRES[sub_genre]]
    titles = [f"{adjective} {noun}" for noun in nouns for adjective in genre.adjectives]
    titles += [f"{noun} of {place}" for noun in nouns for place in genre.places]
    if num_titles > len(titles):
        titles += [
            f"{adjective} {noun} of {place}"
            for noun in nouns
            for adjective in genre.adjectives
            for place in genre.places
        ]
    if num_titles > len(titles):
        titles += [
            f"{adjective} {noun} and {other} of {place}"
            for noun in nouns
            for other in nouns
            for adjective in genre.adjectives
            for place in genre.places
            if other != noun
        ]
    if num_titles > len(titles):
        titles += [
            f"{adjective} {noun} and {second} {other} of {place}"
            for noun in nouns
            for other in nouns
            for adjective in genre.adjectives
            for second in genre.adjectives
            for place in genre.places
            if other != noun and second != adjective
        ]
    titles = [f"The {title}" if place % 2 else title for place, title in enumerate(titles)]
    return [titles[place] for place in rng.choice(len(titles), num_titles, replace=False)]


def sequel_titles(titles: list[str], part: Int64[np.ndarray, " n"]) -> tuple[str, ...]:
    """Titles in which part 1 or 2 of a franchise is named after the part 0 that stands before it."""
    return tuple(titles[row - number] + _NUMERALS[number] for row, number in enumerate(part.tolist()))


def draw_synopses(rng: np.random.Generator, sub_genre: Int64[np.ndarray, " n"]) -> tuple[str, ...]:
    """One sentence of plot per title."""
    picks = rng.random((len(sub_genre), 3)).tolist()
    genres = [GENRES[row] for row in GENRE_OF[sub_genre]]
    return tuple(_synopsis(genre, *pick) for genre, pick in zip(genres, picks, strict=True))


def _synopsis(genre: Genre, role: float, aim: float, place: float) -> str:
    who = genre.roles[int(role * len(genre.roles))]
    article = "An" if who[0] in "aeiou" else "A"
    what = genre.aims[int(aim * len(genre.aims))]
    return f"{article} {who} {what} in {genre.places[int(place * len(genre.places))]}."
