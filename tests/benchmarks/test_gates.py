"""The world of the claim `gates`: feeds know the past, and honest releases do not go back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc

from benchmarks.gate_worlds import GateWorld, Model, as_of, with_feed
from benchmarks.gates import WORLD
from tests.retrieval.worlds import items_table
from towers.data.sources.simulated import SimulatedSettings, read_simulated

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def _window(start: int | None, end: int | None) -> dict[str, object]:
    """A licence for Germany by days from now."""
    ends = [None if day is None else NOW + timedelta(days=day) for day in (start, end)]
    return {"country": "DE", "start": ends[0], "end": ends[1]}


def test_a_feed_knows_what_has_begun_and_what_has_ended() -> None:
    items = items_table(
        4, licences=[[_window(-9, -5), _window(-2, 3)], [_window(1, None)], None, [_window(None, None)]]
    )
    assert with_feed(items, NOW)["licences"].to_pylist() == [
        [_window(-9, -5), _window(-2, None)],
        [],
        None,
        [_window(None, None)],
    ]


def test_the_tables_of_a_day_hold_what_had_happened_and_was_on_offer() -> None:
    log = read_simulated(SimulatedSettings(num_events=3000, num_profiles=100, num_items=120))
    newest = pc.max(log.events["start"]).as_py()
    moment = newest - timedelta(days=200)
    tables = as_of(log, moment)
    assert pc.max(tables.events["start"]).as_py() <= moment
    assert 0 < tables.events.num_rows < log.events.num_rows
    assert 0 < tables.items.num_rows < log.items.num_rows
    assert set(tables.events["item_id"].to_pylist()) <= set(tables.items["item_id"].to_pylist())


def test_an_honest_release_has_no_older_tables_and_no_older_model(tmp_path: Path) -> None:
    world = GateWorld(tmp_path, SimulatedSettings(), (7, 0), (Model(0, 0), Model(1, 1)), ())
    pairs = list(world.honest())
    assert all(pair.candidate.day >= pair.live.day for pair in pairs)
    assert all(pair.candidate.model.day >= pair.live.model.day for pair in pairs)
    assert all(made.model.day <= made.day for pair in pairs for made in (pair.live, pair.candidate))
    # Models 0 on days 0 and 1, model 1 on day 1: each later one after each earlier.
    assert len(pairs) == 3
    assert len(list(WORLD.honest())) >= 80
