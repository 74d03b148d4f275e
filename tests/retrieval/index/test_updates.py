"""Updates of an index: seen whole or not at all, kept on disk, and as good as an index of what is there."""

import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from retrieval.index.build import build_index, load_index
from retrieval.index.spec import Geometry, Index, IndexKind, IndexSpec
from retrieval.index.updates import UPDATES_FILE, UpdatedIndex
from towers.errors import IndexBuildError

NEAR = (IndexKind.HNSW, IndexKind.PARTITIONED)


def unit(seed: int, *shape: int) -> np.ndarray:
    given = np.random.default_rng(seed).standard_normal(shape)
    made: np.ndarray = (given / np.linalg.norm(given, axis=-1, keepdims=True)).astype(np.float32)
    return made


def built(kind: IndexKind, vectors: np.ndarray) -> Index:
    return build_index(IndexSpec(kind, geometry=Geometry.ITEMS, stop=6.0), vectors)


@pytest.mark.parametrize("kind", NEAR)
def test_recall_holds_where_the_best_of_every_query_was_removed(kind: IndexKind) -> None:
    vectors, query = unit(0, 4000, 16), unit(1, 30, 16)
    products = query @ vectors.T
    # The first 100 of every query go, half of all: a search that asks for a few more finds none that stays.
    gone = np.unique(np.argsort(-products, axis=1)[:, :100])
    assert 0.3 < len(gone) / len(vectors) < 0.7
    _, row = UpdatedIndex.of(built(kind, vectors), vectors).remove(gone).search(query, 20)
    products[:, gone] = -np.inf
    expected = np.argsort(-products, axis=1)[:, :20]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(row, expected, strict=True)]) >= 0.95


@pytest.mark.parametrize("kind", NEAR)
def test_few_tombstones_in_the_way_of_every_query_cost_no_recall(kind: IndexKind) -> None:
    centre = unit(2, 16)
    near = centre + 0.1 * unit(3, 300, 16)
    vectors = np.concatenate([near / np.linalg.norm(near, axis=1, keepdims=True), unit(4, 5700, 16)])
    vectors = vectors.astype(np.float32)
    query = (centre + 0.1 * unit(5, 20, 16)).astype(np.float32)
    gone = np.arange(250)  # 4 % of the items, and nearly all that these queries look for
    _, row = UpdatedIndex.of(built(kind, vectors), vectors).remove(gone).search(query, 40)
    products = query @ vectors.T
    products[:, gone] = -np.inf
    expected = np.argsort(-products, axis=1)[:, :40]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(row, expected, strict=True)]) >= 0.95


def test_a_changed_item_is_found_under_its_new_row_alone() -> None:
    vectors = unit(6, 200, 8)
    index = UpdatedIndex.of(built(IndexKind.FLAT, vectors), vectors)
    changed = index.remove(np.array([17])).add(-vectors[[17]])
    assert index.search(vectors[[17]], 1)[1].tolist() == [[17]]
    assert 17 not in changed.search(vectors[[17]], 200)[1]
    assert changed.search(-vectors[[17]], 1)[1].tolist() == [[200]]
    assert changed.remove(np.array([200])).add(vectors[[17]]).search(vectors[[17]], 1)[1].tolist() == [[201]]


@pytest.mark.parametrize("kind", [IndexKind.FLAT, IndexKind.PARTITIONED])
def test_a_search_beside_updates_sees_one_state_whole(kind: IndexKind) -> None:
    """Each state has 30 items of one mark, as far above all others as only a whole state explains."""
    vectors = unit(7, 400, 8)
    query = np.eye(1, 8, dtype=np.float32)
    marked = 5.0 * np.eye(1, 8, dtype=np.float32).repeat(30, axis=0)
    current = [UpdatedIndex.of(built(kind, vectors), vectors).add(marked)]
    torn, stop = [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            row = current[0].search(query, 30)[1][0]
            if row[0] < 400 or row.tolist() != list(range(row[0], row[0] + 30)) or (row[0] - 400) % 30:
                torn.append(row)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for each in threads:
        each.start()
    for _ in range(60):
        there = current[0]
        current[0] = there.remove(there.added_row).add(marked)
    stop.set()
    for each in threads:
        each.join()
    assert torn == []
    assert current[0].num_rows == 400 + 61 * 30


def test_shares_tell_what_is_scanned_and_what_is_dead() -> None:
    vectors = unit(8, 200, 8)
    index = UpdatedIndex.of(built(IndexKind.FLAT, vectors), vectors)
    changed = index.remove(np.arange(20)).add(vectors[:10]).remove(np.array([203, 204]))
    assert changed.added_share == pytest.approx(8 / 200)
    assert changed.removed_share == pytest.approx(20 / 200)
    np.testing.assert_array_equal(changed.vectors()[:180], vectors[20:])
    np.testing.assert_array_equal(changed.vectors()[180:], vectors[[0, 1, 2, 5, 6, 7, 8, 9]])


def test_an_index_with_updates_takes_no_others() -> None:
    vectors = unit(9, 20, 8)
    index = UpdatedIndex.of(built(IndexKind.FLAT, vectors), vectors)
    with pytest.raises(IndexBuildError, match="as it was built"):
        UpdatedIndex.of(index, vectors)
    with pytest.raises(IndexBuildError, match="as it was built"):
        UpdatedIndex.of(index.base, vectors[:19])


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A folder of 100 items built, 1 of them removed and 3 added; and the vectors of all 103."""
    vectors, added = unit(10, 100, 8), unit(11, 3, 8)
    index = UpdatedIndex.of(built(IndexKind.FLAT, vectors), vectors).remove(np.array([5])).add(added)
    index.save(tmp_path)
    return tmp_path, np.concatenate([vectors, added])


def test_a_folder_tells_of_its_updates_itself(saved: tuple[Path, np.ndarray]) -> None:
    folder, vectors = saved
    for given in (vectors, vectors[:100]):
        index = load_index(IndexSpec(IndexKind.FLAT), folder, given)
        assert isinstance(index, UpdatedIndex)
        assert (index.size, index.num_rows) == (102, 103)
        assert 5 not in index.search(vectors[[5]], 102)[1]


def test_updates_of_other_vectors_are_refused(saved: tuple[Path, np.ndarray]) -> None:
    folder, vectors = saved
    with pytest.raises(IndexBuildError, match="of 100 vectors of 8 numbers, and 103 with those added"):
        load_index(IndexSpec(IndexKind.FLAT), folder, vectors[:101])
    swapped = vectors.copy()
    swapped[[100, 101]] = swapped[[101, 100]]
    with pytest.raises(IndexBuildError, match="added vectors are not those of their rows"):
        load_index(IndexSpec(IndexKind.FLAT), folder, swapped)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("living", np.full(8, 255, np.uint8)),
        ("living", np.full(16, 255, np.uint8)),  # rows past the last
        ("living", np.zeros(16, np.int64)),
        ("added", np.zeros((2, 8), np.float32)),
        ("added", np.zeros((3, 7), np.float32)),
        ("added", np.full((3, 8), np.nan, np.float32)),
        ("added_row", np.array([100, 102, 101])),
        ("added_row", np.array([99, 100, 101])),
        ("added_row", np.array([101, 102, 103])),
        ("num_rows", np.array([100, 102])),
        ("num_rows", np.array([99, 103])),
        ("num_rows", np.array([100])),
        ("num_rows", None),
        (None, None),
    ],
)
def test_a_file_that_does_not_fit_its_index_is_refused(
    saved: tuple[Path, np.ndarray], name: str | None, array: np.ndarray | None
) -> None:
    folder, vectors = saved
    arrays = load_file(folder / UPDATES_FILE)
    if name is None:
        (folder / UPDATES_FILE).write_bytes(b"not safetensors at all")
    else:
        arrays.pop(name)
        save_file(arrays | ({} if array is None else {name: array}), folder / UPDATES_FILE)
    with pytest.raises(IndexBuildError, match="index"):
        load_index(IndexSpec(IndexKind.FLAT), folder, vectors[:100])
