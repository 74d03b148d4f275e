"""Compiled rules against their definition, title by title."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.catalogue import Catalogue
from retrieval.eligibility import bitmaps
from retrieval.eligibility.compile import Eligibility, EligibilitySettings
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
from tests.retrieval.eligibility.costs import NOW_SECONDS, synthetic_items
from tests.retrieval.eligibility.costs import RULES as COSTED
from tests.retrieval.eligibility.oracle import ATOMS, ITEM, RULES, START_SECONDS, Recipe, made, passes
from tests.retrieval.worlds import items_table
from towers.errors import ConfigError


def _table(kinds: list[dict[str, Any]], num_items: int) -> pa.Table:
    """Titles i0, i1, … of these kinds by turns, in two chunks as a file may have them."""
    chosen = [kinds[row % len(kinds)] for row in range(num_items)]
    whole = items_table(num_items, **{name: [one[name] for one in chosen] for name in kinds[0]})
    return pa.concat_tables([whole.slice(0, num_items // 3), whole.slice(num_items // 3)])


TABLES = st.builds(_table, st.lists(ITEM, min_size=1, max_size=6), st.sampled_from([1, 5, 63, 64, 65, 130]))


def _rows(items: pa.Table, rule: Rule) -> list[int]:
    return [row for row, item in enumerate(items.to_pylist()) if passes(item, rule)]


def _of(rule: Rule, **columns: object) -> list[int]:
    """The rows of a table of these columns that pass."""
    num_items = max(len(column) for column in columns.values())  # type: ignore[arg-type]
    eligibility = Eligibility(Catalogue(items_table(num_items, **columns)))
    return [int(row) for row in bitmaps.rows(eligibility.bitmap(rule))]


@given(TABLES, st.lists(RULES, min_size=1, max_size=4))
def test_the_titles_that_pass_are_those_of_the_definition(items: pa.Table, recipes: list[Recipe]) -> None:
    eligibility = Eligibility(Catalogue(items))
    for rule in map(made, recipes):
        bitmap, expected = eligibility.bitmap(rule), _rows(items, rule)
        assert bitmaps.rows(bitmap).tolist() == expected  # so bits beyond the last title are clear
        assert len(bitmap) == bitmaps.num_bytes(items.num_rows)
        assert eligibility.count(rule) == len(expected)


@given(TABLES, st.lists(ATOMS, min_size=2, max_size=20))
def test_rules_asked_one_after_the_other_do_not_disturb_each_other(
    items: pa.Table, recipes: list[Recipe]
) -> None:
    rules = list(map(made, recipes))
    tiny = EligibilitySettings(max_cache_bytes=2_000)  # a few bitmaps: most are made, kept and lost again
    eligibility = Eligibility(Catalogue(items), tiny)
    for rule in rules + rules[::-1]:
        assert bitmaps.rows(eligibility.bitmap(rule)).tolist() == _rows(items, rule)


@given(TABLES, RULES, RULES)
def test_de_morgan_holds(items: pa.Table, of_one: Recipe, of_other: Recipe) -> None:
    one, other = made(of_one), made(of_other)
    eligibility = Eligibility(Catalogue(items))
    neither = eligibility.bitmap(All((Not(one), Not(other))))
    np.testing.assert_array_equal(neither, eligibility.bitmap(Not(AnyOf((one, other)))))
    np.testing.assert_array_equal(eligibility.bitmap(Not(Not(one))), eligibility.bitmap(one))


@given(TABLES, st.lists(st.none() | RULES, max_size=6).flatmap(lambda some: st.permutations(some + some[:2])))
def test_a_batch_has_the_bitmap_of_each_rule(items: pa.Table, recipes: list[Recipe | None]) -> None:
    rules = [recipe and made(recipe) for recipe in recipes]
    eligibility = Eligibility(Catalogue(items))
    distinct, which = eligibility.bitmaps(rules)
    assert distinct.shape[1] == bitmaps.num_bytes(items.num_rows)
    assert set(which.tolist()) == set(range(len(distinct)))
    for line, rule in enumerate(rules):
        expected = list(range(items.num_rows)) if rule is None else _rows(items, rule)
        assert bitmaps.rows(distinct[which[line]]).tolist() == expected


def test_equal_rules_of_a_batch_are_one_bitmap() -> None:
    now = START_SECONDS
    window = [{"country": "DE", "start": None, "end": datetime.fromtimestamp(now, UTC)}]
    eligibility = Eligibility(Catalogue(items_table(3, licences=[window, None, []])))
    same: list[list[Rule | None]] = [
        [None, All(()), None],
        [
            GenresAny(("War", "Drama")),
            GenresAny(("DRAMA", "war", "War")),
            AnyOf((GenresAny(("drama", "war")),)),
        ],
        [All((ForKids(), ItemIn(("a", "b")))), All((ItemIn(("b", "a")), MaturityAtMost(7), ForKids()))],
        [GenresAll(("a", "b")), All((GenresAny(("b",)), GenresAny(("A",)))), Not(Not(GenresAll(("b", "a"))))],
        [AttributeIn("Studio", ("A",)), AttributeIn("studio", ("a", "A"))],
        [Available("DE", now - 1), Available("de", 0)],
        [Available("DE", now), Available("DE", now + 10**6)],
        [Available("", now), Available("PL", 0), Available("", 0)],
    ]
    distinct, which = eligibility.bitmaps([rule for group in same for rule in group])
    groups = [place for place, group in enumerate(same) for _ in group]
    assert which.tolist() == groups
    assert len(distinct) == len(same)


def test_rules_that_differ_are_kept_apart() -> None:
    apart: list[Rule] = [
        GenresAny(("a", "b")),
        GenresAll(("a", "b")),
        PeopleAny(("a", "b")),
        LanguageIn(("a", "b")),
        CountriesOfProductionAny(("a", "b")),
        GenresAny(("a', 'b",)),
        ItemIn(("a", "b")),
        ItemIn(("A", "b")),
        AttributeIn("a", ("b",)),
        AttributeIn("b", ("b",)),
        MaturityAtMost(7),
        MaturityAtMost(7, allow_unknown=True),
        ReleaseYearBetween(first=7),
        ReleaseYearBetween(last=7),
        Not(ForKids()),
        All((ForKids(), GenresAny(("a",)))),
        AnyOf((ForKids(), GenresAny(("a",)))),
        AnyOf(()),
        All(()),
    ]
    distinct, which = Eligibility(Catalogue(items_table(2))).bitmaps(apart)
    assert which.tolist() == list(range(len(apart)))
    assert len(distinct) == len(apart)


_BY_HAND = {
    "release_year": [1999, 2000, None, 2001],
    "genres": [["War"], None, ["Drama", "War"], []],
    "sub_genres": [["Drama"], ["War"], None, ["Heist"]],
    "cast": [["Ann"], None, ["Bo", "Cy"], []],
    "directors": [None, ["Ann"], ["Cy"], ["Di"]],
    "countries": [["FR", "JP"], ["JP"], None, []],
    "language": ["fr", None, "ja", "FR"],
    "maturity": ["18+", "TV-Y7", "G", None],
    "attributes": [
        [{"name": "studio", "value": "A"}, {"name": "kind", "value": "B"}],
        [{"name": "Studio", "value": "b"}],
        None,
        [{"name": "kind", "value": "a"}],
    ],
}


@pytest.mark.parametrize(
    ("rule", "rows"),
    [
        (ReleaseYearBetween(2000, 2000), [1]),
        (ReleaseYearBetween(first=2000), [1, 3]),
        (ReleaseYearBetween(last=2000), [0, 1]),
        (GenresAny(("war",)), [0, 1, 2]),
        (GenresAny(("Heist", "Drama")), [0, 2, 3]),
        (GenresAll(("War", "Drama")), [0, 2]),
        (PeopleAny(("Ann",)), [0, 1]),
        (PeopleAny(("Di", "Cy")), [2, 3]),
        (CountriesOfProductionAny(("JP",)), [0, 1]),
        (LanguageIn(("Fr",)), [0, 3]),
        (MaturityAtMost(7), [1, 2]),
        (MaturityAtMost(17, allow_unknown=True), [1, 2, 3]),
        (ForKids(), [1, 2]),
        (ForKids(6), [2]),
        (ItemIn(("i3", "i0", "x")), [0, 3]),
        (AttributeIn("studio", ("a",)), [0]),
        (AttributeIn("STUDIO", ("A", "B")), [0, 1]),
        (AttributeIn("kind", ("A", "B")), [0, 3]),
        (AnyOf((ForKids(6), ItemIn(("i0",)))), [0, 2]),
        (All((GenresAny(("War",)), Not(ForKids()))), [0]),
    ],
)
def test_each_rule_passes_the_titles_worked_out_by_hand(rule: Rule, rows: list[int]) -> None:
    assert _of(rule, **_BY_HAND) == rows


def test_a_title_of_unknown_maturity_passes_only_where_the_rule_says_so() -> None:
    maturity = ["G", None, "NR", "18"]
    assert _of(MaturityAtMost(12), maturity=maturity) == [0]
    assert _of(MaturityAtMost(12, allow_unknown=True), maturity=maturity) == [0, 1, 2]
    assert _of(MaturityAtMost(99), maturity=maturity) == [0, 3]
    assert _of(ForKids(99), maturity=maturity) == [0, 3]


def test_excluding_a_genre_keeps_titles_of_unknown_genres() -> None:
    genres = [["Horror"], None, [], [None], ["War"]]
    assert _of(Not(GenresAny(("Horror",))), genres=genres) == [1, 2, 3, 4]
    assert _of(GenresAny(("Horror",)), genres=genres) == [0]


def test_names_match_by_compatibility_form_and_case_alone() -> None:
    names = [
        "Straße",
        "STRASSE",
        "Ｓｔｒａｓｓｅ",
        "Strase",
        "Stráße",
        " Straße",
        "Am\u00e9lie",
        "ame\u0301lie",
    ]
    cast = [[name] for name in names]
    assert _of(PeopleAny(("strasse",)), cast=cast) == [0, 1, 2]
    assert _of(PeopleAny(("AME\u0301LIE",)), cast=cast) == [6, 7]
    assert _of(PeopleAny(("Amelie",)), cast=cast) == []


def test_names_far_apart_in_unicode_are_all_found() -> None:
    languages = ["\U0001f600", "\uffee", "z", "é", "\ud7a3", "a\0b", ""]
    for row, language in enumerate(languages):
        assert _of(LanguageIn((language,)), language=languages) == [row]


@pytest.mark.parametrize(
    "rule",
    [
        GenresAny(("nobody",)),
        LanguageIn(("",)),
        PeopleAny(("\ud800",)),
        CountriesOfProductionAny(("XX",)),
        ItemIn(("no such id", "\ud800")),
        AttributeIn("no such attribute", ("x",)),
        ReleaseYearBetween(first=9999),
        GenresAny(()),
    ],
)
def test_what_nobody_has_passes_no_title(rule: Rule) -> None:
    eligibility = Eligibility(Catalogue(items_table(70, genres=[["War"]] * 70)))
    assert eligibility.count(rule) == 0
    assert eligibility.count(Not(rule)) == 70


def test_a_catalogue_without_titles_has_empty_bitmaps() -> None:
    eligibility = Eligibility(Catalogue(items_table(0)))
    for rule in COSTED.values():
        assert eligibility.bitmap(rule).shape == (0,)
        assert eligibility.count(Not(rule)) == 0
    assert eligibility.bitmaps([None, *COSTED.values()])[0].shape[1] == 0


def test_an_empty_batch_has_no_bitmaps() -> None:
    distinct, which = Eligibility(Catalogue(items_table(3))).bitmaps([])
    assert distinct.shape == (0, 8)
    assert which.shape == (0,)


def test_a_bitmap_that_is_shared_cannot_be_written_to() -> None:
    eligibility = Eligibility(Catalogue(items_table(3)))
    for rule in (None, ForKids(), GenresAll(("a",)), AttributeIn("x", ("y",))):
        with pytest.raises(ValueError, match="read-only"):
            eligibility.bitmap(rule)[0] = 1


def test_a_bound_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"eligibility\.max_cache_bytes"):
        Eligibility(Catalogue(items_table(1)), EligibilitySettings(max_cache_bytes=-1))


@pytest.mark.parametrize("max_cache_bytes", [0, 3_000, 1 << 20])
def test_many_threads_get_what_one_gets(max_cache_bytes: int) -> None:
    items = synthetic_items(1000)
    rules: list[Rule] = [
        rule
        for age in range(12)
        for rule in (
            ForKids(age),
            GenresAny((f"genre {age}",)),
            All((PeopleAny((f"person {age}",)), ReleaseYearBetween(1960 + age))),
            Available("DE", NOW_SECONDS + 86_400 * age),
            AttributeIn("studio", (f"studio {age}",)),
        )
    ]
    expected = [bitmaps.rows(Eligibility(Catalogue(items)).bitmap(rule)).tolist() for rule in rules]
    shared = Eligibility(Catalogue(items), EligibilitySettings(max_cache_bytes))
    together = threading.Barrier(8)

    def ask(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(len(rules))
        together.wait()
        return all(bitmaps.rows(shared.bitmap(rules[at])).tolist() == expected[at] for at in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
