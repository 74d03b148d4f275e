"""A declared population is read whole or refused."""

from pathlib import Path

import pytest

from towers.audit.reference import read_reference
from towers.audit.segments import Dimension
from towers.errors import MissingDataError, SchemaError

HEADER = "dimension,segment,share\n"


def test_shares_are_read_by_dimension(tmp_path: Path) -> None:
    path = tmp_path / "population.csv"
    path.write_text(HEADER + "country,DE,.25\ncountry,US,.75\nage_band,65+,1\n")
    found = read_reference(path).shares
    assert found == {Dimension.COUNTRY: {"DE": 0.25, "US": 0.75}, Dimension.AGE_BAND: {"65+": 1.0}}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("shoe_size,44,1\n", "dimension 'shoe_size'; expected one of country, region"),
        ("country,DE,.5\ncountry,DE,.5\n", "country=DE; expected every segment once"),
        ("country,DE,.5\ncountry,US,.4\n", "shares of country add up to 0.9"),
        ("country,DE,1.5\ncountry,US,-.5\n", "the lowest is -0.5"),
        ("country,DE,\ncountry,US,1\n", "add up to nan"),
        ("country,DE,half\n", "expected the columns dimension, segment, share"),
    ],
)
def test_what_is_no_population_is_refused(lines: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "population.csv"
    path.write_text(HEADER + lines)
    with pytest.raises(SchemaError, match=said) as caught:
        read_reference(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="no such file"):
        read_reference(tmp_path / "none.csv")
    path = tmp_path / "population.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(SchemaError, match="expected the columns"):
        read_reference(path)
