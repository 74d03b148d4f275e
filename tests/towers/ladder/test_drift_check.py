"""Newer logs against what a model learned from: planted drifts trigger their own reading, chance none."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.worlds import DAY_SECONDS, SIGNALS, START_SECONDS, log_tables, tiny_tables, write_tables
from towers.data.dataset import dataset_from_tables
from towers.data.privacy.forgotten import add_forgotten, read_forgotten
from towers.data.privacy.state import LEARNED_FROM, state_of
from towers.data.privacy.tables import erase_from_tables
from towers.data.schema import Tables, read_tables
from towers.data.signals.settings import SignalSettings
from towers.data.simulator.calendar import LOG_START_MS, WEEK_MS
from towers.data.simulator.settings import SimulatedSettings
from towers.data.sources.simulated import read_simulated
from towers.data.split import SplitKind, SplitSettings, split
from towers.errors import ConfigError, MissingDataError, ReleaseError
from towers.evaluation.drift import DriftSettings, Monitor
from towers.evaluation.drift_decision import DriftCheck, Reason
from towers.exported import TRAINING_FILE
from towers.ladder.drift_check import (
    Embedded,
    Learned,
    check_drift,
    embedded,
    read_learned,
    schedule_of,
    seconds_of,
)
from towers.ladder.drift_inputs import span

SETTINGS = DriftSettings()
# Nothing arrives and no taste is redrawn: what comes later is drawn as what came before.
STILL = SimulatedSettings(num_events=20_000, arrival_share=0.0, cold_share=0.0)
CUT_MS = LOG_START_MS + 52 * WEEK_MS
LATER = "2030-01-01"


def between(tables: Tables, start_ms: int, stop_ms: int) -> Tables:
    start = tables.events["start"].cast(pa.int64())
    kept = pc.and_(pc.greater_equal(start, start_ms), pc.less(start, stop_ms))
    return replace(tables, events=tables.events.filter(kept))


def before_cut(tables: Tables) -> Tables:
    return between(tables, LOG_START_MS, CUT_MS)


def after_cut(tables: Tables, num_weeks: int = 52) -> Tables:
    return between(tables, CUT_MS, CUT_MS + num_weeks * WEEK_MS)


def learned_from(tables: Tables, folder: Path) -> Learned:
    """As `read_learned` gives it under leave-one-out, with vectors drawn at random."""
    write_tables(tables, folder)
    item_id = read_tables(folder).items["item_id"]
    vector = np.random.default_rng(0).normal(size=(len(item_id), 8)).astype(np.float32)
    first, last, _ = span(folder)
    items = Embedded(item_id, vector, np.ones(len(item_id), np.int64))
    return Learned(folder, SignalSettings(), items, last, first)


def checked(
    old: Tables, new: Tables, folder: Path, *, now: str = LATER, against: Embedded | None = None
) -> DriftCheck:
    learned = learned_from(old, folder / "old")
    write_tables(new, folder / "new")
    check, _ = check_drift(learned, folder / "new", None, SETTINGS, now=now, against=against)
    return check


def triggered(check: DriftCheck) -> list[str]:
    return [reading.subject for reading in check.triggered]


@pytest.mark.slow
def test_halves_of_a_log_that_does_not_change_hardly_ever_trigger(tmp_path: Path) -> None:
    false, most = 0, 0.0
    for seed in range(20):
        tables = read_simulated(replace(STILL, seed=seed))
        # A year after the cut-off train has no year before it, and so no taste; after twelve weeks it has.
        num_weeks = 52 if seed % 2 else 12
        check = checked(before_cut(tables), after_cut(tables, num_weeks), tmp_path / str(seed))
        assert set(check.unread) == ({"taste"} if seed % 2 else set())
        assert len(check.readings) == (7 if seed % 2 else 8)
        false += len(check.triggered)
        most = max(most, max(reading.value / reading.limit for reading in check.readings))
    assert false <= 1
    assert most > 0.2  # the limits are not out of reach


def test_a_model_that_is_a_day_old_is_not_alarmed_by_the_hour_or_the_day_of_the_week(tmp_path: Path) -> None:
    tables = read_simulated(replace(STILL, num_events=60_000, num_profiles=3_000))
    for hours in (3, 15, 30):
        newer = between(tables, CUT_MS, CUT_MS + hours * 3_600_000)
        check = checked(before_cut(tables), newer, tmp_path / str(hours))
        assert check.num_live > 10
        assert triggered(check) == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_redrawn_tastes_trigger_taste_alone(seed: int, tmp_path: Path) -> None:
    still = read_simulated(replace(STILL, seed=seed))
    redrawn = read_simulated(replace(STILL, seed=seed, drift_rate=0.3))
    assert triggered(checked(before_cut(still), after_cut(redrawn, 4), tmp_path)) == ["taste"]


def test_tastes_that_are_redrawn_all_the_time_are_a_matter_of_age_and_trigger_nothing(tmp_path: Path) -> None:
    tables = read_simulated(replace(STILL, drift_rate=0.3))
    assert triggered(checked(before_cut(tables), after_cut(tables, 8), tmp_path)) == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_new_market_triggers_country_alone(seed: int, tmp_path: Path) -> None:
    tables = read_simulated(replace(STILL, seed=seed))
    home = dict(zip(*(tables.profiles[name].to_pylist() for name in ("profile_id", "country")), strict=True))
    opened = pa.array([home[one] == "IN" for one in tables.events["profile_id"].to_pylist()])
    abroad = pc.fill_null(pc.equal(tables.events["country"], "IN"), False)
    old = before_cut(replace(tables, events=tables.events.filter(pc.invert(pc.or_(opened, abroad)))))
    check = checked(old, after_cut(tables, 4), tmp_path)
    assert triggered(check) == ["country"]
    assert check.reason is Reason.DRIFT
    assert check.moved["country"].bin == "new to train"
    assert check.moved["country"].train == 0.0
    assert 0.05 < check.moved["country"].live < 0.2


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_catalogue_refresh_triggers_unknown_titles_alone(seed: int, tmp_path: Path) -> None:
    tables = read_simulated(replace(STILL, seed=seed, arrival_share=0.5))
    old = before_cut(tables)
    known = pc.is_in(tables.items["item_id"], value_set=old.events["item_id"].combine_chunks())
    check = checked(replace(old, items=tables.items.filter(known)), after_cut(tables, 16), tmp_path)
    assert triggered(check) == ["unknown items"]
    (items,) = check.triggered
    assert items.monitor is Monitor.UNKNOWN_IDS
    # A title per profile, drawn from those of the last 28 days: near the share of all their events.
    late = between(tables, CUT_MS + 12 * WEEK_MS, CUT_MS + 16 * WEEK_MS).events
    in_old = pc.is_in(late["item_id"], value_set=old.events["item_id"].combine_chunks())
    assert items.value == pytest.approx(1.0 - np.mean(in_old.to_numpy(zero_copy_only=False)), abs=0.04)


def test_titles_of_another_data_set_trigger(tmp_path: Path) -> None:
    tables = read_simulated(replace(STILL, num_events=6_000))
    other = after_cut(tables)
    for name in ("items", "events"):
        table = getattr(other, name)
        place = table.schema.get_field_index("item_id")
        renamed = pc.binary_join_element_wise("other", table["item_id"], "-")
        other = replace(other, **{name: table.set_column(place, table.schema.field(place), renamed)})
    other = replace(other, queries=other.queries.slice(0, 0))
    check = checked(before_cut(tables), other, tmp_path)
    assert triggered(check) == ["unknown items"]
    assert check.triggered[0].value == 1.0


def test_new_profiles_are_reported_and_do_not_count(tmp_path: Path) -> None:
    tables = read_simulated(STILL)
    known = before_cut(tables)
    some = set(known.profiles["profile_id"].to_pylist()[::2])
    half = pa.array([one in some for one in known.events["profile_id"].to_pylist()])
    old = replace(
        known,
        events=known.events.filter(half),
        profiles=known.profiles.filter(
            pc.is_in(known.profiles["profile_id"], value_set=pa.array(sorted(some)))
        ),
        queries=known.queries.slice(0, 0),
    )
    check = checked(old, after_cut(tables, 8), tmp_path)
    assert triggered(check) == []
    profiles, unwatched = check.noted
    assert (profiles.subject, unwatched.value) == ("unknown profiles", 0.0)
    assert 0.4 < profiles.value < 0.6
    assert profiles.triggered  # it would, if it counted


def weekly(num_profiles: int, days: Sequence[int], *, hour: int = 20) -> list[tuple[int, int, int]]:
    """Each profile watches one title a day, all at one hour."""
    return [
        (profile, (profile + day) % 7, 1000 * (day * DAY_SECONDS + hour * 3600 + profile))
        for day in days
        for profile in range(num_profiles)
    ]


def test_one_newer_event_is_silent_and_none_leaves_nothing_to_read(tmp_path: Path) -> None:
    old = log_tables(weekly(30, range(30)), num_items=7, num_profiles=30)
    one = log_tables([(0, 9, 1000 * 40 * DAY_SECONDS)], num_items=10, num_profiles=1)
    check = checked(old, one, tmp_path / "one")
    assert (check.num_events, check.num_live) == (1, 1)
    assert {reading.subject: reading.value for reading in check.readings}["unknown items"] == 1.0
    assert triggered(check) == []

    nothing = checked(old, old, tmp_path / "none")
    assert (nothing.num_events, nothing.readings, nothing.reason) == (0, (), Reason.NEITHER)
    assert "there is no newer event to read" in nothing.says
    empty = replace(old, events=old.events.slice(0, 0))
    assert checked(old, empty, tmp_path / "empty").num_events == 0


def test_events_after_the_moment_asked_are_not_read(tmp_path: Path) -> None:
    old = log_tables(weekly(30, range(30)), num_items=7, num_profiles=30)
    new = log_tables(weekly(30, range(50)), num_items=7, num_profiles=30)
    moment = str(np.datetime64(START_SECONDS + 36 * DAY_SECONDS, "s"))
    check = checked(old, new, tmp_path, now=moment)
    assert check.num_events == 6 * 30
    assert check.now_seconds == START_SECONDS + 36 * DAY_SECONDS
    cut_off = START_SECONDS + 29 * DAY_SECONDS + 20 * 3600 + 29
    assert check.age_days == pytest.approx((check.now_seconds - cut_off) / DAY_SECONDS)
    assert triggered(check) == []


def test_minutes_that_are_not_known_are_a_bin_of_their_own_and_a_silent_column_is_not_read(
    tmp_path: Path,
) -> None:
    days, num = range(28), 40
    events = weekly(num, days)
    later = [(who, what, when + 1000 * 28 * DAY_SECONDS) for who, what, when in events]
    known: list[float | None] = [30.0 + who for who, _, _ in events]
    missing: list[float | None] = [None if who < 20 else 30.0 + who for who, _, _ in events]
    old = log_tables(events, num_items=7, num_profiles=num, minutes=known)
    new = log_tables(later, num_items=7, num_profiles=num, minutes=missing)
    check = checked(old, new, tmp_path / "some")
    assert triggered(check) == ["minutes"]
    assert (check.moved["minutes"].bin, check.moved["minutes"].live) == ("missing", 0.5)
    for name in ("country", "genre", "release_year"):
        assert check.unread[name] == "neither log says it"
    silent = checked(
        log_tables(events, num_items=7, num_profiles=num),
        log_tables(later, num_items=7, num_profiles=num),
        tmp_path / "none",
    )
    assert silent.unread["minutes"] == "neither log says it"


def test_a_newer_export_is_compared_by_the_titles_that_both_learned_from(tmp_path: Path) -> None:
    old = log_tables(weekly(30, range(30)), num_items=40, num_profiles=30)
    learned = learned_from(old, tmp_path / "old")
    rng = np.random.default_rng(1)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    order = rng.permutation(40)
    turned = (learned.items.vector @ turn).astype(np.float32)[order]
    item_id = learned.items.item_id.take(pa.array(order))
    watches = np.ones(40, np.int64)
    watches[:5] = 0
    turned[:5] = -turned[::-1][:5]  # titles that the newer one knows by metadata alone
    same = checked(old, old, tmp_path, against=Embedded(item_id, turned, watches))
    (reading,) = same.readings
    assert (reading.monitor, reading.subject) == (Monitor.EMBEDDING, "item vectors")
    assert reading.value == pytest.approx(0.0, abs=1e-5)
    other = Embedded(item_id, rng.normal(size=(40, 8)).astype(np.float32), watches)
    moved = checked(old, old, tmp_path, against=other)
    assert (moved.reason, triggered(moved)) == (Reason.DRIFT, ["item vectors"])
    few = checked(old, old, tmp_path, against=replace(other, num_events=np.eye(1, 40, dtype=np.int64)[0]))
    assert few.readings == ()
    assert few.unread["item vectors"].startswith("1 titles that both learned from")


def exported(tables: Tables, artifacts: Path, kind: SplitKind) -> Embedded:
    """An export of a model that learned under a split, its vectors of no meaning; beside its tables."""
    write_tables(tables, artifacts / "tables")
    settings = SplitSettings(kind)
    (artifacts / "model").mkdir()
    state = state_of(artifacts / "tables")
    context = {"signals": SIGNALS, "split": asdict(settings), LEARNED_FROM: state}
    (artifacts / "model" / TRAINING_FILE).write_text(json.dumps(context))
    read = read_tables(artifacts / "tables")
    watches = split(dataset_from_tables(read), settings).num_watches
    return embedded(artifacts / "tables", np.zeros((len(watches), 4), np.float32), watches)


@pytest.mark.parametrize("kind", list(SplitKind))
def test_the_cut_off_is_the_newest_event_learned_from(kind: SplitKind, tmp_path: Path) -> None:
    tables = read_simulated(replace(STILL, num_events=2_000, num_items=100))
    learned = read_learned(tmp_path, exported(tables, tmp_path, kind))
    second = np.sort(tables.events["start"].cast(pa.int64()).to_numpy() // 1000)
    assert learned.first_seconds == second[0]
    if kind is SplitKind.LEAVE_ONE_OUT:
        assert learned.cut_off_seconds == second[-1]
    else:
        train = split(dataset_from_tables(tables), SplitSettings(kind)).train
        assert learned.cut_off_seconds == train.time_seconds.max()
        assert 0.7 < np.mean(second <= learned.cut_off_seconds) < 0.9


@pytest.mark.parametrize("kind", list(SplitKind))
def test_tables_without_the_profiles_forgotten_since_are_still_the_models(
    kind: SplitKind, tmp_path: Path
) -> None:
    tables = read_simulated(replace(STILL, num_events=2_000, num_items=100))
    items = exported(tables, tmp_path, kind)
    ids = tables.events["profile_id"].to_pylist()
    add_forgotten(tmp_path / "gone", ids[:1], datetime(2026, 1, 1, tzinfo=UTC))
    before = read_learned(tmp_path, items)
    erased = erase_from_tables(tmp_path / "tables", read_forgotten(tmp_path / "gone"))
    assert erased.num_rows["events"] == ids.count(ids[0])
    after = read_learned(tmp_path, items)
    # Where one moment splits all profiles it is a share of their events, and moves a little as some go.
    assert after.cut_off_seconds == pytest.approx(before.cut_off_seconds, abs=7 * DAY_SECONDS)


def test_tables_that_the_model_did_not_learn_from_are_refused(tmp_path: Path) -> None:
    tables = read_simulated(replace(STILL, num_events=2_000, num_items=100))
    items = exported(tables, tmp_path, SplitKind.LEAVE_ONE_OUT)
    write_tables(read_simulated(replace(STILL, num_events=2_100, num_items=100)), tmp_path / "tables")
    with pytest.raises(ReleaseError, match=r"train events of \d+ titles differ .* run scripts/train.py"):
        read_learned(tmp_path, items)
    write_tables(tiny_tables(), tmp_path / "tables")
    with pytest.raises(ReleaseError, match="5 titles for 100 vectors"):
        embedded(tmp_path / "tables", items.vector, items.num_events)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    assert schedule_of(tmp_path) is None
    with pytest.raises(ConfigError, match="now: 'today'; expected a moment in ISO 8601"):
        seconds_of("today")
    assert seconds_of("2024-05-31T04:00") == seconds_of("2024-05-31T06:00+02:00") == 1_717_128_000
    old = log_tables(weekly(3, range(9)), num_items=7, num_profiles=3)
    learned = learned_from(old, tmp_path / "old")
    with pytest.raises(MissingDataError, match="run without reuse_tables=true"):
        check_drift(learned, tmp_path / "nowhere", None, SETTINGS, now=LATER)
