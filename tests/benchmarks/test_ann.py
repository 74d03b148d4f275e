"""The figures of `ann` from records by hand: the smallest ratio, null if a set is missing, none made up."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import ann_records
from benchmarks.ann import figures
from benchmarks.ann_records import measured_set, peers_of, standing_set, version
from benchmarks.ann_sweeps import Peer
from benchmarks.ann_vectors import SetName
from benchmarks.claims import BenchmarkError

Rates = dict[str, float | None]


def peer(single: float | None, batch: float | None, size: int = 512) -> dict[str, Any]:
    rates = {
        mode: {"0.90": 1.0, "0.95": rate, "0.99": rate}
        for mode, rate in (("single", single), ("batch", batch))
    }
    build = {"factory": "Flat", "refinement": "codes"}
    return {
        "qps": rates,
        "builds": [{"build": build, "seconds": 1.0, "bytes": size}],
        "points": [{"build": build, "single_qps": 10.0}],
    }


def peers(own: float | None = 600.0) -> dict[str, dict[str, Any]]:
    return {
        Peer.OWN: peer(own, 900.0, 140),
        Peer.FAISS: peer(200.0, 300.0),
        Peer.SCANN: peer(400.0, 500.0, 560),
        Peer.HNSWLIB: peer(100.0, 100.0),
        Peer.USEARCH: peer(120.0, None),
        Peer.VOYAGER: peer(None, None),
    }


def test_each_figure_is_the_smallest_ratio_over_the_best_of_its_peers() -> None:
    sets = {name: peers() for name in SetName}
    sets[SetName.FACTORS_1M] = peers(own=480.0)
    assert figures(sets) == {
        "single_over_faiss": 2.4,
        "batch_over_faiss": 3.0,
        "single_over_scann": 1.2,
        "batch_over_scann": 1.8,
        "single_over_graphs": 4.0,
        "bytes_over_scann_1m": 0.25,
        "worst_over_faiss": 2.4,
        "small_single_over_flat": 60.0,
    }


def test_a_figure_is_null_while_a_set_that_it_needs_is_missing() -> None:
    found = figures({SetName.TOWERS_50K: peers(), SetName.TOWERS_200K: peers()})
    assert {name for name, figure in found.items() if figure is not None} == {"small_single_over_flat"}


def test_an_index_of_ours_that_does_not_reach_the_recall_is_no_ratio() -> None:
    with pytest.raises(BenchmarkError, match=r"our own index does not reach recall 0\.95"):
        figures({name: peers(own=None) for name in SetName})


def test_a_record_stands_until_what_measured_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = SetName.TOWERS_50K
    swept: list[Peer] = []

    def sweep(_: SetName, one: Peer) -> dict[str, Any]:
        swept.append(one)
        return peers()[one]

    monkeypatch.setattr(ann_records, "FOLDER", tmp_path / "ann")
    monkeypatch.setattr(ann_records, "_swept", sweep)
    assert standing_set(name) is None
    first = measured_set(name)
    assert measured_set(name) == standing_set(name) == first
    assert swept == [one for one in Peer if one is not Peer.SCANN_TRANSFORMED]
    monkeypatch.setattr(
        ann_records, "version", lambda at, one: "another" if one is Peer.OWN else version(at, one)
    )
    assert standing_set(name) is None


def test_over_a_million_titles_one_graph_is_measured_and_whoever_else_there_is() -> None:
    others = {Peer.OWN, Peer.FAISS, Peer.SCANN}
    for name in SetName:
        graphs = {one for one in Peer if one.is_graph} if "1m" not in name else {Peer.HNSWLIB}
        assert set(peers_of(name)) == others | graphs


def test_a_version_is_of_a_set_and_a_peer() -> None:
    versions = {version(name, one) for name in SetName for one in Peer}
    assert len(versions) == len(SetName) * len(Peer)
