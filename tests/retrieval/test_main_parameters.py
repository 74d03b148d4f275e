"""The page of main parameters says what a release really reads, and all that a viewer can change."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from retrieval.control.controls import Controls
from retrieval.encoder import load_encoder
from retrieval.lists import ListAnswers, RankedLists
from retrieval.main_parameters import OF_ANSWERS, OF_CONTROLS, main_parameters
from retrieval.release.files import read_vectors
from tests.retrieval.conftest import Exported
from tests.retrieval.worlds import by_vectors, release
from towers.data.features import FeatureSettings
from towers.recommender import Degraded

PAGE = Path(__file__).resolve().parents[2] / "docs" / "main_parameters.md"


def test_every_control_and_every_mark_of_an_answer_is_told() -> None:
    assert set(OF_CONTROLS) == {item.name for item in fields(Controls)}
    assert set(OF_ANSWERS) == set(Degraded)


def test_the_page_in_the_docs_is_that_of_towers_of_the_default_features(exported: Exported) -> None:
    vectors, _ = read_vectors(exported.model / "items.safetensors")
    served = release(vectors)
    encoder = load_encoder(exported.model, vectors)
    page = main_parameters(replace(served, answers=replace(by_vectors(served), encoder=encoder)))
    assert page == PAGE.read_text(encoding="utf-8")
    for feature in FeatureSettings().items:
        assert feature.column == "item_id" or feature.column.replace("_", " ") in page


def test_a_sensitive_column_that_is_read_is_told_as_read() -> None:
    served = release(np.eye(3, dtype=np.float32), profiles={"ann": [0]})
    lists = RankedLists(np.zeros((5, 1), np.int32), np.zeros((5, 1), np.float32), np.arange(3))
    known = replace(served.profiles, features=pa.table({"gender": ["f"]}))
    page = main_parameters(replace(served, profiles=known, answers=ListAnswers(lists, known)))
    assert "your country, gender." in page
    assert "gender" not in page.split("What is not read")[1]
