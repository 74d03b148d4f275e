"""Whether one title passes a rule, by the definition of the rule: slow, and nothing of it is compiled.

What `compile` makes is checked against this: it shares only the table of certificates with it.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from retrieval.eligibility.certificates import minimum_age
from retrieval.eligibility.rules import (
    All,
    AnyOf,
    AttributeIn,
    Available,
    CountriesOfProductionAny,
    ForKids,
    GenresAll,
    GenresAny,
    ItemIn,
    LanguageIn,
    MaturityAtMost,
    Not,
    PeopleAny,
    ReleaseYearBetween,
    Rule,
)

Title = Mapping[str, Any]
"""A row of the items table (`towers.data.schema.ITEMS`) as plain values, times in UTC."""


def passing(titles: Sequence[Title], rule: Rule) -> list[bool]:
    """Whether each of the titles passes the rule."""
    if isinstance(rule, Available):
        moment = datetime.fromtimestamp(rule.time_seconds, UTC)  # once for all
        return [_licensed(title["licences"], rule.country, moment) for title in titles]
    return [passes(title, rule) for title in titles]


def passes(title: Title, rule: Rule) -> bool:
    """Whether the title passes the rule."""
    match rule:
        case All(rules):
            return all(passes(title, each) for each in rules)
        case AnyOf(rules):
            return any(passes(title, each) for each in rules)
        case Not(inner):
            return not passes(title, inner)
        case Available(country, time_seconds):
            return _licensed(title["licences"], country, datetime.fromtimestamp(time_seconds, UTC))
        case MaturityAtMost(age, allow_unknown):
            minimum = _minimum_age(title)
            return allow_unknown if minimum is None else minimum <= age
        case ForKids(age):
            minimum = _minimum_age(title)
            return minimum is not None and minimum <= age
        case ReleaseYearBetween(first, last):
            year = title["release_year"]
            return year is not None and (first is None or first <= year) and (last is None or year <= last)
        case LanguageIn(languages):
            return _shares([title["language"]], languages)
        case GenresAny(genres):
            return _shares(_listed(title, "genres", "sub_genres"), genres)
        case GenresAll(genres):
            return set(map(_folded, genres)) <= _names(_listed(title, "genres", "sub_genres"))
        case PeopleAny(people):
            return _shares(_listed(title, "cast", "directors"), people)
        case CountriesOfProductionAny(countries):
            return _shares(_listed(title, "countries"), countries)
        case ItemIn(item_ids):
            return title["item_id"] in item_ids
        case AttributeIn(name, values):
            given = [
                each for each in title["attributes"] or () if each is not None and each["name"] is not None
            ]
            return any(
                _folded(each["name"]) == _folded(name) and _shares([each["value"]], values) for each in given
            )


def _licensed(licences: list[Mapping[str, Any] | None] | None, country: str, moment: datetime) -> bool:
    if licences is None:
        return True
    for each in licences:
        if each is None or not (
            each["country"] is None or (country != "" and each["country"] == country.upper())
        ):
            continue
        if (each["start"] is None or each["start"] <= moment) and (
            each["end"] is None or moment < each["end"]
        ):
            return True
    return False


def _minimum_age(title: Title) -> int | None:
    return None if title["maturity"] is None else minimum_age(title["maturity"])


def _listed(title: Title, *columns: str) -> list[str | None]:
    return [name for column in columns for name in title[column] or ()]


def _shares(own: Iterable[str | None], wanted: Iterable[str]) -> bool:
    return not _names(own).isdisjoint(map(_folded, wanted))


def _names(own: Iterable[str | None]) -> set[str]:
    return {_folded(name) for name in own if name is not None}


@lru_cache(1 << 14)
def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
