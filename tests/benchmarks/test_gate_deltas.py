"""Faults of deltas, in a service of untrained towers: what is broken is stopped, what is not is published."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks.delta_worlds import steps, with_titles
from benchmarks.gate_deltas import deltas
from benchmarks.gate_outcomes import Outcome, counted, failed_gates
from benchmarks.gate_worlds import GateWorld, Model, as_of
from tests.retrieval.rebuild.worlds import train
from towers.data.sources.simulated import SimulatedSettings, read_simulated

SERVICE = SimulatedSettings(num_events=8_000, num_profiles=250, num_items=700)


@pytest.fixture
def drawn(tmp_path: Path) -> GateWorld:
    """A service whose towers were drawn, not learned: nothing is left to train."""
    world = GateWorld(tmp_path, SERVICE, (0,), (Model(0, 0), Model(0, 1)), ())
    for service, folder, seed in (
        (SERVICE, world.trained(Model(0, 0)).parent, 0),
        (SERVICE, world.trained(Model(0, 1)).parent, 1),
        (replace(SERVICE, seed=8), world.another().parent, 0),
    ):
        train(as_of(read_simulated(service), datetime(2100, 1, 1, tzinfo=UTC)), folder, seed)
    return world


@pytest.mark.slow
def test_broken_deltas_are_stopped_and_honest_ones_are_not(drawn: GateWorld) -> None:
    caught, honest = deltas(drawn, num_injections=2, num_honest=2)
    assert honest == [Outcome((), "delta")] * 2
    assert len(caught) == 6
    for fault, outcomes in caught.items():
        assert all(one.stopped_by for one in outcomes), fault


def test_newer_tables_are_never_older_than_the_live_release(tmp_path: Path) -> None:
    world = GateWorld(tmp_path, SERVICE, (28, 14, 0), (Model(0, 0), Model(1, 0)), ())
    every = list(steps(world, 40))
    assert all(one.live.made.model.day <= one.live.made.day <= one.day for one in every)
    assert {one.live.chained for one in every} == {False, True}
    assert len({one.seed for one in every}) == 40
    # Six of model 0 and three of model 1, each of a build and of a delta.
    assert len({(one.live, one.day) for one in every}) == 18


def test_a_title_that_is_left_out_takes_its_events_along() -> None:
    tables = read_simulated(SERVICE)
    kept = np.arange(tables.items.num_rows) % 2 == 0
    fewer = with_titles(tables, kept)
    ids = set(np.array(tables.items["item_id"].to_pylist())[kept].tolist())
    assert fewer.items["item_id"].to_pylist() == [
        one for one in tables.items["item_id"].to_pylist() if one in ids
    ]
    assert fewer.events.to_pylist() == [one for one in tables.events.to_pylist() if one["item_id"] in ids]


def test_the_first_gate_that_failed_is_what_counts() -> None:
    said = "not published:\n  passed recall: 1, expected >= 0.95\n  FAILED quality: -0.2, expected >= -0.05"
    assert failed_gates(said + "\n  FAILED exposure: 0.1, expected >= 0.5\nto publish it") == (
        "quality",
        "exposure",
    )
    assert failed_gates("of another kind") == ("GateError",)
    outcomes = [Outcome(("quality", "exposure")), Outcome(()), Outcome(("quality",))]
    assert counted(outcomes) == {"quality": 2, "published": 1}
