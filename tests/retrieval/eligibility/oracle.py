"""Rules by their definition, a title at a time: what the compiled ones are compared with.

Names in these worlds are ASCII, so that lower case is all there is to their comparison.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

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

START_SECONDS = 1_700_000_000
AGES = {"G": 0, "TV-Y7": 7, "fsk 12": 12, "PG-13": 13, "16+": 16, "TV-MA": 17, "NR": None, "?": None}
"""Certificates, and the ages that their boards say."""
NAMES = ("drama", "Drama", "Horror", "War", "a b", "ab", "")
COUNTRIES = ("DE", "FR", "US")


def passes(item: dict[str, Any], rule: Rule) -> bool:
    """Whether a title, as a row of the items table, passes a rule."""
    match rule:
        case All(rules):
            return all(passes(item, one) for one in rules)
        case AnyOf(rules):
            return any(passes(item, one) for one in rules)
        case Not(inner):
            return not passes(item, inner)
        case Available(country, time_seconds):
            return _available(item["licences"], country, time_seconds)
        case MaturityAtMost(age, allow_unknown):
            minimum = AGES.get(item["maturity"])
            return allow_unknown if minimum is None else minimum <= age
        case ForKids(age):
            minimum = AGES.get(item["maturity"])
            return minimum is not None and minimum <= age
        case LanguageIn(languages):
            return bool(_lower([item["language"]]) & _lower(languages))
        case GenresAny(genres):
            return bool(_of(item, "genres", "sub_genres") & _lower(genres))
        case GenresAll(genres):
            return _lower(genres) <= _of(item, "genres", "sub_genres")
        case PeopleAny(people):
            return bool(_of(item, "cast", "directors") & _lower(people))
        case CountriesOfProductionAny(countries):
            return bool(_of(item, "countries") & _lower(countries))
        case ReleaseYearBetween(first, last):
            year = item["release_year"]
            return year is not None and (first is None or first <= year) and (last is None or year <= last)
        case ItemIn(item_ids):
            return item["item_id"] in item_ids
        case AttributeIn(name, values):
            given = [one for one in item["attributes"] or [] if one is not None and one["name"] is not None]
            return any(
                one["name"].lower() == name.lower() and _lower([one["value"]]) & _lower(values)
                for one in given
            )


def _available(licences: list[dict[str, Any] | None] | None, country: str, time_seconds: int) -> bool:
    if licences is None:
        return True
    now = datetime.fromtimestamp(time_seconds, UTC)
    return any(
        (one["country"] is None or (one["country"] == country.upper() and country != ""))
        and (one["start"] is None or one["start"] <= now)
        and (one["end"] is None or now < one["end"])
        for one in licences
        if one is not None
    )


def _lower(names: Any) -> set[str]:
    return {name.lower() for name in names if name is not None}


def _of(item: dict[str, Any], *columns: str) -> set[str]:
    return set().union(*(_lower(item[column] or []) for column in columns))


def _lists(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(st.none() | names, max_size=3)


def _seconds() -> st.SearchStrategy[int]:
    return st.integers(START_SECONDS - 3, START_SECONDS + 3)


def _moments() -> st.SearchStrategy[datetime]:
    """Times to the half second, so that a window can begin and end between two requests."""
    origin = datetime.fromtimestamp(START_SECONDS, UTC)
    return st.integers(-6, 6).map(lambda halves: origin + timedelta(milliseconds=500 * halves))


_LICENCE = st.fixed_dictionaries(
    {
        "country": st.sampled_from([*COUNTRIES, "", None]),
        "start": st.none() | _moments(),
        "end": st.none() | _moments(),
    }
)
_names = st.sampled_from(NAMES)
ITEM = st.fixed_dictionaries(
    {
        "release_year": st.none() | st.integers(1998, 2003),
        "genres": _lists(_names),
        "sub_genres": _lists(_names),
        "cast": _lists(_names),
        "directors": _lists(_names),
        "countries": _lists(_names),
        "language": st.none() | _names,
        "maturity": st.none() | st.sampled_from(list(AGES)),
        "licences": st.none() | st.lists(st.none() | _LICENCE, max_size=4),
        "attributes": st.none()
        | st.lists(
            st.none() | st.fixed_dictionaries({"name": st.none() | _names, "value": st.none() | _names}),
            max_size=3,
        ),
    }
)
"""The columns of a title that rules read, each of them null at times."""


def _texts(names: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(names, max_size=3).map(tuple)


_asked = st.sampled_from([*NAMES, "DRAMA", "hOrRoR", "nobody"])
_years = st.integers(1997, 2000)

Recipe = tuple[type[Rule], tuple[Any, ...]]
"""A rule that is not yet made: its type and what it is made of, rules as recipes too.

Made inside a strategy, the checks of shapes and types that tests run under would draw lots there.
"""


def _recipe(kind: type[Rule], *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Recipe]:
    return st.tuples(st.just(kind), st.tuples(*fields))


ATOMS: st.SearchStrategy[Recipe] = st.one_of(
    _recipe(Available, st.sampled_from([*COUNTRIES, "de", "PL", ""]), _seconds()),
    _recipe(MaturityAtMost, st.integers(0, 20), st.booleans()),
    _recipe(ForKids, st.integers(0, 12)),
    _recipe(LanguageIn, _texts(_asked)),
    _recipe(GenresAny, _texts(_asked)),
    _recipe(GenresAll, _texts(_asked)),
    _recipe(PeopleAny, _texts(_asked)),
    _recipe(CountriesOfProductionAny, _texts(_asked)),
    _recipe(ReleaseYearBetween, _years, st.none() | st.integers(2000, 2004)),
    _recipe(ReleaseYearBetween, st.none(), _years),
    _recipe(ItemIn, _texts(st.sampled_from(["i0", "i1", "i2", "i64", "I1", "x"]))),
    _recipe(AttributeIn, _asked, _texts(_asked)),
)


def _around(inner: st.SearchStrategy[Recipe]) -> st.SearchStrategy[Recipe]:
    several = st.lists(inner, max_size=3).map(tuple)
    return st.one_of(_recipe(All, several), _recipe(AnyOf, several), _recipe(Not, inner))


RULES: st.SearchStrategy[Recipe] = st.recursive(ATOMS, _around, max_leaves=8)


def made(recipe: Recipe) -> Rule:
    """The rule of a recipe."""
    kind, values = recipe
    if kind is All or kind is AnyOf:
        return kind(tuple(made(one) for one in values[0]))
    if kind is Not:
        return Not(made(values[0]))
    return kind(*values)
