"""A text that is searched for → what it says of years, genres, people and children, as rules of eligibility.

"90s comedies without romance" is a decade, a genre and what is not wanted. Words are read against the
catalogue's own genres and people; what is not understood stays a word to look up. It is a table and a few
patterns, in English, and says what it took the words for: `Understood`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from retrieval.eligibility.rules import ForKids, GenresAny, Not, PeopleAny, ReleaseYearBetween, Rule
from retrieval.search.names import genre_names, people_names
from retrieval.search.spellings import listed
from retrieval.search.years import RANGE, YEAR_OPENERS, years_at
from towers.data.words import words_of

_NEGATIONS = frozenset(listed("without no not non except excluding minus nor"))
_BETWEEN = frozenset(listed("any a an the")) | _NEGATIONS
_AFTER_NEGATION = _BETWEEN | frozenset(listed("with by starring of"))
_AND_SO_ON = frozenset(("or", "and", "nor"))
_FOR_KIDS = [
    tuple(phrase.split())
    for phrase in (
        "for kids", "for children", "for the kids", "for my kids", "for young kids", "for young children",
        "for the whole family", "for families", "kid friendly", "kids friendly", "child friendly",
        "family friendly", "suitable for kids", "suitable for children",
    )
]  # fmt: skip
_FILLERS = frozenset(
    listed(
        "a an the and or of in on at to for from with by about some any all me i we my that are is was "
        "were be it movie movies film films show shows series tv title titles something anything please "
        "find want watch see good great best top starring featuring directed director made released set "
        "like only list but"
    )
)
"""Words that say nothing beside what was understood."""
_LONGEST_PHRASE = 5
_OPENERS = YEAR_OPENERS.union(phrase[0] for phrase in _FOR_KIDS)


@dataclass(frozen=True, slots=True)
class Understood:
    """What some words of a text were taken to say.

    required: titles must pass the rule; otherwise those that do stand higher.
    """

    words: tuple[str, ...]
    rule: Rule
    required: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says, and the words that are left to look up; none where it was understood in full."""

    understood: tuple[Understood, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """Words, the rule that they say, and whether they say it outright: "from 1994" does, "1994" does not."""

    words: tuple[str, ...]
    rule: Rule
    outright: bool


class Understanding:
    """Reads texts against the genres and people of an items table (`towers.data.schema.ITEMS`)."""

    def __init__(self, items: pa.Table) -> None:
        self._genres: Mapping[tuple[str, ...], tuple[str, ...]] = genre_names(items)
        self._people: Mapping[tuple[str, ...], tuple[str, ...]] = people_names(items)
        # Most words begin nothing that is said, and are looked at no further.
        self._openers = _OPENERS.union(names[0] for names in (*self._genres, *self._people))
        # Where no certificate is known, nothing is known to be for kids.
        self._has_certificates = items["maturity"].null_count < items.num_rows

    def read(self, text: str, kept: Sequence[Rule] | None = None) -> Reading:
        """What a text says, at most one rule for a word. kept: take no other rules than these from it.

        Years with a preposition, decades, what is for kids and what is not wanted are always required. A
        genre, a person and a year by itself are where nothing else is asked for; otherwise they may be part
        of a name, and only lift the titles that pass.
        """
        words = tuple(words_of(RANGE.sub(r"\1 to \2", text)))
        said: list[_Said] = []
        left: list[str] = []
        place = 0
        while place < len(words):
            found = self._at(words, place)
            if kept is not None:
                found = [one for one in found if one.rule in kept]
            if found:
                said += found
                place += sum(len(one.words) for one in found)
            else:
                left.append(words[place])
                place += 1
        if not said:
            return Reading((), words)
        left = [word for word in left if word not in _FILLERS]
        understood = tuple(Understood(one.words, one.rule, one.outright or not left) for one in said)
        return Reading(understood, tuple(left))

    def _at(self, words: tuple[str, ...], start: int) -> list[_Said]:
        """What the words from one on say; nothing where they say nothing."""
        if words[start] in _NEGATIONS:
            return self._unwanted(words, start)
        said = self._one(words, start)
        if said is None:
            return []
        while (
            isinstance(said.rule, GenresAny) and not said.outright and self._next(words, start, said) == "or"
        ):
            other = self._one(words, start + len(said.words) + 1)
            if other is None or not isinstance(other.rule, GenresAny):
                break
            both = GenresAny((*said.rule.genres, *other.rule.genres))
            said = _Said((*said.words, "or", *other.words), both, False)
        return [said]

    def _unwanted(self, words: tuple[str, ...], start: int) -> list[_Said]:
        """What stands after "without" and its like, and what is joined to it."""
        found: list[_Said] = []
        place = start
        while place < len(words) and (place == start or words[place] in _AND_SO_ON):
            first = place + 1
            # "and with" and its like begin something that is wanted.
            while first < len(words) and words[first] in (_AFTER_NEGATION if place == start else _BETWEEN):
                first += 1
            said = self._one(words, first)
            if said is None:
                break
            end = first + len(said.words)
            found.append(_Said(words[place:end], Not(said.rule), True))
            place = end
        return found

    def _one(self, words: tuple[str, ...], start: int) -> _Said | None:
        """What is said outright or by a name at this place, by the most words."""
        if start >= len(words) or not (words[start] in self._openers or words[start][0].isdecimal()):
            return None
        if kids := self._kids(words, start):
            return kids
        if years := years_at(words, start):
            num_words, first, last, outright = years
            return _Said(words[start : start + num_words], ReleaseYearBetween(first, last), outright)
        for length in range(min(_LONGEST_PHRASE, len(words) - start), 0, -1):
            phrase = words[start : start + length]
            if phrase in self._people:
                return _Said(phrase, PeopleAny(self._people[phrase]), False)
            if phrase in self._genres:
                return _Said(phrase, GenresAny(self._genres[phrase]), False)
        return None

    def _kids(self, words: tuple[str, ...], start: int) -> _Said | None:
        for phrase in _FOR_KIDS:
            if words[start : start + len(phrase)] == phrase:
                if self._has_certificates:
                    return _Said(phrase, ForKids(), True)
                if ("children",) in self._genres:
                    return _Said(phrase, GenresAny(self._genres[("children",)]), True)
        return None

    @staticmethod
    def _next(words: tuple[str, ...], start: int, said: _Said) -> str | None:
        end = start + len(said.words)
        return words[end] if end < len(words) else None
