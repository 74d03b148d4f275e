"""Texts read in machine code, against the query tower itself."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.search.text_vectors import TextVectors
from towers.data.asked_texts import encode_texts
from towers.data.words import words_of
from towers.nets.query_tower import QueryTower, QueryTowerSettings, TextTensors, together
from towers.nets.unit import unit

SETTINGS = QueryTowerSettings(buckets=1024, max_words=6)
DIM = 12


def _tower() -> QueryTower:
    torch.manual_seed(0)
    tower = QueryTower(SETTINGS, DIM)
    with torch.no_grad():
        for weight in tower.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    tower.learned.fill_(True)
    return tower.eval()


TOWER = _tower()
USER = np.random.default_rng(1).normal(size=(1, DIM)).astype(np.float32)
USER /= np.linalg.norm(USER)


@cache
def texts() -> TextVectors:
    """Made when it is first asked for: who only collects the tests compiles nothing."""
    return TextVectors(TOWER, DIM, "abc")


@torch.inference_mode()
def expected(text: str, user: np.ndarray | None = None) -> np.ndarray:
    vector, gate = TOWER(TextTensors.of(encode_texts([text], SETTINGS.buckets, SETTINGS.max_words)))
    found: np.ndarray = (vector if user is None else together(vector, gate, torch.from_numpy(user))).numpy()
    return found


@given(text=st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_text_is_read_as_the_query_tower_reads_it(text: str) -> None:
    found = texts().encode(text)
    if not words_of(text):
        assert found is None
        return
    assert found is not None
    np.testing.assert_allclose(found, expected(text), atol=1e-5)


@pytest.mark.parametrize(
    "text", ["star wars", "Amélie 天気の子", "ab", "a film of many more words than are read"]
)
def test_so_is_a_text_with_who_asks(text: str) -> None:
    for user in (USER, np.stack([USER[0], -USER[0]])[None]):
        found = texts().encode(text, user)
        assert found is not None
        assert found.shape == user.shape
        np.testing.assert_allclose(found, expected(text, user), atol=1e-5)


def test_words_of_which_nothing_was_learned_are_left_out() -> None:
    tower = _tower()
    tower.learned.zero_()
    tower.learned[torch.from_numpy(encode_texts(["star wars"], 1024, 6).bucket)] = True
    some = TextVectors(tower, DIM, "abc")
    # Of a thousand buckets these words fall into none that is learned.
    stranger = next(
        word
        for word in (f"qz{number}" for number in range(1000))
        if not tower.learned[torch.from_numpy(encode_texts([word], 1024, 6).bucket)].any()
    )
    assert some.encode(stranger) is None
    found, plain = some.encode(f"{stranger} star {stranger} wars"), some.encode("star wars")
    assert found is not None
    assert plain is not None
    np.testing.assert_array_equal(found, plain)


def test_the_first_numbers_are_of_unit_length_again() -> None:
    short = TextVectors(TOWER, 5, "abc").encode("star wars")
    whole = torch.from_numpy(expected("star wars"))
    assert short is not None
    np.testing.assert_allclose(short, unit(whole[:, :5]).numpy(), atol=1e-5)
