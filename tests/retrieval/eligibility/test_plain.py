"""Rules as JSON: what is read, and what each wrong one is told."""

import json
from typing import Any

import pytest
from hypothesis import given

from retrieval.eligibility.plain import MAX_DEPTH, MAX_RULES, MAX_VALUES, rule_from_plain, to_plain
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
from tests.retrieval.eligibility.oracle import RULES, Recipe, made
from towers.errors import QueryError


@given(RULES)
def test_a_rule_comes_back_equal_from_json(recipe: Recipe) -> None:
    rule = made(recipe)
    assert rule_from_plain(json.loads(json.dumps(to_plain(rule)))) == rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('{"available": {"country": "DE", "time_seconds": 1700000000}}', Available("DE", 1_700_000_000)),
        ('{"maturity_at_most": {"age": 12}}', MaturityAtMost(12, allow_unknown=False)),
        ('{"maturity_at_most": {"age": 12, "allow_unknown": true}}', MaturityAtMost(12, allow_unknown=True)),
        ('{"for_kids": {}}', ForKids(7)),
        ('{"language_in": {"languages": ["de"]}}', LanguageIn(("de",))),
        ('{"genres_any": {"genres": ["War", "Drama"]}}', GenresAny(("War", "Drama"))),
        ('{"genres_all": {"genres": []}}', GenresAll(())),
        ('{"people_any": {"people": ["Kaito Espinar"]}}', PeopleAny(("Kaito Espinar",))),
        ('{"countries_of_production_any": {"countries": ["JP"]}}', CountriesOfProductionAny(("JP",))),
        ('{"release_year_between": {"first": 1990, "last": null}}', ReleaseYearBetween(1990, None)),
        ('{"release_year_between": {"last": 1990}}', ReleaseYearBetween(None, 1990)),
        ('{"item_in": {"item_ids": ["i1"]}}', ItemIn(("i1",))),
        ('{"attribute_in": {"name": "studio", "values": ["A"]}}', AttributeIn("studio", ("A",))),
        ('{"all": [{"for_kids": {}}, {"any": []}]}', All((ForKids(), AnyOf(())))),
        ('{"not": {"genres_any": {"genres": ["Horror"]}}}', Not(GenresAny(("Horror",)))),
    ],
)
def test_each_rule_has_its_form(text: str, rule: Rule) -> None:
    assert rule_from_plain(json.loads(text)) == rule


def _nested(depth: int) -> Any:
    plain: Any = {"for_kids": {}}
    for _ in range(depth - 1):
        plain = {"not": plain}
    return plain


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (None, "rule: found None; expected an object with one key, a rule's name"),
        ([], "rule: found []; expected an object with one key"),
        ({}, "rule: found {}; expected an object with one key"),
        ({"all": [], "any": []}, "rule: found {'all': [], 'any': []}; expected an object with one key"),
        ({"genre": {}}, "rule: no rule is called 'genre'; expected one of all, any, not, available,"),
        ({7: {}}, "rule: no rule is called 7; expected one of all,"),
        ({"all": {}}, "rule.all: found {}; expected a list of rules"),
        ({"not": [{"for_kids": {}}]}, "rule.not: found [{'for_kids': {}}]; expected an object with one key"),
        ({"for_kids": []}, "rule.for_kids: found []; expected an object with age"),
        ({"for_kids": {"ages": 7}}, "rule.for_kids: has no field 'ages'; expected age"),
        (
            {"available": {"country": "DE"}},
            "rule.available: time_seconds is left out; expected country, ",
        ),
        (
            {"available": {"country": "Germany", "time_seconds": 0}},
            "rule.available.country is 'Germany'; expected an ISO 3166-1 alpha-2 code",
        ),
        (
            {"available": {"country": "UK", "time_seconds": 0}},
            "rule.available.country is 'UK'; expected an ISO 3166-1 alpha-2 code, such as GB",
        ),
        (
            {"available": {"country": None, "time_seconds": 0}},
            "rule.available.country is None; expected a string",
        ),
        (
            {"available": {"country": "DE", "time_seconds": 1_700_000_000_000}},
            "rule.available.time_seconds is 1700000000000; expected 0 to 253402300799 Unix seconds",
        ),
        (
            {"available": {"country": "DE", "time_seconds": 0.5}},
            "rule.available.time_seconds is 0.5; expected a whole number",
        ),
        ({"maturity_at_most": {"age": True}}, "rule.maturity_at_most.age is True; expected a whole number"),
        ({"maturity_at_most": {"age": None}}, "rule.maturity_at_most.age is None; expected a whole number"),
        ({"maturity_at_most": {"age": -1}}, "rule.maturity_at_most.age is -1; expected 0 to 99 years"),
        ({"for_kids": {"age": 10**40}}, "rule.for_kids.age is 1000"),
        (
            {"maturity_at_most": {"age": 3, "allow_unknown": 1}},
            "rule.maturity_at_most.allow_unknown is 1; expected true or false",
        ),
        ({"genres_any": {"genres": "War"}}, "rule.genres_any.genres is 'War'; expected a list of strings"),
        (
            {"all": [{"for_kids": {}}, {"not": {"genres_any": {"genres": ["War", 3]}}}]},
            "rule.all[1].not.genres_any.genres[1] is 3; expected a string",
        ),
        ({"attribute_in": {"name": 1, "values": []}}, "rule.attribute_in.name is 1; expected a string"),
        (
            {"release_year_between": {"first": 2000, "last": 1990}},
            "rule.release_year_between.first is 2000 and last is 1990; expected first <= last",
        ),
        ({"release_year_between": {}}, "rule.release_year_between.first and last are both left open"),
        (
            {"release_year_between": {"first": "1990"}},
            "rule.release_year_between.first is '1990'; expected a whole number or null",
        ),
        (
            {"release_year_between": {"last": 12345}},
            "rule.release_year_between.last is 12345; expected 0 to 9999 as a year",
        ),
        (_nested(MAX_DEPTH + 1), f"rule{'.not' * MAX_DEPTH}: lies 17 rules deep; expected <= 16"),
        (
            {"all": [{"for_kids": {}}] * MAX_RULES},
            "rule.all[255]: is one rule too many; expected <= 256",
        ),
        (
            {"any": [{"item_in": {"item_ids": ["i"] * 5001}}] * 2},
            "rule.any[1].item_in: is where names and ids pass 10000; expected no more in all",
        ),
    ],
)
def test_a_wrong_rule_is_told_where_what_and_what_was_expected(plain: Any, message: str) -> None:
    with pytest.raises(QueryError) as told:
        rule_from_plain(plain)
    assert str(told.value).startswith(message)
    assert "; expected " in str(told.value)


def test_rules_at_the_limits_are_read() -> None:
    deep, wide, long = (
        _nested(MAX_DEPTH),
        {"all": [{"for_kids": {"age": 7}}] * (MAX_RULES - 1)},
        {"item_in": {"item_ids": ["i"] * MAX_VALUES}},
    )
    for plain in (deep, wide, long):
        assert rule_from_plain(to_plain(rule_from_plain(plain))) == rule_from_plain(plain)
    assert to_plain(rule_from_plain(wide)) == wide
    assert to_plain(rule_from_plain(long)) == long


def test_a_rule_that_holds_itself_is_refused() -> None:
    plain: dict[str, Any] = {}
    plain["not"] = plain
    with pytest.raises(QueryError, match="17 rules deep"):
        rule_from_plain(plain)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(QueryError) as told:
        rule_from_plain({"genres_any": {"genres": "x" * 1_000_000}})
    assert len(str(told.value)) < 200


def test_the_whole_can_have_another_name() -> None:
    with pytest.raises(QueryError, match=r"^request\.filter\.all: found 3"):
        rule_from_plain({"all": 3}, "request.filter")
