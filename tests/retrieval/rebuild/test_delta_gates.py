"""What is wrong with one new title alone, in a catalogue of which the gates embed a part, stops a delta."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval.rebuild.delta import embedded
from retrieval.rebuild.run import rebuild
from retrieval.rebuild.summary import Outcome
from tests.retrieval.rebuild.worlds import Artifacts, Title, artifacts, world
from towers.data.titles import Titles
from towers.nets.two_tower import TwoTower

# More than the gates embed again of what did not change.
LARGE = world(1500)
NEWER = LARGE.with_titles(**{f"n{one}": Title(f"Fresh{one}", one, 1950 + one) for one in range(5)})


@pytest.fixture(scope="module")
def begun_large(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    service = artifacts(tmp_path_factory.mktemp("large"), LARGE)
    service.build()
    return service


@pytest.fixture
def large(begun_large: Artifacts, tmp_path: Path) -> Artifacts:
    shutil.copytree(begun_large.folder, tmp_path / "artifacts")
    return Artifacts(tmp_path / "artifacts")


def _of_another(vectors: np.ndarray, one: int) -> np.ndarray:
    """One of them is that of the next."""
    vectors[one] = vectors[(one + 1) % len(vectors)]
    return vectors


def _swapped(vectors: np.ndarray, one: int) -> np.ndarray:
    other = (one + 2) % len(vectors)
    vectors[[one, other]] = vectors[[other, one]]
    return vectors


@pytest.mark.parametrize("one", range(5))
@pytest.mark.parametrize("wrong", [_of_another, _swapped])
def test_a_new_title_with_the_vector_of_another_stops_a_delta(
    large: Artifacts,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[np.ndarray, int], np.ndarray],
    one: int,
) -> None:
    monkeypatch.setattr("retrieval.rebuild.delta.embedded", lambda *asked: wrong(embedded(*asked), one))
    summary = rebuild(large.job(NEWER))
    assert summary.outcome is Outcome.REFUSED
    assert "FAILED embedding_parity" in str(summary.error)


def test_a_new_title_whose_vector_is_not_of_unit_length_stops_a_delta(
    large: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def longer(towers: TwoTower, titles: Titles, chosen: np.ndarray) -> np.ndarray:
        """By the towers themselves, so that whoever asks again is told the same."""
        place = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        is_new = np.array([each == "n3" for each in titles.some(place)["item_id"].to_pylist()])
        vectors = embedded(towers, titles, chosen)
        vectors[is_new] *= 1.5
        return vectors

    for module in ("delta", "delta_gates", "survey"):
        monkeypatch.setattr(f"retrieval.rebuild.{module}.embedded", longer)
    summary = rebuild(large.job(NEWER))
    assert summary.outcome is Outcome.REFUSED
    assert "FAILED unit_vectors" in str(summary.error)


@pytest.mark.parametrize("item_id", ["t000", "t001", "t002", "t003"])
def test_a_changed_title_whose_vector_is_no_number_stops_a_delta(
    large: Artifacts, monkeypatch: pytest.MonkeyPatch, item_id: str
) -> None:
    monkeypatch.setattr(
        "retrieval.rebuild.delta.embedded", lambda *asked: np.full_like(embedded(*asked), np.nan)
    )
    turned = replace(LARGE.titles[item_id], genre=(LARGE.titles[item_id].genre + 1) % 5)
    summary = rebuild(large.job(LARGE.with_titles(**{item_id: turned})))
    assert summary.outcome is Outcome.FAILED
    assert "1 of 1 vectors are not finite" in str(summary.error)


def test_a_large_catalogue_of_which_nothing_is_wrong_is_published(large: Artifacts) -> None:
    assert rebuild(large.job(NEWER)).outcome is Outcome.PUBLISHED
