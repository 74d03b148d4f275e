from pathlib import Path

import pytest

from tests.towers.data.sources.raw_rows import write
from towers.data.sources.files import find_file, matching_files, required_file
from towers.errors import MissingDataError


def test_a_plain_file_goes_before_its_gzipped_twin(tmp_path: Path) -> None:
    assert find_file(tmp_path, "rows.csv") is None
    gzipped = write(tmp_path, "rows.csv.gz", "x")
    assert find_file(tmp_path, "rows.csv") == gzipped
    assert matching_files(tmp_path, "*.csv") == [gzipped]
    plain = write(tmp_path, "rows.csv", "x")
    assert find_file(tmp_path, "rows.csv") == plain
    assert matching_files(tmp_path, "*.csv") == [plain]


def test_files_that_match_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.csv.gz", "c.csv", "a.csv", "a.txt"):
        write(tmp_path, name, "x")
    (tmp_path / "d.csv").mkdir()
    assert [path.name for path in matching_files(tmp_path, "*.csv")] == ["a.csv", "b.csv.gz", "c.csv"]


def test_the_first_name_that_is_there_is_taken_and_none_is_an_error(tmp_path: Path) -> None:
    second = write(tmp_path, "items_en.csv", "x")
    assert required_file(tmp_path, "items.csv", "items_en.csv") == second
    first = write(tmp_path, "items.csv.gz", "x")
    assert required_file(tmp_path, "items.csv", "items_en.csv") == first
    with pytest.raises(MissingDataError, match=r"expected users.csv or users_en.csv there, plain or .gz"):
        required_file(tmp_path, "users.csv", "users_en.csv")
    with pytest.raises(MissingDataError, match=r"nowhere: no such folder"):
        required_file(tmp_path / "nowhere", "users.csv")
