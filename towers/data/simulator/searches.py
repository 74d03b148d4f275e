"""Search texts: titles, people, genres and moods; mistyped, cut short, in the language of the profile."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int, Int8, Int64

from towers.data.simulator.catalogue import DECADES, LANGUAGES, Catalogue, decade_row
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.data.simulator.translations import GENRE_IN, MOOD_IN
from towers.data.simulator.words import GENRES

_PLAYED_SHARE = 0.9
_OWN_LANGUAGE_SHARE = 0.7
_NEIGHBOURS = {
    key: beside
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for key, beside in zip(row, row[1:] + row[-2], strict=True)
}
"""A key beside each on the keyboard."""


class Kind(IntEnum):
    """What a search names of the title that it is for."""

    TITLE = 0
    PART = 1
    """The title without its place, or its first word."""
    ABBREVIATION = 2
    """The initials of three words or more, else the first four letters."""
    PERSON = 3
    LAST_NAME = 4
    INITIAL = 5
    """A person, the first name as an initial."""
    SUB_GENRE = 6
    GENRE = 7
    """The genre in the language of the profile or in English."""
    MOOD = 8
    """As the genre."""
    ERA = 9
    """Decade and genre."""


_KIND_SHARES = np.array([0.25, 0.13, 0.07, 0.13, 0.06, 0.03, 0.11, 0.08, 0.08, 0.06])
_OF_TITLE, _OF_PERSON = 3, 3


@dataclass(frozen=True, slots=True)
class Phrases:
    """Every text that can be typed: first as it is spelled, then as many as it is mistyped.

    text: string (2 T,). The rows of a kind begin at start[kind].
    """

    text: pa.StringArray
    start: Int64[np.ndarray, " kinds"]

    @property
    def num_spelled(self) -> int:
        """How many texts there are before they are mistyped."""
        return len(self.text) // 2


@dataclass(frozen=True, slots=True)
class Searches:
    """n searches, one entry each.

    event: int64, the watch that came after; lead_ms: int64, how long after.
    sought: int64, the title that the text is for; played: bool, whether that is what was watched.
    kind: int8, members of Kind; spelled: int64, the text as it should be, a row of Phrases; mistyped: bool.
    """

    event: Int64[np.ndarray, " n"]
    lead_ms: Int64[np.ndarray, " n"]
    sought: Int64[np.ndarray, " n"]
    played: Bool[np.ndarray, " n"]
    kind: Int8[np.ndarray, " n"]
    spelled: Int64[np.ndarray, " n"]
    mistyped: Bool[np.ndarray, " n"]


def make_phrases(rng: np.random.Generator, catalogue: Catalogue) -> Phrases:
    """All texts for a catalogue, each beside one mistyped with a slip of one key."""
    titles = [title.lower() for title in catalogue.titles]
    groups = [
        titles,
        [_part(title) for title in titles],
        [_abbreviation(title) for title in titles],
        [name.lower() for name in catalogue.people],
        [name.lower().rpartition(" ")[2] for name in catalogue.people],
        [f"{name[0].lower()}. {name.lower().rpartition(' ')[2]}" for name in catalogue.people],
        [name.lower() for name in SUB_GENRES],
        [word for language in LANGUAGES for word in GENRE_IN[language]],
        [word for language in LANGUAGES for word in MOOD_IN[language]],
        [f"{decade}s {genre.name.lower()}" for decade in DECADES for genre in GENRES],
    ]
    spelled = [text for group in groups for text in group]
    slip, where = rng.integers(0, 4, len(spelled)).tolist(), rng.random(len(spelled)).tolist()
    mistyped = [_mistyped(*entry) for entry in zip(spelled, slip, where, strict=True)]
    start = np.cumsum([0, *(len(group) for group in groups[:-1])])
    return Phrases(pa.array(spelled + mistyped, pa.string()), start)


def draw_searches(
    rng: np.random.Generator,
    catalogue: Catalogue,
    phrases: Phrases,
    item_row: Int[np.ndarray, " E"],
    language: Int[np.ndarray, " E"],
    *,
    event: Int64[np.ndarray, " n"],
    typo_share: float,
) -> Searches:
    """A search before each of the events given; one in ten is for another title, and nothing comes of it."""
    num_searches = len(event)
    played = rng.random(num_searches) < _PLAYED_SHARE
    sought = np.where(played, item_row[event], rng.integers(0, len(catalogue), num_searches))
    kind = rng.choice(len(_KIND_SHARES), num_searches, p=_KIND_SHARES)
    cast = catalogue.cast[sought]
    num_cast = np.count_nonzero(cast >= 0, axis=1)
    billing = np.argsort(cast < 0, axis=1, kind="stable")  # the billed first
    pick = (rng.random(num_searches) * num_cast).astype(np.int64)
    person = cast[np.arange(num_searches), billing[np.arange(num_searches), pick]]
    genre = GENRE_OF[catalogue.sub_genre[sought]]
    own = rng.random(num_searches) < _OWN_LANGUAGE_SHARE
    spoken = np.where(own, language[event], LANGUAGES.index("en")) * len(GENRES) + genre
    decade = decade_row(catalogue.year[sought]) * len(GENRES) + genre
    within = np.choose(
        kind,
        [*[sought] * _OF_TITLE, *[person] * _OF_PERSON, catalogue.sub_genre[sought], spoken, spoken, decade],
    )
    return Searches(
        event=event,
        lead_ms=rng.integers(20_000, 200_000, num_searches),
        sought=sought,
        played=played,
        kind=kind.astype(np.int8),
        spelled=phrases.start[kind] + within,
        mistyped=rng.random(num_searches) < typo_share,
    )


def _part(title: str) -> str:
    before, of, _ = title.removeprefix("the ").partition(" of ")
    return before if of else before.split()[0]


def _abbreviation(title: str) -> str:
    words = title.split()
    return "".join(word[0] for word in words) if len(words) > 2 else title.replace(" ", "")[:4]


def _mistyped(text: str, slip: int, where: float) -> str:
    """The text with one key missed, struck twice, struck for its neighbour, or two in the wrong order."""
    place = int(where * (len(text) - 1))
    key, after = text[place], text[place + 1 : place + 2]
    if slip == 0 and after:
        return text[:place] + text[place + 1 :]
    if slip == 1 and key in _NEIGHBOURS:
        return text[:place] + _NEIGHBOURS[key] + text[place + 1 :]
    if slip == 2 and after and after != key:
        return text[:place] + after + key + text[place + 2 :]
    return text[:place] + key + text[place:]
