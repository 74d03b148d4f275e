"""Search as a service asks for it: rules kept, words understood and undone, titles that are withheld."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.eligibility import bitmaps
from retrieval.eligibility.rules import (
    All,
    Available,
    ForKids,
    GenresAny,
    MaturityAtMost,
    Not,
    ReleaseYearBetween,
)
from retrieval.retriever import Retriever
from tests.retrieval.worlds import items_table, release
from towers.errors import QueryError
from towers.recommender import Degraded

NOW = 1_700_000_000
IN_DE = [{"country": "DE", "start": None, "end": None}]
TITLES: dict[str, tuple[int, list[str], str | None, bool]] = {  # year, genres, certificate, for DE alone
    "Horror Express": (1972, ["Horror", "Sci-Fi"], "R", False),  # i0
    "Kids": (1995, ["Drama"], "R", False),  # i1
    "1917": (2019, ["War", "Drama"], "R", False),  # i2
    "Heat": (1995, ["Crime"], "R", True),  # i3
    "Heat and Dust": (1983, ["Romance"], "R", False),  # i4
    "Alien": (1979, ["Horror", "Sci-Fi"], "R", False),  # i5
    "Aliens": (1986, ["Action", "Sci-Fi"], "R", True),  # i6
    "Toy Story": (1995, ["Comedy", "Animation"], "G", False),  # i7
    "Scream": (1996, ["Horror", "Comedy"], "R", False),  # i8
    "The Ring": (2002, ["Horror"], "PG-13", False),  # i9
    "War Horse": (2011, ["War", "Drama"], "PG-13", False),  # i10
    "Dragon War": (1917, ["Fantasy"], "PG-13", False),  # i11
}
ROWS = {title: f"i{row}" for row, title in enumerate(TITLES)}
NUM = len(TITLES)
IN_FR, HERE = Available("FR", NOW), Available("DE", NOW)


@pytest.fixture(scope="module")
def cinema() -> Retriever:
    year, genres, maturity, german = zip(*TITLES.values(), strict=True)
    items = items_table(
        NUM,
        title=list(TITLES),
        release_year=list(year),
        genres=list(genres),
        maturity=list(maturity),
        licences=[IN_DE if only else None for only in german],
    )
    vectors = np.random.default_rng(1).standard_normal((NUM, 6)).astype(np.float32)
    return Retriever(release(vectors, items=items, profiles={"ann": [3, 4], "bob": []}))


def _ids(*titles: str) -> set[str]:
    return {ROWS[title] for title in titles}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("horror 1979", {"Alien"}),
        ("90s movies", {"Kids", "Heat", "Toy Story", "Scream"}),
        ("90s without comedy", {"Kids", "Heat"}),
        ("comedy not animated", {"Scream"}),
        ("sci fi before 1980", {"Horror Express", "Alien"}),
        ("for kids", {"Toy Story"}),
        ("drama or fantasy from 1900 to 1930", {"Dragon War"}),
    ],
)
def test_what_is_understood_in_full_is_kept_to(cinema: Retriever, text: str, expected: set[str]) -> None:
    answer = cinema.search(text, k=NUM)
    assert set(answer.item_id) == _ids(*expected)
    assert answer.understood
    assert answer.degraded is None


@pytest.mark.parametrize(
    "title", ["Horror Express", "Kids", "1917", "War Horse", "horror expres", "hrror express"]
)
def test_a_title_is_no_wish(cinema: Retriever, title: str) -> None:
    answer = cinema.search(title)
    assert answer.understood == ()
    known = {name.casefold(): item_id for name, item_id in ROWS.items()}
    assert answer.item_id[0] == known.get(title.casefold(), "i0")


def test_titles_that_begin_so_stand_before_what_a_word_is_taken_for(cinema: Retriever) -> None:
    answer = cinema.search("war", k=NUM)
    assert answer.item_id[0] == ROWS["War Horse"]
    assert set(answer.item_id) == _ids("War Horse", "1917")
    assert [one.rule for one in answer.understood] == [GenresAny(("War",))]


def test_what_was_understood_can_be_undone_in_part_and_whole(cinema: Retriever) -> None:
    answer = cinema.search("90s horror", k=NUM)
    assert set(answer.item_id) == _ids("Scream")
    decade, genre = answer.understood
    assert decade.rule == ReleaseYearBetween(1990, 1999)
    assert set(cinema.search("90s horror", k=NUM, understood=[genre]).item_id) == _ids(
        "Horror Express", "Alien", "Scream", "The Ring"
    )
    plain = cinema.search("90s horror", k=NUM, understood=False)
    assert plain.understood == ()
    assert plain.item_id == cinema.search("90s horror", k=NUM, understood=[]).item_id


def test_a_wish_that_nothing_fulfils_is_taken_for_words(cinema: Retriever) -> None:
    answer = cinema.search("horror from 2011", k=NUM)
    assert answer.understood == ()
    assert set(answer.item_id) >= _ids("War Horse", "Alien")


def test_the_rule_of_the_request_holds_over_all_that_is_understood(cinema: Retriever) -> None:
    rule = Not(GenresAny(("Comedy",)))
    assert set(cinema.search("90s movies", k=NUM, rule=rule).item_id) == _ids("Kids", "Heat")
    assert ROWS["Heat"] not in cinema.search("90s movies", k=NUM, rule=IN_FR).item_id
    assert cinema.search("horror express", k=1, rule=ForKids()).item_id != (ROWS["Horror Express"],)


def test_equal_matches_of_a_genre_stand_in_the_profiles_order(cinema: Retriever) -> None:
    wanted = _ids("Horror Express", "Alien", "Scream", "The Ring")
    ranked = cinema.recommend("ann", k=NUM).item_id
    found = cinema.search("scary", profile_id="ann", k=NUM)
    assert list(found.item_id) == [item_id for item_id in ranked if item_id in wanted]
    by_popularity = cinema.search("scary", k=NUM)
    assert list(by_popularity.item_id) == sorted(wanted, key=lambda item_id: int(item_id[1:]))


def test_a_title_without_a_licence_is_answered_with_similar_ones_and_says_so(cinema: Retriever) -> None:
    answer = cinema.search("heat", k=3, rule=IN_FR)
    assert answer.degraded is Degraded.NOT_AVAILABLE
    assert answer.item_id[0] == ROWS["Heat and Dust"]  # begins so, and has one
    similar = cinema.similar(ROWS["Heat"], k=3, rule=IN_FR).item_id
    assert list(answer.item_id[1:]) == [one for one in similar if one != ROWS["Heat and Dust"]][:2]
    assert (np.diff(answer.score) <= 0).all()
    mistyped = cinema.search("aleins", k=NUM, rule=IN_FR)
    assert mistyped.degraded is Degraded.NOT_AVAILABLE
    assert mistyped.item_id == cinema.similar(ROWS["Aliens"], k=NUM, rule=IN_FR).item_id
    assert cinema.search("heat", k=3, rule=HERE).item_id[0] == ROWS["Heat"]
    assert cinema.search("heat", k=3, rule=HERE).degraded is None


def test_what_is_withheld_for_another_reason_is_not_told(cinema: Retriever) -> None:
    for rule in (All((IN_FR, ForKids())), MaturityAtMost(12), ForKids()):
        answer = cinema.search("heat", rule=rule)
        assert answer.degraded is Degraded.NO_MATCH
        assert set(answer.item_id) <= _ids("Toy Story")
    # Of two of that name, one may be shown.
    assert cinema.search("alien", rule=IN_FR).degraded is None


def test_suggestions_keep_to_the_rule(cinema: Retriever) -> None:
    assert cinema.suggest("he") == (ROWS["Heat"], ROWS["Heat and Dust"])
    assert cinema.suggest("he", rule=IN_FR) == (ROWS["Heat and Dust"],)
    assert cinema.suggest("hor", 1) == (ROWS["Horror Express"],)
    assert cinema.suggest("") == cinema.suggest("?!") == cinema.suggest("he", 0) == ()
    with pytest.raises(QueryError, match="10240 characters"):
        cinema.suggest("x" * 10240)


PIECES = (
    "the of a without no not or and from 90s 1917 1995 before horror kids for war heat alien 🎬 \u202e "
    "\x00 '; DROP TABLE -- <script> ${jndi} ../../etc/passwd %s {} ملك שלום ཀ \ud800"
)
TEXTS = (
    st.text(max_size=30)
    | st.text(st.characters(max_codepoint=0x9F), max_size=30)
    | st.lists(
        st.sampled_from(PIECES.split(" ")),
        max_size=12,
    ).map(" ".join)
)
RULES = st.sampled_from([None, IN_FR, ForKids(), Not(GenresAny(("Horror",))), GenresAny(("Western",))])


@given(
    text=TEXTS, rule=RULES, k=st.integers(0, NUM + 2), profile=st.sampled_from([None, "ann", "bob", "nobody"])
)
@settings(max_examples=80, deadline=None)
def test_any_text_has_an_answer_within_the_rule_or_is_refused_without_being_repeated(
    cinema: Retriever, text: str, rule: object, k: int, profile: str | None
) -> None:
    allowed = {f"i{row}" for row in bitmaps.rows(cinema.eligibility.bitmap(rule))}  # type: ignore[arg-type]
    if not text.strip():
        with pytest.raises(QueryError, match=r"^search: the text is blank; expected at least one word$"):
            cinema.search(text, profile_id=profile, k=k, rule=rule)  # type: ignore[arg-type]
        return
    answer = cinema.search(text, profile_id=profile, k=k, rule=rule)  # type: ignore[arg-type]
    assert set(answer.item_id) <= allowed
    assert len(set(answer.item_id)) == len(answer.item_id) <= k
    assert (np.diff(answer.score) <= 0).all()
    for suggested in cinema.suggest(text, k, rule=rule):  # type: ignore[arg-type]
        assert suggested in allowed


def test_texts_are_never_logged(cinema: Retriever, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for text in ("heat", "secretword", "90s horror", "scream without secretword"):
        cinema.search(text, profile_id="ann", rule=IN_FR)
        cinema.suggest(text)
    assert "secretword" not in caplog.text
