"""Text search on a handful of titles whose right order is plain."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.textmatch import MAX_CHARACTERS, text_match
from tests.retrieval.worlds import items_table
from towers.data.words import words_of
from towers.errors import QueryError

TITLES = [
    "The Godfather",  # 0
    "The Godfather: Part II",  # 1
    "Amélie (Le Fabuleux Destin)",  # 2
    "Schindler's List",  # 3
    "Léon",  # 4
    "Star Wars",  # 5
    "Starship Troopers",  # 6
    "2001: A Space Odyssey",  # 7
    "王様",  # 8
    "Heat",  # 9
]
ITEMS = items_table(
    len(TITLES),
    title=TITLES,
    release_year=[1972, 1974, 2001, 1993, 1994, 1977, 1997, 1968, None, 1995],
    genres=[["Crime"], ["Crime"], ["Romance"], ["Drama"], ["Crime"], ["Sci-Fi"], ["Sci-Fi"], None, None, []],
    cast=[["Al Pacino"], ["Al Pacino"], None, None, ["Jean Reno"], None, None, None, None, ["Al Pacino"]],
    directors=[["F. F. Coppola"], ["F. F. Coppola"], None, ["S. Spielberg"], *[None] * 6],
)
MATCH = text_match(ITEMS)


def _best(text: str) -> list[int]:
    row, score = MATCH.match(text)
    return [r for _, r in sorted(zip(-score, row.tolist(), strict=True))]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("godfather", [0, 1]),
        ("the godfather", [0, 1]),
        ("GODFATHER, THE", [0, 1]),
        ("the godfather part ii", [1, 0]),
        ("the godfather 1974", [1, 0]),
        ("amelie", [2]),
        ("AMÉLIE", [2]),
        ("amelie 2001", [2]),
        ("schindlers list", [3]),
        ("schindler’s list", [3]),
        ("leon", [4]),
        ("star", [5, 6]),
        ("starsh", [6]),
        ("2001", [7]),
        ("王様", [8]),
        ("王", []),
        ("pacino crime", [0, 1]),
        ("al pacino 1995", [9]),
        ("coppola", [0, 1]),
        ("sci-fi", [5, 6]),
    ],
)
def test_the_right_titles_come_first(text: str, first: list[int]) -> None:
    assert _best(text)[: len(first)] == first


def test_a_whole_title_scores_above_all_that_are_not() -> None:
    row, score = MATCH.match("heat")
    assert (row.tolist(), score.tolist()) == ([9], [2.0])
    row, score = MATCH.match("amelie")
    assert score.tolist() == [2.0]
    _, score = MATCH.match("godfather")
    assert (score <= 1.0).all()


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    row, score = MATCH.match("crime schindler")
    by_row = dict(zip(row.tolist(), score.tolist(), strict=True))
    assert by_row[3] > by_row[0]


@pytest.mark.parametrize("text", ["zzz", "🎬🍿", "\x00\x07", "!?", "\ud800", "a" * MAX_CHARACTERS])
def test_what_matches_nothing_gives_nothing(text: str) -> None:
    row, score = MATCH.match(text)
    assert len(row) == len(score) == 0


@pytest.mark.parametrize("text", ["", "  \t\n", "\u3000"])
def test_a_blank_text_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="blank"):
        MATCH.match(text)


def test_ten_kilobytes_are_refused() -> None:
    with pytest.raises(QueryError, match=f"10240 characters; expected <= {MAX_CHARACTERS}"):
        MATCH.match("x" * 10240)


@given(text=st.text(alphabet=st.characters(), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_has_an_answer_or_is_refused(text: str) -> None:
    try:
        row, score = MATCH.match(text)
    except QueryError:
        assert not text.strip()
        return
    assert ((score > 0) & (score <= 2.0 + 1e-6)).all()
    assert (row[1:] > row[:-1]).all()


def test_words_are_folded() -> None:
    assert words_of("L'Été À ﬁn—STRASSE/Straße") == ["lete", "a", "fin", "strasse", "strasse"]


def test_vowel_signs_of_other_scripts_stay_in_their_words() -> None:
    assert words_of("हिन्दी फ़िल्म") == [unicodedata.normalize("NFC", word) for word in ("हिन्दी", "फ़िल्म")]
    assert words_of("की") != words_of("का")
    assert words_of("ガ") == ["ガ"]


def test_a_title_without_words_is_never_a_whole_match() -> None:
    assert text_match(items_table(1, title=["!!!"])).match("???")[0].tolist() == []
