"""Rules as the plain values that JSON has, for requests: read strictly, and nothing of them is executed.

A rule is an object with one key, its name; under it an object of its fields. `all` and `any` hold a list of
rules and `not` holds one:

    {"all": [{"for_kids": {}}, {"not": {"genres_any": {"genres": ["Horror"]}}}]}
"""

from dataclasses import MISSING, dataclass, fields
from typing import Any

from retrieval.eligibility.rules import (
    All,
    AnyOf,
    Atom,
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
    shown,
)
from towers.errors import QueryError

MAX_DEPTH = 16
"""Rules inside of each other."""
MAX_RULES = 256
"""Rules in all, those that hold others among them."""
MAX_VALUES = 10_000
"""Names and ids in all."""

_ATOMS: dict[str, type[Atom]] = {
    "available": Available,
    "maturity_at_most": MaturityAtMost,
    "for_kids": ForKids,
    "language_in": LanguageIn,
    "genres_any": GenresAny,
    "genres_all": GenresAll,
    "people_any": PeopleAny,
    "countries_of_production_any": CountriesOfProductionAny,
    "release_year_between": ReleaseYearBetween,
    "item_in": ItemIn,
    "attribute_in": AttributeIn,
}
_EXPECTED = {
    str: "a string",
    int: "a whole number",
    int | None: "a whole number or null",
    bool: "true or false",
}
_NAMES = {kind: name for name, kind in _ATOMS.items()}


def rule_from_plain(plain: object, where: str = "rule") -> Rule:
    """The rule that these plain values say; `where` is what a message calls the whole.

    Raises QueryError, which names the place (as `rule.all[2].not.genres_any.genres[0]`), what stands there
    and what was expected, on anything but the form above: unknown names and fields, fields left out that
    have no default, wrong types and ranges, and more than MAX_DEPTH, MAX_RULES or MAX_VALUES.
    """
    return _Reader().rule(plain, where, 1)


def to_plain(rule: Rule) -> dict[str, Any]:
    """The plain values that `rule_from_plain` reads back as an equal rule."""
    match rule:
        case All(rules):
            return {"all": [to_plain(one) for one in rules]}
        case AnyOf(rules):
            return {"any": [to_plain(one) for one in rules]}
        case Not(inner):
            return {"not": to_plain(inner)}
    values = {item.name: getattr(rule, item.name) for item in fields(rule)}
    return {
        _NAMES[type(rule)]: {
            name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
        }
    }


@dataclass(slots=True)
class _Reader:
    """Reads one rule, and counts what it holds."""

    num_rules: int = 0
    num_values: int = 0

    def rule(self, plain: object, where: str, depth: int) -> Rule:
        self.num_rules += 1
        if self.num_rules > MAX_RULES:
            raise QueryError(f"{where}: is one rule too many; expected <= {MAX_RULES} in all")
        if depth > MAX_DEPTH:
            raise QueryError(f"{where}: lies {depth} rules deep; expected <= {MAX_DEPTH}")
        if not isinstance(plain, dict) or len(plain) != 1:
            raise QueryError(f"{where}: found {shown(plain)}; expected an object with one key, a rule's name")
        [(name, body)] = plain.items()
        match name:
            case "all":
                return All(self._rules(body, f"{where}.all", depth + 1))
            case "any":
                return AnyOf(self._rules(body, f"{where}.any", depth + 1))
            case "not":
                return Not(self.rule(body, f"{where}.not", depth + 1))
            case str() if name in _ATOMS:
                return self._atom(_ATOMS[name], body, f"{where}.{name}")
        raise QueryError(
            f"{where}: no rule is called {shown(name)}; expected one of all, any, not, {', '.join(_ATOMS)}"
        )

    def _rules(self, plain: object, where: str, depth: int) -> tuple[Rule, ...]:
        if not isinstance(plain, list):
            raise QueryError(f"{where}: found {shown(plain)}; expected a list of rules")
        return tuple(self.rule(one, f"{where}[{place}]", depth) for place, one in enumerate(plain))

    def _atom(self, kind: type[Atom], body: object, where: str) -> Atom:
        kind_of = {item.name: item.type for item in fields(kind)}
        expected = ", ".join(kind_of)
        if not isinstance(body, dict):
            raise QueryError(f"{where}: found {shown(body)}; expected an object with {expected}")
        for name in body:
            if name not in kind_of:
                raise QueryError(f"{where}: has no field {shown(name)}; expected {expected}")
        for item in fields(kind):
            if item.default is MISSING and item.name not in body:
                raise QueryError(f"{where}: {item.name} is left out; expected {expected}")
        self.num_values += sum(len(value) for value in body.values() if isinstance(value, list))
        if self.num_values > MAX_VALUES:
            raise QueryError(f"{where}: is where names and ids pass {MAX_VALUES}; expected no more in all")
        given = {name: _typed(kind_of[name], value, f"{where}.{name}") for name, value in body.items()}
        try:
            return kind(**given)
        except QueryError as error:
            raise QueryError(f"{where}.{error}") from error


def _typed(kind: Any, value: Any, where: str) -> Any:
    """A plain value as the field's type; lists as tuples."""
    if kind == tuple[str, ...]:
        if not isinstance(value, list):
            raise QueryError(f"{where} is {shown(value)}; expected a list of strings")
        return tuple(_typed(str, one, f"{where}[{place}]") for place, one in enumerate(value))
    # True is an int to Python, and none to whoever writes rules.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise QueryError(f"{where} is {shown(value)}; expected {_EXPECTED[kind]}")
    return value
