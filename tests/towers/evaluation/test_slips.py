"""Slips change a text by as much as they say, and by neighbours of the keyboard only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.evaluation.slips import Slip, mistyped

# Read off a keyboard.
BESIDE = {"g": set("rtyfhvbc"), "a": set("qwsz"), "p": set("ol"), "m": set("njk")}


@given(
    text=st.text("gap m", min_size=2, max_size=12), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(Slip)
)
@settings(max_examples=100, deadline=None)
def test_one_slip_is_one_edit(text: str, seed: int, kind: Slip) -> None:
    changed = mistyped(text, 1, np.random.default_rng(seed), [kind])
    if len(set(text)) < 2:
        assert changed == text
        return
    assert changed != text
    assert len(changed) - len(text) == {Slip.INSERT: 1, Slip.DELETE: -1}.get(kind, 0)
    if kind is Slip.SWAP:
        places = [place for place in range(len(text)) if text[place] != changed[place]]
        assert len(places) == 2
        assert places[1] == places[0] + 1
        assert sorted(changed) == sorted(text)
    elif kind is Slip.REPLACE:
        (place,) = [place for place in range(len(text)) if text[place] != changed[place]]
        assert text[place] == " " or changed[place] in BESIDE[text[place]]
    elif kind is Slip.DELETE:
        assert changed in {text[:place] + text[place + 1 :] for place in range(len(text))}


def test_every_place_and_kind_is_hit() -> None:
    rng = np.random.default_rng(0)
    changed = [mistyped("gap", 1, rng) for _ in range(400)]
    assert {"ap", "gp", "ga"} <= set(changed)
    assert {"agp", "gpa"} <= set(changed)
    assert {len(one) for one in changed} == {2, 3, 4}


@pytest.mark.parametrize("text", ["", "a", "aaa"])
def test_what_cannot_be_mistyped_stays(text: str) -> None:
    assert mistyped(text, 2, np.random.default_rng(0)) == text


def test_the_same_seed_mistypes_alike() -> None:
    once, again = (mistyped("The Godfather", 3, np.random.default_rng(7)) for _ in range(2))
    assert once == again
