"""The history snapshot goes to disk and comes back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrieval.profiles import PROFILES, read_profiles, write_profiles
from tests.worlds import tiny_tables
from towers.data.dataset import dataset_from_tables
from towers.data.schema import ATTRIBUTES
from towers.data.vocabulary import Vocabulary
from towers.errors import SchemaError


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    dataset = dataset_from_tables(tiny_tables())
    write_profiles(dataset, tmp_path / "profiles.parquet")
    read = read_profiles(tmp_path / "profiles.parquet", dataset.catalogue)
    assert read.profiles == dataset.profiles
    assert read.country.tolist() == dataset.country.tolist()
    for name in ("offset", "item_row", "time_seconds", "minutes"):
        np.testing.assert_array_equal(getattr(read.history, name), getattr(dataset.history, name))
    assert read.as_of_seconds == dataset.history.time_seconds.max()


def test_declared_columns_are_written_and_no_other(tmp_path: Path) -> None:
    tables = tiny_tables()
    plan = pa.array([None, [{"name": "plan", "value": "gold"}, {"name": "age", "value": "7"}], [], None])
    place = tables.profiles.schema.get_field_index("attributes")
    known = tables.profiles.set_column(place, tables.profiles.schema.field(place), plan.cast(ATTRIBUTES))
    dataset = dataset_from_tables(replace(tables, profiles=known))
    path = tmp_path / "profiles.parquet"
    write_profiles(dataset, path, ("age_band", "attributes.plan"))
    read = read_profiles(path, dataset.catalogue)
    assert read.columns == ("age_band", "attributes.plan")
    assert read.features is not None
    assert read.features.to_pydict() == {
        "age_band": ["25-34", None, "18-24", None],
        "attributes.plan": [None, "gold", None, None],
    }
    names = set(pq.read_schema(path).names)
    assert names == {*PROFILES.names, "feature.age_band", "feature.attributes.plan"}


def test_without_declared_columns_a_profile_has_none(tmp_path: Path) -> None:
    dataset = dataset_from_tables(tiny_tables())
    write_profiles(dataset, tmp_path / "profiles.parquet")
    read = read_profiles(tmp_path / "profiles.parquet", dataset.catalogue)
    assert read.features is None
    assert read.columns == ()


def test_items_outside_the_catalogue_leave_the_history(tmp_path: Path) -> None:
    dataset = dataset_from_tables(tiny_tables())
    write_profiles(dataset, tmp_path / "profiles.parquet")
    fewer = Vocabulary(dataset.catalogue.ids[1:])
    read = read_profiles(tmp_path / "profiles.parquet", fewer)
    for profile in range(len(read.profiles)):
        expected = [row - 1 for row in dataset.history.items_of(profile).tolist() if row > 0]
        assert read.history.items_of(profile).tolist() == expected


def test_lists_of_unequal_length_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "profiles.parquet"
    columns = {
        "profile_id": ["a"],
        "country": [""],
        "item_id": [["x", "y"]],
        "time_seconds": [[1]],
        "minutes": [[1.0, 2.0]],
    }
    pq.write_table(pa.table(columns), path)
    with pytest.raises(SchemaError, match="differ in length"):
        read_profiles(path, Vocabulary(["x"]))
    pq.write_table(pa.table({"profile_id": ["a"]}), path)
    with pytest.raises(SchemaError, match=r"profiles\.parquet.*expected the columns"):
        read_profiles(path, Vocabulary(["x"]))
