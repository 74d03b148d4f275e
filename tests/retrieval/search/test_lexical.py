"""Text search on a handful of titles whose right order is plain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.search.lexical import MAX_CHARACTERS, check_text, lexical_index
from retrieval.search.titles import Fit
from tests.retrieval.worlds import items_table
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
    "Ocean's Eleven",  # 10
    "Fast & Furious",  # 11
    "Der Untergang",  # 12
    "عمر المختار",  # 13
    "Matrix, The",  # 14
    "Kill Bill: Vol. 2",  # 15
    "Breathless (À bout de souffle)",  # 16
]
PACINO = {0, 1, 9}
ITEMS = items_table(
    len(TITLES),
    title=TITLES,
    release_year=[1972, 1974, 2001, 1993, 1994, 1977, 1997, 1968, None, 1995, 2001, 2009, 2004] + [None] * 4,
    genres=[
        *(["Crime"], ["Crime"], ["Romance"], ["Drama"], ["Crime"], ["Sci-Fi"], ["Sci-Fi"], None, None, []),
        *([None] * 7),
    ],
    cast=[["Al Pacino"] if row in PACINO else ["Jean Reno"] if row == 4 else None for row in range(17)],
    directors=[["F. F. Coppola"], ["F. F. Coppola"], None, ["S. Spielberg"], *[None] * 13],
)
NUM_EVENTS = np.arange(len(TITLES), dtype=np.int64)[::-1].copy()
INDEX = lexical_index(ITEMS, NUM_EVENTS)


def _best(text: str) -> list[int]:
    matches = INDEX.match(text)
    return [row for _, row in sorted(zip(-matches.score, matches.row.tolist(), strict=True))]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("godfather", [0, 1]),
        ("the godfather", [0, 1]),
        ("GODFATHER, THE", [0, 1]),
        ("ＧＯＤＦＡＴＨＥＲ", [0, 1]),  # full width
        ("the godfather part ii", [1, 0]),
        ("godfather part 2", [1, 0]),
        ("the godfather 1974", [1, 0]),
        ("amelie", [2]),
        ("AMÉLIE", [2]),
        ("amelie 2001", [2]),
        ("le fabuleux destin", [2]),
        ("schindlers list", [3]),
        ("schindler’s list", [3]),
        ("leon", [4]),
        ("star", [5, 6]),
        ("starsh", [6]),
        ("2001", [7]),
        ("王様", [8]),
        ("王", [8]),
        ("pacino crime", [0, 1]),
        ("al pacino 1995", [9]),
        ("coppola", [0, 1]),
        ("sci-fi", [5, 6]),
        ("oceans 11", [10]),
        ("fast and furious", [11]),
        ("untergang", [12]),
        ("عمر", [13]),
        ("the matrix", [14]),
        ("matrix", [14]),
        ("kill bill 2", [15]),
        ("a bout de souffle", [16]),
        # Slips: letters swapped, missing, too many, a neighbour on the keyboard; blanks and accents.
        ("godfahter", [0, 1]),
        ("schndlers list", [3]),
        ("starr wars", [5]),
        ("stat wars", [5]),
        ("starwars", [5]),
        ("star ship troopers", [6]),
        ("sta rwars", [5]),
        ("ámelié", [2]),
        ("schindlesr lsit", [3]),
        ("teh godfather", [0, 1]),
        ("paccino", [0, 1]),
        ("odysey space", [7]),
        ("عمر المختر", [13]),
    ],
)
def test_the_right_titles_come_first(text: str, first: list[int]) -> None:
    assert _best(text)[: len(first)] == first


def test_a_title_as_it_is_spelled_scores_above_all_that_are_not() -> None:
    matches = INDEX.match("the godfather")
    found = dict(zip(matches.row.tolist(), matches.score.tolist(), strict=True))
    assert (found[0], found[1]) == (4.0, 3.0)
    assert dict(zip(matches.row.tolist(), matches.fit.tolist(), strict=True))[0] == Fit.WHOLE
    assert INDEX.match("starsh").score.max() == 2.0
    assert INDEX.match("star war").score.max() == 2.5
    # A title that shares every word but is not spelled so stands below.
    assert INDEX.match("list schindlers").score.max() < 2.0


def test_a_year_says_which_of_two_titles_of_one_name() -> None:
    titles = ["Heat", "Heat", "The Heat"]
    index = lexical_index(items_table(3, title=titles, release_year=[1986, 1995, 2013]), NUM_EVENTS[:3])
    for row, year in enumerate((1986, 1995, 2013)):
        matches = index.match(f"heat {year}")
        assert matches.row[matches.score == 4.0].tolist() == [row]
    assert (index.match("heat").score == 4.0).all()


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    matches = INDEX.match("crime schindlers")
    by_row = dict(zip(matches.row.tolist(), matches.score.tolist(), strict=True))
    assert by_row[3] > by_row[0]


@pytest.mark.parametrize("text", ["zzzzz", "🎬🍿", "\x00\x07", "!?", "\ud800", "ж" * MAX_CHARACTERS])
def test_what_matches_nothing_gives_nothing(text: str) -> None:
    matches = INDEX.match(text)
    assert len(matches.row) == len(matches.score) == len(matches.fit) == 0


@pytest.mark.parametrize("text", ["", "  \t\n", "\u3000"])
def test_a_blank_text_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="blank"):
        check_text(text)


def test_ten_kilobytes_are_refused_without_being_repeated() -> None:
    with pytest.raises(QueryError, match=f"10240 characters; expected <= {MAX_CHARACTERS}") as refused:
        check_text("x" * 10240)
    assert "xxx" not in str(refused.value)


@given(text=st.text(alphabet=st.characters(), max_size=60) | st.text("aeth drs,:&()12i", max_size=40))
@settings(max_examples=120, deadline=None)
def test_any_text_has_an_answer(text: str) -> None:
    matches = INDEX.match(text)
    assert ((matches.score > 0) & (matches.score <= 4.0)).all()
    assert (matches.row[1:] > matches.row[:-1]).all()
    assert ((matches.score >= 2.0) == (matches.fit > Fit.ALIKE)).all()


def test_a_title_without_words_is_never_a_match() -> None:
    index = lexical_index(items_table(1, title=["!!!"]), NUM_EVENTS[:1])
    assert index.match("???").row.tolist() == []
    assert index.match("matrix").row.tolist() == []


def test_an_empty_catalogue_has_no_matches() -> None:
    index = lexical_index(items_table(0), NUM_EVENTS[:0])
    assert index.match("matrix").row.tolist() == []


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("would you please show me star wars on tonight", 5),
        ("i want to see kill bill vol two with my friends", 15),
        ("can you find me that film called heat", 9),
        ("what was that one again with the name breathless", 16),
    ],
)
def test_a_title_that_stands_in_a_sentence_is_found_first(text: str, first: int) -> None:
    matches = INDEX.match(text)
    best = int(matches.score.argmax())
    assert matches.row[best] == first
    # Nobody has typed a title and no more: what a vector of the text finds may stand beside it.
    assert matches.fit[best] == Fit.NONE


def test_a_word_in_the_midst_of_a_sentence_names_no_title() -> None:
    row, share = INDEX.titles.within("feel the heat of the summer night")
    assert (row.tolist(), share.tolist()) == ([], [])
    row, share = INDEX.titles.within("a summer night with star wars")
    assert row.tolist() == [5]
    np.testing.assert_allclose(share, [8 / 24])
