"""What texts say, worked out by hand against a small catalogue."""

import pytest

from retrieval.eligibility.rules import ForKids, GenresAny, Not, PeopleAny, ReleaseYearBetween, Rule
from retrieval.search.understanding import Understanding
from retrieval.search.years import years_at
from tests.retrieval.worlds import items_table
from towers.data.words import words_of

ITEMS = items_table(
    4,
    genres=[["Sci-Fi", "Horror"], ["Comedy"], ["Romance", "Drama"], ["Animation", "Children"]],
    sub_genres=[None, ["TV Comedies"], ["Period Pieces"], None],
    cast=[["Tom Hanks", "Cher"], ["Zoë Núñez"], None, None],
    directors=[["Jane Doe"], None, None, None],
    maturity=["R", None, None, "G"],
)
READER = Understanding(ITEMS)
SCI_FI, HORROR, COMEDY = GenresAny(("Sci-Fi",)), GenresAny(("Horror",)), GenresAny(("Comedy", "TV Comedies"))
ROMANCE, DRAMA, CARTOON = GenresAny(("Romance",)), GenresAny(("Drama",)), GenresAny(("Animation",))
HANKS = PeopleAny(("Tom Hanks",))
NINETIES = ReleaseYearBetween(1990, 1999)


def _in(first: int | None, last: int | None) -> Rule:
    return ReleaseYearBetween(first, last)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("sci fi", [SCI_FI]),
        ("Science-Fiction movies", [SCI_FI]),
        ("horror", [HORROR]),
        ("comedies", [COMEDY]),
        ("funny films", [COMEDY]),
        ("romantic comedy", [ROMANCE, COMEDY]),
        ("comedy or drama", [GenresAny(("Comedy", "TV Comedies", "Drama"))]),
        ("period piece", []),  # a plural is made, no singular
        ("period pieces", [GenresAny(("Period Pieces",))]),
        ("tom hanks", [HANKS]),
        ("zoe nunez", [PeopleAny(("Zoë Núñez",))]),
        ("directed by jane doe", [PeopleAny(("Jane Doe",))]),
        ("cher", []),  # one word may be a word of anything
        ("hanks", []),
        ("90s comedy", [NINETIES, COMEDY]),
        ("comedy of the nineties", [COMEDY, NINETIES]),
        ("tom hanks from 1994", [HANKS, _in(1994, 1994)]),
        ("horror before 2000", [HORROR, _in(None, 1999)]),
        ("horror 1990-1995", [HORROR, _in(1990, 1995)]),
        ("horror 1994", [HORROR, _in(1994, 1994)]),
        ("drama without romance", [DRAMA, Not(ROMANCE)]),
        ("not animated", [Not(CARTOON)]),
        ("comedy with no horror or romance", [COMEDY, Not(HORROR), Not(ROMANCE)]),
        ("comedy without tom hanks and with jane doe", [COMEDY, Not(HANKS), PeopleAny(("Jane Doe",))]),
        ("drama but not from 1994", [DRAMA, Not(_in(1994, 1994))]),
        ("movies for kids", [ForKids()]),
        ("family friendly comedy", [ForKids(), COMEDY]),
        ("not for kids", [Not(ForKids())]),
        ("no country", []),
        ("without", []),
        ("", []),
        ("'; DROP TABLE items; --", []),
    ],
)
def test_a_text_that_is_understood_in_full_requires_all_of_it(text: str, rules: list[Rule]) -> None:
    reading = READER.read(text)
    assert [one.rule for one in reading.understood] == rules
    assert all(one.required for one in reading.understood)
    assert reading.words == (() if rules else tuple(words_of(text)))


@pytest.mark.parametrize(
    ("text", "rules", "left"),
    [
        ("space horror", [(HORROR, False)], ("space",)),
        ("space horror 1994", [(HORROR, False), (_in(1994, 1994), False)], ("space",)),
        ("space from 1994", [(_in(1994, 1994), True)], ("space",)),
        ("tom hanks island", [(HANKS, False)], ("island",)),
        ("island without horror", [(Not(HORROR), True)], ("island",)),
        ("90s island movies", [(NINETIES, True)], ("island",)),
        ("something about islands for kids", [(ForKids(), True)], ("islands",)),
    ],
)
def test_beside_other_words_names_only_lift_and_what_is_said_outright_is_required(
    text: str, rules: list[tuple[Rule, bool]], left: tuple[str, ...]
) -> None:
    reading = READER.read(text)
    assert [(one.rule, one.required) for one in reading.understood] == rules
    assert reading.words == left


def test_what_is_not_kept_is_a_word_again() -> None:
    whole = READER.read("90s horror")
    assert [one.words for one in whole.understood] == [("90s",), ("horror",)]
    part = READER.read("90s horror", [HORROR])
    assert [(one.rule, one.required) for one in part.understood] == [(HORROR, False)]
    assert part.words == ("90s",)
    assert READER.read("90s horror", []).words == ("90s", "horror")


def test_without_certificates_the_genre_says_what_is_for_kids() -> None:
    unrated = items_table(1, genres=[["Children"]])
    assert [one.rule for one in Understanding(unrated).read("for kids").understood] == [
        GenresAny(("Children",))
    ]
    assert Understanding(items_table(1)).read("for kids").understood == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1994", (1, 1994, 1994, False)),
        ("in 1994", (2, 1994, 1994, True)),
        ("from 1994", (2, 1994, 1994, True)),
        ("before 2000", (2, None, 1999, True)),
        ("until 2000", (2, None, 2000, True)),
        ("after 2000", (2, 2001, None, True)),
        ("since 2000", (2, 2000, None, True)),
        ("between 1990 and 1995", (4, 1990, 1995, True)),
        ("from 1990 to 1995", (4, 1990, 1995, True)),
        ("1990 to 1995", (3, 1990, 1995, True)),
        ("from 1995 to 1990", (2, 1995, 1995, True)),
        ("90s", (1, 1990, 1999, True)),
        ("1980s", (1, 1980, 1989, True)),
        ("2000s", (1, 2000, 2009, True)),
        ("00s", (1, 2000, 2009, True)),
        ("early 80s", (2, 1980, 1984, True)),
        ("late eighties", (2, 1985, 1989, True)),
        ("20s", None),  # of either century
        ("1869", None),
        ("2101", None),
        ("１９９４", None),  # words_of makes them 1994 before
        ("19944", None),
        ("early", None),
        ("before", None),
    ],
)
def test_years(text: str, expected: tuple[int, int | None, int | None, bool] | None) -> None:
    assert years_at(tuple(text.split()), 0) == expected
