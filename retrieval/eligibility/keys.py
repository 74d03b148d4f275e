"""What makes two rules the same over one catalogue."""

from collections.abc import Callable, Iterable

from retrieval.eligibility.inverted import folded
from retrieval.eligibility.licences import Licences
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


def key_of(rule: Rule, licences: Callable[[], Licences]) -> str:
    """A text that rules share only where they pass the same titles.

    The order of names and rules does not count, nor does their repetition, the spelling of a name, or the
    moment within a time in which no licence begins or ends. licences: called where a rule asks for them.
    """
    match rule:
        case All(rules):
            return _joined("all", (key_of(one, licences) for one in rules))
        case AnyOf(rules):
            return _joined("any", (key_of(one, licences) for one in rules))
        case Not(Not(inner)):
            return key_of(inner, licences)
        case Not(inner):
            return f"not({key_of(inner, licences)})"
        case Available(country, time_seconds):
            return f"available{licences().period(country, time_seconds)}"
        case ForKids(age):
            return repr(MaturityAtMost(age))
        case MaturityAtMost() | ReleaseYearBetween():
            return repr(rule)
        case GenresAll(genres):
            return key_of(All(tuple(GenresAny((genre,)) for genre in genres)), licences)
        case LanguageIn(names) | GenresAny(names) | PeopleAny(names) | CountriesOfProductionAny(names):
            return f"{type(rule).__name__}{_distinct(map(folded, names))}"
        case AttributeIn(name, values):
            return f"AttributeIn({folded(name)!r}, {_distinct(map(folded, values))})"
        case ItemIn(item_ids):
            return f"ItemIn{_distinct(item_ids)}"


def _joined(name: str, keys: Iterable[str]) -> str:
    parts = sorted(set(keys))
    return parts[0] if len(parts) == 1 else f"{name}({', '.join(parts)})"


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))
