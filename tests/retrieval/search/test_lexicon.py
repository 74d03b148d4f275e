"""BM25F against its formula, term by term."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.search.lexicon import Lexicon, build_lexicon
from tests.retrieval.worlds import items_table

WORDS = ["alpha", "beta", "gamma", "delta"]
FIELD = st.lists(st.sampled_from(WORDS), max_size=3)


def _lexicon(rows: list[dict[str, list[str]]]) -> Lexicon:
    items = items_table(len(rows), **{name: [row[name] for row in rows] for name in ("cast", "genres")})
    return build_lexicon(items, [list(dict.fromkeys(row["title"])) for row in rows])


@given(
    rows=st.lists(
        st.fixed_dictionaries({"title": FIELD, "cast": FIELD, "genres": FIELD}), min_size=1, max_size=12
    ),
    asked=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_the_score_is_that_of_the_formula(rows: list[dict[str, list[str]]], asked: list[str]) -> None:
    known = {word for row in rows for field in row.values() for word in field}
    asked = [word for word in asked if word in known]
    if not asked:
        return
    expected, total = np.zeros(len(rows)), 0.0
    for word in dict.fromkeys(asked):
        frequency = [
            3.0 * (word in row["title"]) + 2.0 * row["cast"].count(word) + 1.2 * row["genres"].count(word)
            for row in rows
        ]
        num_titles = sum(one > 0 for one in frequency)
        rarity = math.log(1 + (len(rows) - num_titles + 0.5) / (num_titles + 0.5))
        expected += [rarity * one / (1.2 + one) for one in frequency]
        total += rarity
    np.testing.assert_allclose(_lexicon(rows).score(asked), expected / total, rtol=1e-5)


def _titled(*titles: str) -> Lexicon:
    return build_lexicon(items_table(len(titles)), [title.split() for title in titles])


def test_a_word_that_is_still_typed_or_not_known_is_also_what_it_begins() -> None:
    lexicon = _titled("star", "starship", "war")
    share = 3.0 / 4.2
    assert lexicon.score(["star"])[1] == pytest.approx(0.6 * share)
    assert lexicon.score(["star"])[0] == pytest.approx(share)
    assert lexicon.score(["star", "war"])[1] == 0.0  # known, and not the last
    assert lexicon.score(["starsh", "war"])[1] > 0.0


@pytest.mark.parametrize(
    ("asked", "edits"),
    [
        ("matirx", 1),
        ("matrx", 1),
        ("mztrix", 1),
        ("godfather", 0),
        ("godfahtre", 2),
        ("maxtirx", None),
        ("hea", None),
    ],
)
def test_a_word_that_is_not_known_is_one_mistyped(asked: str, edits: int | None) -> None:
    score = _titled("matrix", "godfather", "jaws").score([asked]).max()
    expected = 0.0 if edits is None else (1.0, 0.8, 0.6)[edits] * 3.0 / 4.2
    assert score == pytest.approx(expected)


def test_of_a_long_text_the_rarest_words_count() -> None:
    common = [f"word{number}" for number in range(30)]
    lexicon = _titled(*[" ".join(common)] * 9, " ".join([*common, "rarest"]))
    assert int(lexicon.score([*common, "rarest"]).argmax()) == 9


def test_words_are_found_in_every_field() -> None:
    items = items_table(
        2,
        cast=[["Ana Núñez"], None],
        directors=[None, ["Bo Li"]],
        genres=[["Sci-Fi"], None],
        sub_genres=[None, ["Heist"]],
        release_year=[1999, None],
    )
    lexicon = build_lexicon(items, [["one"], ["two"]])
    for row, words in enumerate((["one", "ana", "nunez", "sci", "fi", "1999"], ["two", "bo", "li", "heist"])):
        for word in words:
            assert word in lexicon.words
            assert int(lexicon.score([word, word]).argmax()) == row
    assert "title" not in lexicon.words
