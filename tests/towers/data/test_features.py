import json

import numpy as np
import pyarrow as pa
import pytest

from towers.data.features import FeatureEncoder, fit_features
from towers.data.schema import ITEMS, table
from towers.errors import SchemaError


def catalogue(**columns: object) -> pa.Table:
    return table(ITEMS, {"item_id": ["a", "b", "c"], "title": ["A", "B", "C"], **columns})


NO_COUNTRY = np.zeros(0, dtype="<U2")


def test_values_of_training_items_have_rows_and_all_others_row_zero() -> None:
    items = catalogue(language=["en", "en", "fr"])
    encoder = fit_features(items, np.array([True, True, False]), NO_COUNTRY)
    encoded = encoder.encode(items)
    assert encoded.categorical["item_id"].tolist() == [1, 2, 0]
    assert encoded.categorical["language"].tolist() == [1, 1, 0]


def test_a_list_keeps_known_values_only_and_may_be_empty_or_null() -> None:
    items = catalogue(genres=[["Drama", "War"], None, ["Drama", "Musical"]])
    encoder = fit_features(items, np.array([True, True, False]), NO_COUNTRY)
    bags = encoder.encode(items).multi["genres"]
    assert encoder.vocabularies["genres"].ids == ("Drama", "War")
    assert bags.offset.tolist() == [0, 2, 2, 3]
    assert bags.row.tolist() == [1, 2, 1]


def test_only_the_first_of_a_long_cast_count_and_only_people_of_two_titles() -> None:
    billing = [["P1", "P2", "P3", "P4", "P5", "P6"], ["P6", "P1"], ["P6", "P2"]]
    items = catalogue(cast=billing)
    encoder = fit_features(items, np.ones(3, dtype=bool), NO_COUNTRY)
    # P6 is sixth in the first title, so it counts in two; P3 to P5 stand in one title only.
    assert encoder.vocabularies["cast"].ids == ("P1", "P2", "P6")


def test_numbers_are_standardised_by_training_items_and_unknown_ones_are_flagged() -> None:
    items = catalogue(rating=[4.0, 8.0, None])
    encoder = fit_features(items, np.array([True, True, True]), NO_COUNTRY)
    encoded = encoder.encode(items)
    place = list(encoder.scales).index("rating")
    assert encoded.numeric[:, place].tolist() == [-1.0, 1.0, 0.0]
    assert encoded.numeric[:, len(encoder.scales) + place].tolist() == [1.0, 1.0, 0.0]


def test_a_constant_number_does_not_divide_by_zero() -> None:
    items = catalogue(rating=[7.0, 7.0, 7.0])
    encoded = fit_features(items, np.ones(3, dtype=bool), NO_COUNTRY).encode(items)
    assert np.isfinite(encoded.numeric).all()


def test_nothing_of_items_without_train_events_leaks_into_the_encoder() -> None:
    seen = np.array([True, True, False])
    one = catalogue(
        genres=[["Drama"], ["War"], ["Noir"]], rating=[1.0, 3.0, 9.0], language=["en", "en", "fr"]
    )
    other = catalogue(genres=[["Drama"], ["War"], None], rating=[1.0, 3.0, 0.5], language=["en", "en", "de"])
    fitted = fit_features(one, seen, np.array(["DE"]))
    assert fitted.to_json() == fit_features(other, seen, np.array(["DE"])).to_json()
    assert "Noir" not in fitted.vocabularies["genres"]
    assert "c" not in fitted.vocabularies["item_id"]


def test_the_encoder_comes_back_from_json_and_encodes_the_same() -> None:
    items = catalogue(
        genres=[["Drama"], ["War"], None], rating=[1.0, None, 9.0], release_year=[1999, 2001, None]
    )
    encoder = fit_features(items, np.ones(3, dtype=bool), np.array(["DE", "", "FR"]))
    again = FeatureEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    one, two = encoder.encode(items), again.encode(items)
    np.testing.assert_array_equal(one.numeric, two.numeric)
    for name, rows in one.categorical.items():
        np.testing.assert_array_equal(rows, two.categorical[name])
    for name, bags in one.multi.items():
        np.testing.assert_array_equal(bags.row, two.multi[name].row)
    assert again.country.ids == ("DE", "FR")


def test_an_encoder_of_other_features_is_refused() -> None:
    read = fit_features(catalogue(), np.ones(3, dtype=bool), NO_COUNTRY).to_json()
    del read["vocabularies"]["genres"]
    with pytest.raises(SchemaError, match="genres"):
        FeatureEncoder.from_json(read)


def test_a_catalogue_that_training_never_saw_is_encoded_without_its_ids() -> None:
    encoder = fit_features(catalogue(), np.ones(3, dtype=bool), NO_COUNTRY)
    fresh = table(ITEMS, {"item_id": ["x"], "title": ["X"]})
    assert encoder.encode(fresh).categorical["item_id"].tolist() == [0]
