"""Recall, the front and what lies between its points, by hand; plain FAISS end to end on small vectors."""

import importlib
import json
import math
import sys
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import ann_vectors
from benchmarks.ann_peers import Point, front, is_unit, rate_at, rates, swept
from benchmarks.ann_sweeps import Peer, Setting, key_of, lists_for, sweep
from benchmarks.peers import ann_timing
from benchmarks.peers.ann_timing import BATCH, K, _batches, _padded, recall


def point(recall: float, qps: float, refused: str | None = None) -> Point:
    return Point(
        build={},
        search={},
        build_seconds=1.0,
        bytes_per_item=512.0,
        single_recall=recall,
        single_qps=qps,
        batch_recall=recall / 2,
        batch_qps=2 * qps,
        refused=refused,
    )


def test_recall_is_the_share_of_the_true_rows_found_in_any_order() -> None:
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    found = np.array([[4, 3, 9, 1], [9, 9, 9, 5]])
    assert recall(found, truth) == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert recall(truth[:, ::-1], truth) == 1.0


def test_recall_counts_a_row_found_twice_once_and_padding_never() -> None:
    truth = np.array([[0, 1, 2, 3]])
    assert recall(np.array([[0, 0, 0, 0]]), truth) == 0.25
    assert recall(np.array([[-1, -1, -1, 2]]), truth) == 0.25
    assert recall(np.array([[2**32 - 1, 2, 1, 7]], np.uint32), truth) == 0.5


def test_recall_of_other_queries_is_refused() -> None:
    with pytest.raises(ValueError, match="answers to 1 queries; expected 2"):
        recall(np.zeros((1, 4)), np.zeros((2, 4)))


def test_every_batch_is_full_and_all_queries_come_first_in_order() -> None:
    for num in (3, BATCH, BATCH + 5, 3000):
        queries = np.arange(num, dtype=np.float32)[:, None]
        batches = _batches(queries)
        assert {len(part) for part in batches} == {BATCH}
        assert len(batches) == math.ceil(num / BATCH)
        assert (np.concatenate(batches)[:num] == queries).all()


def test_peers_are_asked_for_as_many_as_there_are_exact_answers() -> None:
    assert K == ann_vectors.K


def test_a_short_answer_is_padded() -> None:
    rows = _padded([np.array([7, 8], np.uint64), np.arange(K)])
    assert rows.shape == (2, K)
    assert rows[0].tolist() == [7, 8] + [-1] * (K - 2)
    assert rows[1].tolist() == list(range(K))


def test_the_front_leaves_out_what_another_point_equals_or_beats() -> None:
    points = [(0.9, 100.0), (0.95, 90.0), (0.92, 80.0), (0.95, 70.0), (0.99, 10.0), (0.9, 100.0), (0.8, 95.0)]
    assert front(points) == [(0.9, 100.0), (0.95, 90.0), (0.99, 10.0)]
    assert front([]) == []


def test_between_two_points_the_logarithm_of_the_rate_is_linear_in_recall() -> None:
    points = [(0.90, 1000.0), (0.98, 10.0), (0.93, 1.0)]  # the last lies below the line and on no front
    assert rate_at(points, 0.94) == pytest.approx(100.0)
    assert rate_at(points, 0.92) == pytest.approx(10**2.5)
    assert rate_at(points, 0.90) == 1000.0
    assert rate_at(points, 0.98) == pytest.approx(10.0)


def test_beyond_the_front_there_is_no_rate_and_below_it_that_of_its_first_point() -> None:
    points = [(0.90, 1000.0), (0.98, 10.0)]
    assert rate_at(points, 0.99) is None
    assert rate_at([], 0.5) is None
    assert rate_at(points, 0.5) == 1000.0


def test_each_mode_has_its_own_recall_and_refused_searches_count_for_nothing() -> None:
    points = [point(0.9, 1000.0), point(1.0, 10.0), point(1.0, 99_999.0, "too few found")]
    found = rates(points, levels=(0.45, 0.95))
    assert found["single"] == {"0.45": 1000.0, "0.95": 100.0}
    assert found["batch"] == {"0.45": 2000.0, "0.95": None}


def test_partitions_grow_with_the_root_of_the_items() -> None:
    assert lists_for(200_000) == (1024, 2048)
    assert lists_for(1_000_000) == (2048, 4096)
    assert lists_for(100) == (16, 32)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("peer", list(Peer))
def test_no_sweep_searches_more_partitions_than_there_are(peer: Peer, unit: bool) -> None:
    for setting in sweep(peer, 10_000, unit=unit):
        assert setting.lines
        for search in chain(*setting.lines):
            effort = search.get("nprobe", search.get("leaves", 1))
            assert effort <= max(lists_for(10_000))


def test_a_graph_of_faiss_is_tried_on_unit_vectors_alone() -> None:
    def graphs(unit: bool) -> list[Setting]:
        return [one for one in sweep(Peer.FAISS, 10_000, unit=unit) if "HNSW" in one.build["factory"]]

    assert (len(graphs(True)), len(graphs(False))) == (1, 0)


@pytest.mark.parametrize(
    ("peer", "effort", "most", "more"),
    [
        (Peer.FAISS, "nprobe", 256, 4096),
        (Peer.FAISS, "k_factor", 10, 40),
        (Peer.SCANN, "leaves", 256, 4096),
        (Peer.SCANN, "reordered", 700, 4000),
        (Peer.SCANN_TRANSFORMED, "leaves", 256, 4096),
        (Peer.HNSWLIB, "ef", 1200, 4000),
        (Peer.USEARCH, "ef", 1200, 1200),
    ],
)
def test_over_very_many_items_and_vectors_of_many_lengths_more_effort_is_tried(
    peer: Peer, effort: str, most: int, more: int
) -> None:
    def tried(num_items: int, unit: bool) -> int:
        settings = sweep(peer, num_items, unit=unit)
        return max(int(one.get(effort, 0)) for setting in settings for line in setting.lines for one in line)

    assert tried(200_000, unit=True) == most
    assert tried(1_000_000, unit=True) == tried(1_000_000, unit=False) == more
    assert tried(200_000, unit=False) == (min(more, 2048) if effort in ("nprobe", "leaves") else more)


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("peer", list(Peer))
def test_no_search_is_tried_twice_on_a_build(peer: Peer, unit: bool) -> None:
    settings = sweep(peer, 1_000_000, unit=unit)
    tried = [key_of(setting.build, one) for setting in settings for line in setting.lines for one in line]
    assert len(set(tried)) == len(tried)


def test_in_the_metric_of_queries_inner_products_stay_and_queries_have_one_length_in_every_direction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its own environment has ScaNN, ours has not.
    monkeypatch.setitem(sys.modules, "ann_scann", SimpleNamespace(Scann=object))
    monkeypatch.setitem(sys.modules, "ann_timing", SimpleNamespace(run=None))
    monkeypatch.syspath_prepend(Path(ann_timing.__file__).parent)
    transforms = importlib.import_module("ann_scann_transformed").transforms
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((500, 8)) * np.geomspace(0.05, 3.0, 8) @ rng.standard_normal((8, 8))
    items = rng.standard_normal((40, 8))
    of_items, of_queries = transforms(queries)
    moved = queries @ of_queries
    assert np.allclose(moved @ (items @ of_items).T, queries @ items.T, atol=1e-4)
    assert np.allclose(moved.T @ moved / len(moved), np.eye(8), atol=1e-4)


def test_unit_vectors_are_told_from_others() -> None:
    unit = np.eye(3, dtype=np.float32)
    assert is_unit(unit)
    assert not is_unit(unit * np.array([[1.0], [1.0], [1.1]], np.float32))


def test_plain_faiss_is_swept_over_a_file_and_finds_all_by_brute_force(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    items, queries = (rng.standard_normal((num, 16), dtype=np.float32) for num in (2_000, 40))
    truth = np.argsort(-(queries.astype(np.float64) @ items.T.astype(np.float64)), axis=1)[:, :K]
    path = tmp_path / "vectors.npz"
    np.savez(path, items=items, test_queries=queries, truth=truth)
    settings = [
        Setting({"factory": "Flat"}, (({},),)),
        Setting({"factory": "IVF8,SQ8"}, (({"nprobe": 1}, {"nprobe": 8}),)),
    ]
    flat, few, every = swept(Peer.FAISS, path, settings, rounds=1, num_queries=30)
    assert (flat.single_recall, flat.batch_recall) == (1.0, 1.0)
    assert flat.bytes_per_item == pytest.approx(16 * 4, rel=0.01)
    assert few.single_recall < 0.7 < 0.95 < every.single_recall
    assert few.single_recall == few.batch_recall
    assert every.build == {"factory": "IVF8,SQ8"}
    assert every.search == {"nprobe": 8}
    json.dumps(rates([flat, few, every]), allow_nan=False)
