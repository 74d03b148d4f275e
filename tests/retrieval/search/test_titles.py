"""What is typed, and the titles that it may become."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.search.spellings import spellings
from retrieval.search.titles import Titles, build_titles
from towers.data.words import words_of

TITLES = [
    "Star Trek",  # 0
    "Star Wars",  # 1
    "The Starling",  # 2
    "Lone Star",  # 3
    "The Matrix",  # 4
    "Stalker",  # 5
    "Shawshank Redemption, The",  # 6
    "東京物語",  # 7
    "Shaun of the Dead",  # 8
]


def _built(titles: list[str], num_events: list[int] | None = None) -> Titles:
    counts = np.arange(len(titles)) if num_events is None else np.array(num_events)
    return build_titles(
        [spellings(title) for title in titles], np.full(len(titles), -1, np.int32), counts.astype(np.int64)
    )


BUILT = _built(TITLES)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("s", [8, 6, 5, 2, 1, 0, 3]),  # by popularity; then those of which a later word begins so
        ("star", [2, 1, 0, 3]),
        ("star w", [1]),
        ("the ma", [4]),
        ("mat", [4]),
        ("shawshnak r", [6]),
        ("shwashank", [6]),
        ("satr w", [1]),
        ("redem", [6]),
        ("東", [7]),
        ("", []),
        ("!!", []),
        ("zzzz", []),
    ],
)
def test_what_is_typed_becomes_these_titles(typed: str, expected: list[int]) -> None:
    assert BUILT.suggest(words_of(typed), 10, None).tolist()[: len(expected)] == expected
    if not expected:
        assert BUILT.suggest(words_of(typed), 10, None).tolist() == []


@given(
    titles=st.lists(st.text("bc ", min_size=1, max_size=8), min_size=1, max_size=60),
    typed=st.text("bc", min_size=1, max_size=3),
    k=st.integers(0, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_no_title_that_begins_so_is_left_out_for_a_less_popular_one(
    titles: list[str], typed: str, k: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    num_events = rng.permutation(len(titles))
    shown = rng.random(len(titles)) < 0.7
    found = _built(titles, num_events.tolist()).suggest([typed], k, shown).tolist()
    assert len(set(found)) == len(found) <= k
    assert shown[found].all()
    begin = [
        row for row, title in enumerate(titles) if shown[row] and title.replace(" ", "").startswith(typed)
    ]
    best = sorted(begin, key=lambda row: -num_events[row])[:k]
    assert found[: len(best)] == best
    assert len(found) >= min(k, len(best))
