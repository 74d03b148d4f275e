import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from towers.data.histories import Histories
from towers.data.mapped import InMemory, MappedFile, portable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.arange(100_000, dtype=np.int32))
    return tmp_path / "rows.npy"


@pytest.mark.parametrize(
    "part",
    [
        lambda rows: rows,
        lambda rows: rows[777:90_001],
        lambda rows: rows.view(np.ndarray)[5:][10:],
        lambda rows: rows.reshape(100, 1000)[3:9],
    ],
)
def test_a_mapped_array_travels_by_path_and_arrives_mapped(
    path: Path, part: Callable[[np.ndarray], np.ndarray]
) -> None:
    sent = part(np.load(path, mmap_mode="r"))
    travelling = pickle.dumps(portable(sent))
    assert len(travelling) < 1000
    arrived = pickle.loads(travelling).array()
    np.testing.assert_array_equal(arrived, sent)
    assert (arrived.dtype, type(arrived), arrived.flags.writeable) == (np.int32, np.ndarray, False)


def test_no_values_of_a_file_travel_too(path: Path) -> None:
    arrived = pickle.loads(pickle.dumps(portable(np.load(path, mmap_mode="r")[:0]))).array()
    assert (len(arrived), arrived.dtype) == (0, np.int32)


def test_what_the_file_does_not_hold_as_it_is_travels_by_value(path: Path) -> None:
    changed = np.load(path, mmap_mode="c")
    changed[0] = 7
    rows = np.load(path, mmap_mode="r")
    for sent in (changed, rows[::2], rows + 1, np.arange(5)):
        travelling = portable(sent)
        assert isinstance(travelling, InMemory)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(travelling)).array(), sent)


def test_a_file_of_another_working_directory_is_found(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    travelling = portable(np.load(path.name, mmap_mode="r"))
    monkeypatch.chdir("/")
    assert isinstance(travelling, MappedFile)
    assert travelling.array()[-1] == 99_999


def test_mapped_histories_travel_by_path_and_others_whole(tmp_path: Path) -> None:
    offset = np.arange(0, 100_001, 10)
    columns: dict[str, np.ndarray] = {
        "offset": offset,
        "item_row": np.arange(100_000, dtype=np.int32),
        "time_seconds": np.arange(100_000),
        "minutes": np.ones(100_000, np.float32),
        "weight": np.full(100_000, 2, np.float32),
    }
    for name, column in columns.items():
        np.save(tmp_path / f"{name}.npy", column)
    mapped = Histories(**{name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in columns})
    for history, limit in ((mapped, 5_000), (Histories(**columns), 10**7)):
        travelling = pickle.dumps(history)
        assert len(travelling) < limit
        arrived = pickle.loads(travelling)
        for name, column in columns.items():
            np.testing.assert_array_equal(getattr(arrived, name), column)
            assert getattr(arrived, name).dtype == column.dtype
