"""Letter pairs and distances against definitions worked out letter by letter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.search.grams import LetterPairs, distances


def _edits(a: str, b: str) -> int:
    """Optimal string alignment, as it is defined: a table of the distances of all beginnings."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            best = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                best = min(best, table[i - 2][j - 2] + 1)
            table[i][j] = best
    return table[-1][-1]


def _pairs(text: str) -> set[str]:
    marked = f"<{text}>"
    return {marked[place : place + 2] for place in range(len(marked) - 1)}


WORDS = st.lists(st.text("abcd", min_size=1, max_size=7), min_size=1, max_size=40, unique=True)


@given(words=WORDS, text=st.text("abcd", min_size=1, max_size=7), bound=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_near_strings_are_those_within_the_bound_that_share_a_pair(
    words: list[str], text: str, bound: int
) -> None:
    place, edits = LetterPairs(words).near(text, bound, most=1000)
    found = dict(zip(place.tolist(), edits.tolist(), strict=True))
    expected = {
        row: _edits(text, word)
        for row, word in enumerate(words)
        if _edits(text, word) <= bound and _pairs(text) & _pairs(word)
    }
    assert found == expected


@given(words=WORDS, text=st.text("abcd", min_size=1, max_size=6), most=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_no_string_left_out_shares_more_pairs_and_is_nearer_in_length(
    words: list[str], text: str, most: int
) -> None:
    found = LetterPairs(words).candidates(text, most, 0, 2 * len(text)).tolist()
    assert len(found) <= most
    assert len(set(found)) == len(found)

    def near(row: int) -> float:
        shared = len(_pairs(text) & _pairs(words[row]))
        return shared - 0.5 * abs(len(words[row]) - len(text))

    def shared(row: int) -> int:
        return len(_pairs(text) & _pairs(words[row]))

    for row in set(range(len(words))) - set(found):
        if shared(row) > 0 and len(words[row]) <= 2 * len(text):
            assert len(found) == most
            assert all(near(row) <= near(one) or shared(row) < shared(one) for one in found)


def test_characters_beyond_the_first_plane_and_half_ones_are_letters_too() -> None:
    words = ["𝔞𝔟𝔠", "\ud800x", "東京物語"]
    place, edits = LetterPairs(words).near("東京物", 1, 10)
    assert (place.tolist(), edits.tolist()) == ([2], [1])
    assert LetterPairs(words).near("\ud800xx", 1, 10)[0].tolist() == [1]


def test_nothing_is_near_where_there_is_nothing() -> None:
    assert len(LetterPairs([]).near("text", 2, 10)[0]) == 0
    assert len(LetterPairs(["abc"]).near("xyz", 2, 10)[0]) == 0
    assert len(distances("abc", [], 2)) == 0


@pytest.mark.parametrize(("bound", "expected"), [(1, [0, 1, 2, 2]), (3, [0, 1, 2, 4])])
def test_distances_beyond_the_bound_are_one_more_than_it(bound: int, expected: list[int]) -> None:
    found = distances("star", ["star", "satr", "stark!", "wars of"], bound)
    assert found.tolist() == expected
    assert found.dtype == np.int32
