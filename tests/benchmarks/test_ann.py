"""The figures of `ann` from records by hand: the smallest ratio, null if a set is missing, none made up."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import ann_records
from benchmarks.ann import figures
from benchmarks.ann_records import best_settings, measured_set, peers_of, standing_set, version
from benchmarks.ann_sweeps import Peer, Setting
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
        "points": [point(build, {}, 1.0, 10.0)],
    }


def point(build: dict[str, Any], search: dict[str, Any], recall: float, qps: float) -> dict[str, Any]:
    both = {
        f"{mode}_{name}": one
        for mode in ("single", "batch")
        for name, one in (("recall", recall), ("qps", qps))
    }
    return {"build": build, "search": search, "refused": None} | both


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


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Peer, list[Setting] | None]]:
    """What was measured, in order: of a peer everything (None) or these settings."""
    asked: list[tuple[Peer, list[Setting] | None]] = []

    def measure(_: SetName, one: Peer, settings: list[Setting] | None = None) -> dict[str, Any]:
        asked.append((one, settings))
        return peers()[one] | {"date": "today"}

    monkeypatch.setattr(ann_records, "FOLDER", tmp_path / "ann")
    monkeypatch.setattr(ann_records, "_measured", measure)
    return asked


def test_a_record_stands_until_what_measured_it_changes(
    measured: list[tuple[Peer, list[Setting] | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = SetName.TOWERS_50K
    others = [one for one in peers_of(name) if one is not Peer.OWN]
    assert standing_set(name) is None
    first = measured_set(name)
    assert measured_set(name) == standing_set(name) == first
    # Each is swept; then our own, and the best of each once more.
    scan = [Setting({"factory": "Flat", "refinement": "codes"}, (({},),))]
    again = [(Peer.OWN, None), *((one, scan) for one in others)]
    assert measured == [(one, None) for one in others] + again
    monkeypatch.setattr(
        ann_records, "version", lambda at, one: "another" if one is Peer.OWN else version(at, one)
    )
    assert standing_set(name) is None
    measured.clear()
    measured_set(name)
    # Their sweeps stand in the record; what is compared is measured in one go.
    assert measured == again


def test_the_best_settings_are_those_that_no_other_beats_in_recall_and_rate() -> None:
    one, other, flat = {"lists": 1}, {"lists": 2}, {"factory": "Flat"}
    points = [
        point(one, {"n": 1}, 0.80, 900.0),  # too low to be compared
        point(one, {"n": 2}, 0.90, 500.0),
        point(one, {"n": 3}, 0.95, 100.0),  # beaten by the next
        point(other, {"n": 3}, 0.96, 200.0),
        point(other, {"n": 4}, 0.97, 50.0) | {"batch_qps": 10.0},  # beaten in batches alone
        point(other, {"n": 5}, 0.98, 40.0),
        point(other, {"n": 6}, 0.99, 60.0) | {"refused": "fewer than k"},
        point(flat, {}, 1.0, 1.0),
        point(one, {"n": 9}, 1.0, 2.0),
    ]
    assert best_settings(points) == [
        Setting(flat, (({},),)),
        Setting(one, (({"n": 2},), ({"n": 9},))),
        Setting(other, (({"n": 3},), ({"n": 4},), ({"n": 5},))),
    ]


def test_over_a_million_titles_one_graph_is_measured_and_whoever_else_there_is() -> None:
    others = {Peer.OWN, Peer.FAISS, Peer.SCANN}
    for name in SetName:
        graphs = {one for one in Peer if one.is_graph} if "1m" not in name else {Peer.HNSWLIB}
        assert set(peers_of(name)) == others | graphs


def test_a_version_is_of_a_set_and_a_peer() -> None:
    versions = {version(name, one) for name in SetName for one in Peer}
    assert len(versions) == len(SetName) * len(Peer)
