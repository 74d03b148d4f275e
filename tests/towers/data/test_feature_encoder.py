import json
import logging

import numpy as np
import pyarrow as pa
import pytest

from tests.worlds import tiny_tables
from towers.data.dataset import Dataset, dataset_from_tables
from towers.data.feature_encoder import FeatureEncoder, fit_features, training_rows
from towers.data.features import Feature, FeatureKind, FeatureSettings
from towers.data.schema import PROFILES, table
from towers.data.split import Split, SplitSettings, split
from towers.errors import ConfigError

COUNTRY = Feature("country", FeatureKind.CATEGORICAL, "country")
AGE = Feature("age", FeatureKind.CATEGORICAL, "age_band")
SINCE = Feature("since", FeatureKind.NUMERIC, "attributes.since")

PEOPLE = table(
    PROFILES,
    {
        "profile_id": ["a", "b", "c"],
        "country": ["GB", "FR", None],
        "age_band": ["18-24", None, "25-34"],
        "attributes": [[{"name": "since", "value": "2001"}], [{"name": "since", "value": "2003"}], None],
    },
)


def fitted(*features: Feature, profiles: pa.Table = PEOPLE) -> FeatureEncoder:
    return fit_features(tiny_tables().items, profiles, FeatureSettings(profiles=list(features)))


def test_profiles_are_encoded_in_the_order_of_their_features_with_the_country_of_the_request() -> None:
    encoder = fitted(AGE, COUNTRY, SINCE)
    encoded = encoder.encode_profiles(PEOPLE, np.array(["GB", "GB", "JP"]))
    # Countries FR, GB: rows 1, 2. The table's own countries are not read.
    assert encoded.row.tolist() == [[1, 2], [0, 2], [2, 0]]
    assert encoded.numeric.tolist() == [[-1, 1], [1, 1], [0, 0]]
    assert encoder.profile_columns == ("age_band", "attributes.since")


def test_of_a_stranger_only_the_country_is_known() -> None:
    encoded = fitted(AGE, COUNTRY, SINCE).encode_profiles(None, np.array(["FR", ""]))
    assert encoded.row.tolist() == [[0, 1], [0, 0]]
    assert encoded.numeric.tolist() == [[0, 0], [0, 0]]


def test_nobody_and_nothing_declared_are_encoded_too() -> None:
    nobody = fitted(COUNTRY).encode_profiles(PEOPLE.slice(3), np.zeros(0, "<U2"))
    assert nobody.row.shape == (0, 1)
    nothing = fitted().encode_profiles(PEOPLE, np.array(["GB", "", "FR"]))
    assert nothing.row.shape == nothing.numeric.shape == (3, 0)


def test_profiles_are_selected_in_the_order_asked() -> None:
    encoded = fitted(AGE, SINCE).encode_profiles(PEOPLE, np.array(["", "", ""]))
    some = encoded.select(np.array([2, 0, 2]))
    assert some.row.tolist() == [[2], [1], [2]]
    assert some.numeric.tolist() == [[0, 0], [-1, 1], [0, 0]]


def world() -> tuple[Dataset, Split]:
    dataset = dataset_from_tables(tiny_tables())
    return dataset, split(dataset, SplitSettings())


def test_only_titles_and_profiles_with_a_train_event_are_fitted_on() -> None:
    dataset, parts = world()
    items, profiles = training_rows(dataset, parts)
    # Leave-one-out keeps one of ana's three events, and what ben and cho have; dan watched nothing.
    assert items["item_id"].to_pylist() == ["t1", "t3", "t4"]
    assert profiles["profile_id"].to_pylist() == ["ana", "ben", "cho"]


def test_both_sides_come_back_from_json_with_their_declaration() -> None:
    encoder = fitted(AGE, COUNTRY, SINCE)
    again = FeatureEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    assert again.settings == FeatureSettings(profiles=[AGE, COUNTRY, SINCE])


def test_a_declaration_that_would_be_refused_is_refused_from_json_too() -> None:
    read = fitted(AGE).to_json()
    read["profiles"]["features"][0]["column"] = "profile_id"
    with pytest.raises(ConfigError, match=r"^features\.profiles\[0\]\.column: profile_id"):
        FeatureEncoder.from_json(read)


def test_sensitive_columns_are_named_in_the_log_where_they_are_declared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        fitted(COUNTRY, SINCE)
        assert "sensitive" not in caplog.text
        fitted(AGE)
    assert "columns=age_band" in caplog.text


def test_both_sides_grow() -> None:
    encoder = fitted(COUNTRY, profiles=PEOPLE.slice(0, 1))
    grown = encoder.grown(tiny_tables().items, PEOPLE)
    assert grown.profiles.vocabularies["country"].ids == ("GB", "FR")
    assert grown.items == encoder.items
