"""How titles are written, worked out by hand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.search import spellings as module
from retrieval.search.spellings import asked_spellings, spellings


def _whole(title: str) -> set[str]:
    return {" ".join(one.words) for one in spellings(title) if one.whole}


def _parts(title: str) -> set[str]:
    return {" ".join(one.words) for one in spellings(title) if not one.whole}


@pytest.mark.parametrize(
    ("title", "whole"),
    [
        ("Heat", {"heat"}),
        ("Matrix, The", {"the matrix", "matrix"}),
        ("Les Misérables", {"les miserables", "miserables"}),
        ("A", {"a"}),
        ("Fast & Furious", {"fast furious", "fast and furious"}),
        ("Ocean's Eleven", {"oceans eleven", "oceans 11", "oceans xi"}),
        ("Rocky II", {"rocky ii", "rocky 2", "rocky two"}),
        ("Rocky V", {"rocky v", "rocky 5", "rocky five"}),
        ("Part I", {"part i", "part 1", "part one"}),
        ("Kill Bill: Vol. 2", {"kill bill vol 2", "kill bill vol ii", "kill bill vol two"}),
        ("V for Vendetta", {"v for vendetta"}),
        ("I, Robot", {"i robot"}),
        ("X-Men", {"x men"}),
        ("M*A*S*H (a.k.a. MASH)", {"m a s h a k a mash", "m a s h", "mash"}),
        ("1917", {"1917"}),
        ("!!!", set()),
        ("ガメラ", {"ガメラ"}),
    ],
)
def test_whole_spellings(title: str, whole: set[str]) -> None:
    assert _whole(title) == whole


def test_another_name_in_brackets_has_its_own_article() -> None:
    assert _whole("The City of Lost Children (Cité des enfants perdus, La)") == {
        "the city of lost children cite des enfants perdus la",
        "city of lost children cite des enfants perdus la",
        "the city of lost children",
        "city of lost children",
        "la cite des enfants perdus",
        "cite des enfants perdus",
    }


@pytest.mark.parametrize(
    ("title", "parts"),
    [
        ("Star Wars: Episode IV - A New Hope", {"star wars", "a new hope", "new hope"}),
        ("The Godfather: Part II", {"the godfather", "godfather"}),
        ("Spider-Man", set()),
        ("Heat", set()),
    ],
)
def test_parts_are_names_too_unless_they_only_number(title: str, parts: set[str]) -> None:
    assert _parts(title) == parts


@given(title=st.text("abc aka the V2 , ()[] : & - / ' . é", max_size=24))
def test_a_title_of_one_name_is_spelled_as_by_all_the_steps(title: str) -> None:
    found = spellings(title)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_IN_PARTS", re.compile(""))
        assert spellings(title) == found


def test_no_spelling_stands_twice() -> None:
    for title in ("Heat (Heat)", "Two: Two", "The The", "III: 3"):
        words = [one.words for one in spellings(title)]
        assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("heat", [("heat",)]),
        ("the heat", [("the", "heat"), ("heat",)]),
        ("Godfather, The", [("godfather", "the"), ("the", "godfather"), ("godfather",)]),
        ("the", [("the",)]),
        ("...", []),
    ],
)
def test_a_text_is_looked_up_with_and_without_its_article(text: str, asked: list[tuple[str, ...]]) -> None:
    assert asked_spellings(text) == asked
