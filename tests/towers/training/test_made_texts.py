"""Texts made of a catalogue: each names its title, in every way that there is."""

from collections import Counter

import numpy as np

from towers.data.schema import ITEMS, table
from towers.data.words import words_of
from towers.training.made_texts import Way, made_texts

ITEMS_OF_TWO = table(
    ITEMS,
    {
        "item_id": ["0", "1"],
        "title": ["The Long Night: Morning (La Longue Nuit)", "Heat"],
        "release_year": [1994, None],
        "genres": [["Drama"], []],
        "cast": [["Ada Byron"], None],
        "synopsis": ["A lighthouse keeper waits.", None],
    },
)


def drawn(row: int, num: int = 600) -> Counter[str]:
    return Counter(made_texts(ITEMS_OF_TWO, np.full(num, row), np.random.default_rng(0)))


def test_a_title_is_asked_for_in_every_way() -> None:
    texts = drawn(0)
    for expected in (
        *("The Long Night: Morning", "La Longue Nuit", "Long Night: Morning"),  # names
        *("Morning", "The Long Night", "The Long"),  # parts
        *("Ada Byron", "Byron"),
        "Drama",
        *("1994 Drama", "Drama 1990s", "90s Drama"),
    ):
        assert texts[expected] > 0, expected
    moods = {"lighthouse", "keeper", "waits"}
    assert any(set(words_of(text)) <= moods for text in texts)
    assert any({"drama", "byron"} <= set(words_of(text)) for text in texts)


def test_a_title_of_which_nothing_else_is_known_is_asked_for_by_name() -> None:
    texts = drawn(1, 300)
    assert texts["Heat"] > 150
    assert sum(number for text, number in texts.items() if text == "Heat" or len(text) > 2) > 290
    assert max(len(text) for text in texts) <= len("Heat Heat") + 2


def test_words_that_many_titles_have_are_no_mood() -> None:
    num = 100
    synopsis = [f"everybody plot{row:03}" for row in range(num)]
    items = table(ITEMS, {"item_id": list(map(str, range(num))), "title": ["X1"] * num, "synopsis": synopsis})
    texts = made_texts(items, np.arange(num).repeat(20), np.random.default_rng(0))
    assert not any("everybody" in text for text in texts)
    assert any("plot042" in text for text in texts)


def test_a_share_is_mistyped_and_the_same_seed_says_the_same() -> None:
    one, other = (made_texts(ITEMS_OF_TWO, np.ones(500, int), np.random.default_rng(3)) for _ in range(2))
    assert one == other
    assert 0.05 < np.mean([text not in ("Heat", "Heat Heat") for text in one]) < 0.35


def test_the_shares_of_the_ways_are_whole() -> None:
    from towers.training.made_texts import _SHARES

    assert set(_SHARES) == set(Way)
    assert abs(sum(_SHARES.values()) - 1.0) < 1e-9
