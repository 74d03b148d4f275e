"""The figures of `ann` from records by hand: the smallest ratio, null if a set is missing, none made up."""

from typing import Any

import pytest

from benchmarks.ann import figures
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
        Peer.SCANN_TRANSFORMED: peer(500.0, 700.0, 150),  # the best of all: no figure hangs on it
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
