"""Rules of eligibility: what a title must be for a request to show it. Values, without a catalogue.

Names (of genres, people, languages, countries of production, attributes) match where they are equal after
Unicode compatibility normalisation (NFKC) and case folding; nothing finer or coarser. Ids match as they are.

A title of which the fact is not known passes no rule that asks for it, unless the rule says otherwise; so
`Not` of such a rule keeps it. Numbers and codes out of their range are a QueryError as the rule is made.
"""

import reprlib
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from towers.data.signals.countries import country_codes
from towers.errors import QueryError

KIDS_AGE = 7
"""Up to which certificate a title is for kids, unless a rule says otherwise: that of "TV-Y7" and "7+"."""
LAST_YEAR = 9999
LAST_SECOND = 253_402_300_799
"""Of the year 9999; milliseconds taken for seconds are later."""


@dataclass(frozen=True, slots=True)
class Available:
    """Titles with a licence for the country at that moment.

    country: ISO 3166-1 alpha-2; "" where unknown, when only licences for everywhere count. time_seconds: Unix
    seconds. A licence without country is for everywhere, without start since ever, without end for good;
    `end` itself is outside. A title whose licences are null is available everywhere; one whose list is empty,
    nowhere.
    """

    country: str
    time_seconds: int

    def __post_init__(self) -> None:
        check_country(self.country)
        _check_range("time_seconds", self.time_seconds, LAST_SECOND, "Unix seconds")


def check_country(country: str) -> str:
    """The code in capitals; QueryError unless it is one of a country, or ""."""
    # What is no ASCII may become it in capitals: "ß" is no South Sudan.
    code = country.upper() if isinstance(country, str) and country.isascii() else None
    if code is None or (code and code not in country_codes()):
        raise QueryError(
            f"country is {shown(country)}; "
            'expected an ISO 3166-1 alpha-2 code, such as GB, or "" where unknown'
        )
    return code


@dataclass(frozen=True, slots=True)
class MaturityAtMost:
    """Titles whose certificate lets one of this age watch (`certificates.minimum_age`).

    A title without a certificate, or with one whose spelling is not known, passes only by allow_unknown.
    """

    age: int
    allow_unknown: bool = False

    def __post_init__(self) -> None:
        _check_age(self.age)


@dataclass(frozen=True, slots=True)
class ForKids:
    """Titles whose certificate lets a child of this age watch; one of unknown maturity is never for kids."""

    age: int = KIDS_AGE

    def __post_init__(self) -> None:
        _check_age(self.age)


@dataclass(frozen=True, slots=True)
class LanguageIn:
    """Titles in one of these languages; one of unknown language is in none."""

    languages: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_texts("languages", self.languages)


@dataclass(frozen=True, slots=True)
class GenresAny:
    """Titles with one of these genres or sub-genres; one whose genres are unknown has none."""

    genres: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_texts("genres", self.genres)


@dataclass(frozen=True, slots=True)
class GenresAll:
    """Titles with all of these genres or sub-genres; all titles where none is named."""

    genres: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_texts("genres", self.genres)


@dataclass(frozen=True, slots=True)
class PeopleAny:
    """Titles with one of these people in the cast or as director; one whose people are unknown has none."""

    people: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_texts("people", self.people)


@dataclass(frozen=True, slots=True)
class CountriesOfProductionAny:
    """Titles produced in one of these countries, as the source spells them; unknown is in none."""

    countries: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_texts("countries", self.countries)


@dataclass(frozen=True, slots=True)
class ReleaseYearBetween:
    """Titles that came out from the first year to the last, both included; one of unknown year never does.

    None leaves an end open; one of the two is given.
    """

    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        for name, year in (("first", self.first), ("last", self.last)):
            if year is not None:
                _check_range(name, year, LAST_YEAR, "as a year")
        if self.first is None and self.last is None:
            raise QueryError("first and last are both left open; expected a year in one of them")
        if self.first is not None and self.last is not None and self.first > self.last:
            raise QueryError(f"first is {self.first} and last is {self.last}; expected first <= last")


@dataclass(frozen=True, slots=True)
class ItemIn:
    """The titles of these ids; ids that the catalogue lacks add none."""

    item_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_texts("item_ids", self.item_ids)


@dataclass(frozen=True, slots=True)
class AttributeIn:
    """Titles whose attribute of this name has one of these values; one without the attribute has none."""

    name: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise QueryError(f"name is {shown(self.name)}; expected a text")
        _check_texts("values", self.values)


@dataclass(frozen=True, slots=True)
class All:
    """Titles that pass every one of the rules; all titles where there is none."""

    rules: "tuple[Rule, ...]"

    def __post_init__(self) -> None:
        _check_rules(self.rules)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Titles that pass one of the rules; none where there is none."""

    rules: "tuple[Rule, ...]"

    def __post_init__(self) -> None:
        _check_rules(self.rules)


@dataclass(frozen=True, slots=True)
class Not:
    """Titles that do not pass the rule, those among them of which it has no fact to go by."""

    rule: "Rule"

    def __post_init__(self) -> None:
        check_rule(self.rule)


Atom: TypeAlias = (
    Available
    | MaturityAtMost
    | ForKids
    | LanguageIn
    | GenresAny
    | GenresAll
    | PeopleAny
    | CountriesOfProductionAny
    | ReleaseYearBetween
    | ItemIn
    | AttributeIn
)
"""A rule of one fact."""
Rule: TypeAlias = Atom | All | AnyOf | Not
"""What titles must be; a value that can be compared and hashed."""


def check_rule(rule: object) -> None:
    """Raises QueryError unless this is a rule; what is inside of one was checked as it was made."""
    if not isinstance(rule, Rule):
        raise QueryError(
            f"rule: a {type(rule).__name__}; expected a rule of retrieval.eligibility.rules, or what "
            "rule_from_plain makes of JSON"
        )


def _check_rules(rules: object) -> None:
    if not isinstance(rules, tuple):
        raise QueryError(f"rules is {shown(rules)}; expected a tuple of rules")
    for rule in rules:
        check_rule(rule)


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    return reprlib.repr(value)


def _check_age(age: int) -> None:
    _check_range("age", age, 99, "years")


def _check_texts(name: str, values: object) -> None:
    """A text is a sequence of texts too, of its letters: nobody means those."""
    if not (isinstance(values, tuple) and all(isinstance(value, str) for value in values)):
        raise QueryError(f"{name} is {shown(values)}; expected a tuple of texts, such as ('…',)")


def _check_range(name: str, value: object, high: int, unit: str) -> None:
    if not (isinstance(value, int | float | np.number) and 0 <= value <= high):
        raise QueryError(f"{name} is {shown(value)}; expected 0 to {high} {unit}")
