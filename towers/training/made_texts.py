"""The catalogue → texts that people would ask for its titles by, where logs of searches are thin or absent.

A text names its title in one of the ways that `Way` lists; a share is mistyped. What a title lacks, such as
a synopsis, it is not asked by.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa

from towers.data.words import words_of
from towers.evaluation.slips import mistyped

_BRACKETS = re.compile(r"\(([^()]*)\)")
_PARTS = re.compile(r":\s|\s[-–—]\s|,\s(?=the$|a$|an$)", re.IGNORECASE)
_ARTICLES = frozenset({"the", "a", "an", "le", "la", "les", "el", "il", "der", "die", "das"})
_MISTYPED_SHARE = 0.2
_SHORTEST_MOOD = 4
"""Letters of a word of a synopsis that a text may be made of."""
_MOST_TITLES_OF_MOOD = 0.05
"""A word that more of the titles have says little of one."""


class Way(StrEnum):
    """How a text names a title."""

    TITLE = "title"
    """As it is, or by a name in brackets, or without its article."""
    PART = "part"
    """A part before or behind a colon or dash, or the first words."""
    PERSON = "person"
    """One of the cast or the directors, in full or by the last name."""
    GENRE = "genre"
    YEAR = "year"
    """A genre and the year or decade of release."""
    MOOD = "mood"
    """Words of the synopsis, or of a value that the item table has besides, such as tags."""
    MIXED = "mixed"
    """Two of the others."""


_SHARES = {
    Way.TITLE: 0.3,
    Way.PART: 0.15,
    Way.PERSON: 0.15,
    Way.GENRE: 0.12,
    Way.YEAR: 0.08,
    Way.MOOD: 0.12,
    Way.MIXED: 0.08,
}


@dataclass(frozen=True, slots=True)
class _Title:
    """What a title can be asked by."""

    names: tuple[str, ...]
    parts: tuple[str, ...]
    people: tuple[str, ...]
    genres: tuple[str, ...]
    year: int | None
    moods: tuple[str, ...]


def made_texts(items: pa.Table, rows: np.ndarray, rng: np.random.Generator) -> list[str]:
    """A text for each of these rows of an items table (`towers.data.schema.ITEMS`), drawn anew for each."""
    columns = ["title", "release_year", "genres", "sub_genres", "cast", "directors", "synopsis", "attributes"]
    used, place = np.unique(rows, return_inverse=True)
    table = items.select(columns).take(pa.array(used)).to_pylist()
    titles = [_title(row) for row in table]
    common = _common(titles)
    ways = list(_SHARES)
    drawn = rng.choice(len(ways), len(rows), p=list(_SHARES.values())).tolist()
    slips = np.where(rng.random(len(rows)) < _MISTYPED_SHARE, rng.integers(1, 3, len(rows)), 0).tolist()
    texts = []
    for at, way, num_slips in zip(place.tolist(), drawn, slips, strict=True):
        text = _text(titles[at], ways[way], common, rng)
        texts.append(mistyped(text, num_slips, rng) if num_slips else text)
    return texts


def _title(row: dict[str, object]) -> _Title:
    title = str(row["title"])
    main = _BRACKETS.sub("", title).strip() or title
    whole = [part.strip() for part in _PARTS.split(main) if part.strip()]
    words = main.split()
    names = [main, *(one.strip() for one in _BRACKETS.findall(title) if words_of(one) and not one.isdigit())]
    if len(words) > 1 and words[0].lower() in _ARTICLES:
        names.append(" ".join(words[1:]))
    parts = [*(whole if len(whole) > 1 else ()), *(" ".join(words[:n]) for n in (1, 2, 3) if n < len(words))]
    lists = {name: _strings(row[name]) for name in ("genres", "sub_genres", "cast", "directors")}
    noted = [str(one["value"] or "") for one in row["attributes"] or ()]  # type: ignore[attr-defined]
    moods = [word for text in (str(row["synopsis"] or ""), *noted) for word in words_of(text)]
    return _Title(
        names=tuple(names),
        parts=tuple(part for part in parts if words_of(part)[-1:] != [] and words_of(part) != ["the"]),
        people=(*lists["cast"], *lists["directors"]),
        genres=(*lists["genres"], *lists["sub_genres"]),
        year=None if row["release_year"] is None else int(str(row["release_year"])),
        moods=tuple(dict.fromkeys(word for word in moods if len(word) >= _SHORTEST_MOOD)),
    )


def _strings(values: object) -> list[str]:
    return [str(value) for value in values or () if words_of(str(value))]  # type: ignore[attr-defined]


def _common(titles: Sequence[_Title]) -> frozenset[str]:
    """The words of synopses that too many titles have."""
    count = Counter(word for title in titles for word in title.moods)
    return frozenset(
        word for word, number in count.items() if number > max(2, _MOST_TITLES_OF_MOOD * len(titles))
    )


def _text(title: _Title, way: Way, common: frozenset[str], rng: np.random.Generator) -> str:
    """A text of this way; by the name where the title has nothing of the kind."""

    def one(values: Sequence[str]) -> str:
        return values[int(rng.integers(len(values)))]

    match way:
        case Way.PART if title.parts:
            return one(title.parts)
        case Way.PERSON if title.people:
            person = one(title.people)
            return person if rng.random() < 0.8 else person.split()[-1]
        case Way.GENRE if title.genres:
            return one(title.genres)
        case Way.YEAR if title.genres and title.year is not None:
            decade = f"{title.year // 10 * 10}s"
            year = str(title.year) if rng.random() < 0.5 else one([decade, decade[2:]])
            return f"{year} {one(title.genres)}" if rng.random() < 0.5 else f"{one(title.genres)} {year}"
        case Way.MOOD:
            rare = [word for word in title.moods if word not in common]
            if rare:
                number = min(len(rare), int(rng.integers(1, 4)))
                return " ".join(rare[at] for at in sorted(rng.permutation(len(rare))[:number].tolist()))
        case Way.MIXED:
            ways = [Way.TITLE, Way.PERSON, Way.GENRE, Way.MOOD]
            first, second = (ways[at] for at in rng.permutation(len(ways))[:2].tolist())
            return f"{_text(title, first, common, rng)} {_text(title, second, common, rng)}"
    return one(title.names)
