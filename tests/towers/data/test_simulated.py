"""The simulated service: what it logs is valid; what it plants is in the log, and goes with its switch."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from omegaconf import OmegaConf

from towers.data.schema import Tables, validate
from towers.data.simulator.audience import REGIONS
from towers.data.simulator.calendar import DAY_MS, NUM_WEEKS, day_of
from towers.data.simulator.watches import Cause
from towers.data.simulator.words import COUNTRIES
from towers.data.sources import simulated
from towers.data.sources.simulated import (
    LOG_START_MS,
    WEEK_MS,
    Leak,
    SimulatedSettings,
    World,
    read_simulated,
    simulate,
)
from towers.errors import ConfigError, SchemaError

SMALL = SimulatedSettings(num_profiles=30, num_items=120, num_events=500, seed=1)
MEDIUM = SimulatedSettings(num_profiles=600, num_items=500, num_events=15_000, seed=3, sequel_share=0.08)


@dataclass(frozen=True)
class Log:
    """The events of a world in rows, read from its tables."""

    profile: np.ndarray
    item: np.ndarray
    start_ms: np.ndarray
    minutes: np.ndarray
    country: np.ndarray
    position: np.ndarray

    @property
    def week(self) -> np.ndarray:
        return day_of(self.start_ms, self.country) // 7


def log_of(tables: Tables) -> Log:
    events = tables.events
    codes = pa.array([country.code for country in COUNTRIES])
    return Log(
        profile=pc.index_in(events["profile_id"], tables.profiles["profile_id"]).to_numpy().astype(np.int64),
        item=pc.index_in(events["item_id"], tables.items["item_id"]).to_numpy().astype(np.int64),
        start_ms=events["start"].cast(pa.int64()).to_numpy(),
        minutes=events["minutes_watched"].to_numpy(),
        country=pc.index_in(events["country"], codes).to_numpy().astype(np.int64),
        position=pc.fill_null(events["position"], 0).to_numpy(),
    )


def digest(tables: Tables) -> str:
    """SHA-256 of all four tables as Arrow streams."""
    sha = hashlib.sha256()
    for name in ("items", "events", "profiles", "queries"):
        sink = pa.BufferOutputStream()
        found = getattr(tables, name).combine_chunks()
        with pa.ipc.new_stream(sink, found.schema) as writer:
            writer.write_table(found)
        sha.update(sink.getvalue())
    return sha.hexdigest()


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(MEDIUM)


@pytest.fixture(scope="module")
def log(world: World) -> Log:
    return log_of(world.tables)


def test_the_service_is_as_large_as_asked_and_valid(world: World, log: Log) -> None:
    validate(world.tables)
    assert world.tables.items.num_rows == 500
    assert world.tables.profiles.num_rows == 600
    assert world.tables.events.num_rows == 15_000
    assert set(log.profile.tolist()) == set(range(600))


@pytest.mark.parametrize("num_events", [1_000, 60_000, 200_000])
def test_one_knob_sizes_the_service(num_events: int) -> None:
    world = simulate(SimulatedSettings(num_events=num_events))
    validate(world.tables)
    assert world.tables.events.num_rows == num_events
    assert world.tables.profiles.num_rows == num_events // 30
    per_title = {1_000: 263, 60_000: 1800, 200_000: 3170}  # 1800 (E / 60000)^0.47
    assert world.tables.items.num_rows == per_title[num_events]
    assert len(set(world.tables.items["title"].to_pylist())) == per_title[num_events]


def test_what_the_service_does_not_know_is_null(world: World) -> None:
    for name in ("gender", "occupation", "postal_code", "income", "attributes"):
        assert world.tables.profiles[name].null_count == 600
    for name in ("stars", "completion", "plays"):
        assert world.tables.events[name].null_count == 15_000
    for name in ("series_id", "attributes"):
        assert world.tables.items[name].null_count == 500


def test_every_other_column_is_filled_and_readable(world: World) -> None:
    items, profiles = world.tables.items, world.tables.profiles
    assert all(
        items[name].null_count == 0
        for name in items.column_names[:-3]
        if name not in ("embedding", "released")
    )
    assert all(len(row) >= 1 for name in ("genres", "sub_genres", "cast") for row in items[name].to_pylist())
    assert len(set(items["title"].to_pylist())) == 500
    for name in ("country", "region", "language", "age_band", "kids", "household_id"):
        assert profiles[name].null_count == 0


def test_the_same_seed_gives_the_same_bytes_in_another_process_and_another_seed_others() -> None:
    code = (
        "from tests.towers.data.test_simulated import SMALL, digest\n"
        "from towers.data.sources.simulated import read_simulated\n"
        "print(digest(read_simulated(SMALL)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert other.stdout.strip() == digest(read_simulated(SMALL))
    assert digest(read_simulated(replace(SMALL, seed=2))) != other.stdout.strip()


def test_the_log_does_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "_PROFILES_PER_PART", 7)
    monkeypatch.setattr(simulated, "_EVENTS_PER_PART", 64)
    one, four = (simulate(SMALL, num_threads=number) for number in (1, 4))
    assert digest(one.tables) == digest(four.tables)
    assert one.watches.tobytes() == four.watches.tobytes()


def test_the_truth_is_in_the_order_of_the_tables(world: World, log: Log) -> None:
    assert (world.watches["profile_row"] == log.profile).all()
    assert (world.watches["item_row"] == log.item).all()
    assert (world.watches["start_ms"] == log.start_ms).all()
    assert (world.watches["position"] == log.position).all()
    assert [REGIONS[row] for row in world.watches["region"]] == world.tables.events["region"].to_pylist()


# Taste


def test_profiles_watch_what_they_like(world: World, log: Log) -> None:
    assert _lift(world, log)[~world.accidental].mean() > 1.2
    assert abs(_lift(world, log)[world.accidental].mean()) < 0.4


def test_without_taste_they_watch_anything() -> None:
    plain = replace(MEDIUM, taste_share=0.0, sequence_share=0.0, kids_share=0.0)
    world = simulate(plain)
    # Countries follow sub-genres a little, and what a profile likes comes from that.
    assert abs(_lift(world, log_of(world.tables)).mean()) < 0.35


def _lift(world: World, log: Log) -> np.ndarray:
    """Affinity of each watch beside that of the profile to all titles, in standard deviations."""
    affinity = world.affinity(np.arange(len(world.audience)))
    watched = affinity[log.profile, log.item]
    lift: np.ndarray = (watched - affinity.mean(axis=1)[log.profile]) / affinity.std(axis=1)[log.profile]
    return lift


def test_minutes_grow_with_affinity_and_accidents_are_short(world: World, log: Log) -> None:
    duration = world.tables.items["duration_minutes"].to_numpy()[log.item]
    meant = ~world.accidental
    assert (log.minutes > 0).all()
    assert (log.minutes <= duration).all()
    assert log.minutes[world.accidental].max() <= 6.0
    assert 0.04 < world.accidental.mean() < 0.06
    affinity = world.affinity(np.arange(600))[log.profile, log.item]
    assert np.corrcoef(affinity[meant], (log.minutes / duration)[meant])[0, 1] > 0.5


def test_without_accidents_there_are_none() -> None:
    assert not simulate(replace(SMALL, accident_share=0.0)).accidental.any()


def test_true_affinity_ranks_the_last_watch_far_better_than_popularity(world: World, log: Log) -> None:
    by = np.lexsort((log.start_ms, log.profile))
    profile, item = log.profile[by], log.item[by]
    last = np.flatnonzero(np.append(profile[1:] != profile[:-1], True))
    history = np.setdiff1d(np.arange(len(item)), last)
    seen = np.zeros((600, 500), bool)
    seen[profile[history], item[history]] = True
    last = last[~seen[profile[last], item[last]]]

    def mean_ndcg(score: np.ndarray) -> float:
        score = np.where(seen, -np.inf, score)[profile[last]]
        rank = (score > score[np.arange(len(last)), item[last]][:, None]).sum(axis=1)
        return float(np.where(rank < 10, 1 / np.log2(rank + 2), 0.0).mean())

    popularity = np.bincount(item[history], minlength=500).astype(np.float64)
    affinity = world.affinity(np.arange(600)).astype(np.float64)
    by_popularity = mean_ndcg(np.broadcast_to(popularity, seen.shape))
    assert mean_ndcg(affinity) > 2 * by_popularity
    assert mean_ndcg(affinity + world.catalogue.appeal) > mean_ndcg(affinity)


# Order, novelty, popularity


def test_sequels_are_watched_after_what_they_follow(world: World, log: Log) -> None:
    after, both = _sequel_order(world, log)
    assert both >= 150
    assert after / both > 0.65


def test_without_order_sequels_come_before_as_often_as_after() -> None:
    world = simulate(replace(MEDIUM, sequence_share=0.0, arrival_share=0.0, cold_share=0.0, window_share=0.0))
    after, both = _sequel_order(world, log_of(world.tables))
    assert both >= 100
    assert 0.35 < after / both < 0.65


def _sequel_order(world: World, log: Log) -> tuple[int, int]:
    """Of the (profile, sequel) watched with the title it follows: how many first after it, and all."""
    time = np.full((600, 500), np.iinfo(np.int64).max)
    np.minimum.at(time, (log.profile, log.item), log.start_ms)
    sequel = np.flatnonzero(world.catalogue.prequel_row >= 0)
    later, earlier = time[:, sequel], time[:, world.catalogue.prequel_row[sequel]]
    both = (later < time.max()) & (earlier < time.max())
    return int(np.count_nonzero(later[both] > earlier[both])), int(np.count_nonzero(both))


def test_the_sub_genre_watched_last_tells_the_next_beyond_taste(world: World, log: Log) -> None:
    # Taste alone makes any two watches of a profile alike; order makes neighbours more so.
    assert _same_sub_genre(world, log, 1) > 1.5 * _same_sub_genre(world, log, 5)


def test_without_order_neighbours_are_hardly_more_alike_than_others() -> None:
    world = simulate(replace(MEDIUM, sequence_share=0.0))
    log = log_of(world.tables)
    assert _same_sub_genre(world, log, 1) < 1.15 * _same_sub_genre(world, log, 5)


def _same_sub_genre(world: World, log: Log, lag: int) -> float:
    """Share of watches that are of the sub-genre of the watch `lag` places before in the same history."""
    by = np.lexsort((log.start_ms, log.profile))
    profile, sub_genre = log.profile[by], world.catalogue.sub_genre[log.item[by]]
    same = sub_genre[lag:] == sub_genre[:-lag]
    return float(np.mean(same[profile[lag:] == profile[:-lag]]))


PLAIN = replace(
    *(MEDIUM,),
    taste_share=0.0,
    sequence_share=0.0,
    rewatch_share=0.0,
    arrival_share=0.0,
    cold_share=0.0,
    window_share=0.0,
    kids_share=0.0,
    popularity_drift=0.0,
)


def test_the_popular_are_watched_more_in_proportion_to_their_weight() -> None:
    # Many profiles that watch little: what was watched already does not even out what is left.
    world = simulate(replace(PLAIN, num_profiles=6000, row_share=0.0, accident_share=0.0))
    count = np.bincount(log_of(world.tables).item, minlength=500)
    weight = np.exp(world.catalogue.appeal.astype(np.float64))
    share, expected = [], []
    for sub_genre in range(40):
        # Titles that have a second sub-genre stand on two shelves.
        of = (world.catalogue.sub_genre == sub_genre) & (world.catalogue.second_sub_genre < 0)
        share += (count[of] / max(1, count[of].sum())).tolist()
        expected += (weight[of] / weight[of].sum()).tolist()
    assert np.corrcoef(share, expected)[0, 1] > 0.95
    assert np.polyfit(expected, share, 1)[0] == pytest.approx(1.0, abs=0.1)


def test_without_popularity_titles_of_a_sub_genre_are_watched_alike() -> None:
    settings = replace(PLAIN, num_profiles=6000, popularity_weight=0.0, row_share=0.0, accident_share=0.0)
    world = simulate(settings)
    count = np.bincount(log_of(world.tables).item, minlength=500)
    for sub_genre in range(40):
        of = count[(world.catalogue.sub_genre == sub_genre) & (world.catalogue.second_sub_genre < 0)]
        # Within seven standard deviations of a Poisson count.
        assert (np.abs(of - of.mean()) < 7 * np.sqrt(of.mean())).all()


def test_titles_rise_and_fall_where_popularity_drifts_and_else_do_not() -> None:
    def half_correlation(drift: float) -> float:
        world = simulate(replace(PLAIN, popularity_drift=drift))
        log = log_of(world.tables)
        early, late = (np.bincount(log.item[part], minlength=500) for part in (log.week < 30, log.week > 74))
        return float(np.corrcoef(np.log1p(early), np.log1p(late))[0, 1])

    assert half_correlation(1.5) < 0.5 < 0.7 < half_correlation(0.0)


def test_no_title_is_watched_before_it_arrives(world: World, log: Log) -> None:
    assert (log.start_ms >= world.arrival_ms()[log.item]).all()
    late = (world.catalogue.arrival_week > 0) & (world.catalogue.arrival_week < NUM_WEEKS - 10)
    assert np.count_nonzero(np.bincount(log.item, minlength=500)[late]) > 0.9 * np.count_nonzero(late)


def test_what_arrives_during_the_log_or_after_it_has_its_day_and_what_was_there_has_none(
    world: World,
) -> None:
    first = datetime(2023, 1, 2, tzinfo=UTC)
    expected = [
        None if week == 0 else first + timedelta(weeks=int(week)) for week in world.catalogue.arrival_week
    ]
    assert world.tables.items["released"].to_pylist() == expected


def test_titles_that_arrive_are_watched_most_while_they_are_new(world: World, log: Log) -> None:
    age = log.week - world.catalogue.arrival_week[log.item]
    arrived = (world.catalogue.arrival_week > 0) & (world.catalogue.arrival_week < 80)
    age = age[arrived[log.item]]
    # Twenty weeks can be seen of each of these titles.
    assert np.count_nonzero(age < 5) > 1.3 * np.count_nonzero((age >= 10) & (age < 15))


def test_cold_titles_are_in_the_catalogue_with_metadata_and_in_no_event(world: World, log: Log) -> None:
    cold = world.catalogue.arrival_week == NUM_WEEKS
    assert np.count_nonzero(cold) >= 10
    assert not cold[log.item].any()


# Licences


def test_events_happen_only_where_and_while_their_title_is_licensed(world: World) -> None:
    licences = dict(
        zip(
            world.tables.items["item_id"].to_pylist(), world.tables.items["licences"].to_pylist(), strict=True
        )
    )
    for event in world.tables.events.select(["item_id", "country", "start"]).to_pylist():
        assert any(
            window["country"] in (None, event["country"])
            and (window["start"] is None or window["start"] <= event["start"])
            and (window["end"] is None or event["start"] < window["end"])
            for window in licences[event["item_id"]]
        )


def test_titles_leave_return_and_are_kept_to_some_countries(world: World) -> None:
    kinds = {"everywhere": 0, "ends": 0, "returns": 0, "regional": 0}
    for windows in world.tables.items["licences"].to_pylist():
        countries = {window["country"] for window in windows}
        kinds["everywhere"] += windows == [{"country": None, "start": None, "end": None}]
        kinds["ends"] += any(window["end"] for window in windows)
        kinds["returns"] += len(windows) > len(countries)
        kinds["regional"] += countries != {None} and len(countries) < len(COUNTRIES)
    assert kinds["everywhere"] > 200
    assert min(kinds.values()) > 15


def test_without_windows_titles_are_licensed_everywhere_from_their_arrival_for_good() -> None:
    world = simulate(replace(MEDIUM, window_share=0.0))
    for week, windows in zip(
        world.catalogue.arrival_week, world.tables.items["licences"].to_pylist(), strict=True
    ):
        assert len(windows) == (1 if week == 0 else len(COUNTRIES))
        assert all(window["end"] is None for window in windows)
        assert all((window["start"] is None) == (week == 0) for window in windows)


def test_the_truth_says_what_is_on_offer_as_the_licences_do(world: World) -> None:
    at_ms = LOG_START_MS + 50 * WEEK_MS + 3 * DAY_MS
    moment = pa.scalar(at_ms, pa.timestamp("ms", tz="UTC")).as_py()
    country = 8
    for offered, windows in zip(
        world.on_offer(at_ms, country), world.tables.items["licences"].to_pylist(), strict=True
    ):
        assert offered == any(
            window["country"] in (None, COUNTRIES[country].code)
            and (window["start"] is None or window["start"] <= moment)
            and (window["end"] is None or moment < window["end"])
            for window in windows
        )


# Households, children, time and place


def test_households_share_a_country_and_have_an_adult(world: World) -> None:
    by_household: dict[str, list[dict[str, object]]] = {}
    for profile in world.tables.profiles.to_pylist():
        by_household.setdefault(profile["household_id"], []).append(profile)
    assert 200 < len(by_household) < 400
    for members in by_household.values():
        assert len({(member["country"], member["region"], member["language"]) for member in members}) == 1
        assert not all(member["kids"] for member in members)
    kids = world.tables.profiles["kids"].to_numpy()
    assert 0.06 < kids.mean() < 0.14


def test_children_are_kept_below_their_certificate_and_adults_are_not(world: World, log: Log) -> None:
    highest = {"3-6": 0, "7-12": 6}
    bands = world.tables.profiles["age_band"].to_pylist()
    certificate = [int(text.removesuffix("+")) for text in world.tables.items["maturity"].to_pylist()]
    kids = world.tables.profiles["kids"].to_numpy()
    watched = dict.fromkeys(highest, 0)
    for profile, item in zip(log.profile, log.item, strict=True):
        assert kids[profile] == (bands[profile] in highest)
        if kids[profile]:
            assert certificate[item] <= highest[bands[profile]]
            watched[bands[profile]] += 1
    assert min(watched.values()) > 100
    assert np.mean([certificate[item] >= 12 for item in log.item[~kids[log.profile]]]) > 0.5


def test_children_watch_earlier_and_again_and_adults_in_the_evening(world: World, log: Log) -> None:
    child = world.tables.profiles["kids"].to_numpy()[log.profile]
    ahead = np.array([country.utc_hours for country in COUNTRIES])
    home = world.audience.country[log.profile]
    hour = (log.start_ms / 3_600_000 + ahead[home]) % 24
    assert np.mean((hour[~child] >= 17) | (hour[~child] < 2)) > 0.6
    assert np.mean((hour[child] >= 18) | (hour[child] < 2)) < 0.35
    assert np.mean((hour >= 4) & (hour < 6)) < 0.005
    again = world.watches["cause"] == Cause.REWATCH
    assert again[child].mean() > 3 * again[~child].mean() > 0.06


def test_without_children_there_are_none() -> None:
    assert not np.any(read_simulated(replace(SMALL, kids_share=0.0)).profiles["kids"].to_numpy())


def test_rewatches_repeat_a_title_and_hardly_anything_else_does(world: World, log: Log) -> None:
    assert _repeats(log)[world.watches["cause"] == Cause.REWATCH].all()
    assert _repeats(log)[world.watches["cause"] != Cause.REWATCH].mean() < 0.06


def test_without_rewatches_titles_are_watched_once_while_there_are_enough() -> None:
    tables = read_simulated(replace(MEDIUM, rewatch_share=0.0, num_items=2000))
    assert _repeats(log_of(tables)).mean() < 0.005


def _repeats(log: Log) -> np.ndarray:
    """bool (E,): watches of a title that the profile watched before."""
    first = np.unique(log.profile * 10_000 + log.item, return_index=True)[1]
    repeats = np.ones(len(log.item), bool)
    repeats[first] = False  # the table is in order of time
    return repeats


def test_events_are_in_order_and_nobody_watches_two_titles_at_once(log: Log) -> None:
    assert (np.diff(log.start_ms) >= 0).all()
    by = np.lexsort((log.start_ms, log.profile))
    same = log.profile[by][1:] == log.profile[by][:-1]
    ends = log.start_ms[by][:-1] + np.rint(log.minutes[by][:-1].astype(np.float64) * 60_000)
    overlap = log.start_ms[by][1:][same] <= ends[same]
    # A last film that begins after midnight may run into a morning that begins at six.
    assert overlap.mean() < 0.001


def test_sessions_are_of_several_watches_with_minutes_between(log: Log) -> None:
    by = np.lexsort((log.start_ms, log.profile))
    same = log.profile[by][1:] == log.profile[by][:-1]
    ends = log.start_ms[by][:-1] + log.minutes[by][:-1].astype(np.float64) * 60_000
    pause = ((log.start_ms[by][1:] - ends) / 60_000)[same]
    within = pause < 11
    assert 0.25 < within.mean() < 0.45
    assert pause[within & (pause > 0)].min() > 3.9
    assert np.quantile(pause[~within], 0.05) > 600  # else hours, mostly days


def test_profiles_watch_mostly_at_home(world: World, log: Log) -> None:
    profiles = world.tables.profiles
    home = np.array(profiles["country"].to_pylist())
    codes = np.array([country.code for country in COUNTRIES])
    assert 0.96 < np.mean(home[log.profile] == codes[log.country]) < 0.995
    assert len(set(home.tolist())) == 12
    for table in (profiles, world.tables.events):
        for country, region in zip(table["country"].to_pylist(), table["region"].to_pylist(), strict=True):
            assert region.startswith(f"{country}-")


# Position


def test_a_watch_from_the_home_page_has_a_place_and_its_chance_falls_with_it() -> None:
    share = _share_by_place(1.0)
    harmonic = 1 / np.arange(1, 21)
    np.testing.assert_allclose(share, harmonic / harmonic.sum(), atol=0.02)


def test_without_position_bias_all_places_are_watched_alike() -> None:
    np.testing.assert_allclose(_share_by_place(0.0), np.full(20, 0.05), atol=0.02)


def _share_by_place(position_bias: float) -> np.ndarray:
    # Profiles that watch little: what they have watched is passed over, first of all the first places.
    world = simulate(replace(MEDIUM, num_profiles=6000, position_bias=position_bias))
    position = world.tables.events["position"].drop_null().to_numpy()
    assert 0.12 < len(position) / 15_000 < 0.25
    from_row = (world.watches["cause"] == Cause.ROW) | (world.watches["cause"] == Cause.ACCIDENT)
    assert (world.tables.events["position"].is_valid().to_numpy() == from_row).all()
    return np.bincount(position, minlength=21)[1:] / len(position)


def test_what_came_from_a_search_has_no_place(world: World) -> None:
    assert (world.watches["position"][world.searches.event] == 0).all()


# Planted faults


def test_tastes_survive_as_the_drift_rate_says() -> None:
    world = simulate(replace(MEDIUM, num_profiles=3000, num_events=9000, drift_rate=0.02))
    rows = np.arange(3000)
    before = world.liked_sub_genres(rows, LOG_START_MS + 4 * WEEK_MS)
    weeks = np.array([0, 5, 10, 20, 40, 80])
    kept = [
        np.mean(world.liked_sub_genres(rows, LOG_START_MS + (4 + int(w)) * WEEK_MS) == before) for w in weeks
    ]
    # A few of the redrawn come back to what they were: sub-genres are forty, some followed more.
    np.testing.assert_allclose(kept, np.exp(-0.02 * weeks), atol=0.035)


@pytest.mark.parametrize("rate", [0.0, 0.02])
def test_the_log_shows_the_drift_rate(rate: float) -> None:
    # That two watches of a profile are of one sub-genre, beyond chance, falls as exp(-rate · weeks between).
    settings = replace(PLAIN, taste_share=1.0, person_share=0.0, row_share=0.0, accident_share=0.0)
    world = simulate(replace(settings, num_profiles=3000, num_items=2000, num_events=60_000, drift_rate=rate))
    log = log_of(world.tables)
    rng = np.random.default_rng(0)
    by = np.argsort(log.profile, kind="stable")
    profile, week, sub_genre = log.profile[by], log.week[by], world.catalogue.sub_genre[log.item[by]]
    start, count = np.searchsorted(profile, np.arange(3000)), np.bincount(profile, minlength=3000)
    one = rng.integers(0, len(profile), 2_000_000)
    other = start[profile[one]] + (rng.random(len(one)) * count[profile[one]]).astype(np.int64)
    one, other = one[one != other], other[one != other]
    gap = np.abs(week[one] - week[other])
    country = world.audience.country[profile]
    shuffled = np.empty(len(country), np.int64)
    for row in range(len(COUNTRIES)):
        there = np.flatnonzero(country == row)
        shuffled[there] = rng.permutation(there)
    by_chance = np.mean(sub_genre == sub_genre[shuffled])
    bins = np.arange(0, 60, 10)
    lift = [
        np.mean((sub_genre[one] == sub_genre[other])[(gap >= low) & (gap < low + 10)]) - by_chance
        for low in bins
    ]
    slope = np.polyfit(bins + 4.5, np.log(np.maximum(lift, 1e-4)), 1)[0]
    assert -slope == pytest.approx(rate, abs=0.004)


def test_the_shock_multiplies_one_title_in_one_week() -> None:
    world = simulate(replace(MEDIUM, num_profiles=3000, num_events=60_000, popularity_shock=50.0))
    shock = world.shock
    assert shock is not None
    assert shock.factor == 51.0
    assert _shock_ratio(world, shock.item_row, shock.week) > 10
    usual = simulate(replace(MEDIUM, num_profiles=3000, num_events=60_000))
    assert usual.shock is None
    assert _shock_ratio(usual, shock.item_row, shock.week) < 4


def _shock_ratio(world: World, item: int, week: int) -> float:
    log = log_of(world.tables)
    count = np.bincount(log.week[log.item == item], minlength=NUM_WEEKS)
    return float(count[week] / max(np.delete(count, week).mean(), 0.1))


def test_the_underserved_have_fewer_events_and_fewer_titles() -> None:
    settings = replace(MEDIUM, num_profiles=3000, num_events=60_000)
    world = simulate(replace(settings, underserved=0.6))
    korean = np.array(world.tables.profiles["country"].to_pylist()) == "KR"
    assert (world.underserved == korean).all()
    assert not simulate(SMALL).underserved.any()
    at_ms = LOG_START_MS + 60 * WEEK_MS
    events = {}
    titles = {}
    for name, found in (("planted", world), ("usual", simulate(settings))):
        segment = np.array(found.tables.profiles["country"].to_pylist()) == "KR"
        count = np.bincount(log_of(found.tables).profile, minlength=3000)
        events[name] = count[segment].mean() / count[~segment].mean()
        titles[name] = found.on_offer(at_ms, 9).mean() / found.on_offer(at_ms, 0).mean()
    assert COUNTRIES[9].code == "KR"
    assert 0.8 < events["usual"] < 1.25
    assert 0.3 < events["planted"] < 0.55
    assert titles["usual"] > 0.9
    assert 0.3 < titles["planted"] < 0.5


def test_the_leak_of_plays_counts_the_whole_log(log: Log) -> None:
    world = simulate(replace(MEDIUM, leak=Leak.LIFETIME_PLAYS))
    assert world.leak == "items.attributes.lifetime_plays"
    plays = np.bincount(log.item, minlength=500)
    for count, attributes in zip(plays, world.tables.items["attributes"].to_pylist(), strict=True):
        assert attributes == [{"name": "lifetime_plays", "value": str(count)}]
    assert digest(replace(world.tables, items=read_simulated(MEDIUM).items)) == digest(read_simulated(MEDIUM))


def test_the_leak_of_the_last_title_names_it(log: Log, world: World) -> None:
    leaky = simulate(replace(MEDIUM, leak=Leak.LAST_TITLE))
    assert (world.leak, leaky.leak) == (None, "profiles.attributes.last_title")
    validate(leaky.tables)
    last = {}
    for event in leaky.tables.events.select(["profile_id", "item_id"]).to_pylist():
        last[event["profile_id"]] = event["item_id"]
    for profile in leaky.tables.profiles.to_pylist():
        assert profile["attributes"] == [{"name": "last_title", "value": last[profile["profile_id"]]}]


# Limits


@pytest.mark.parametrize(
    "settings",
    [
        SimulatedSettings(num_profiles=1, num_items=40, num_events=1),
        SimulatedSettings(num_profiles=50, num_items=40, num_events=20),
        SimulatedSettings(num_profiles=5, num_items=60, num_events=150, arrival_share=0.0, cold_share=0.0),
        SimulatedSettings(num_profiles=10, num_items=40, num_events=2000),
        replace(SMALL, query_share=0.0, accident_share=0.0, sequel_share=0.0, row_share=0.0),
        replace(SMALL, query_share=1.0, accident_share=0.99, sequel_share=0.3, rewatch_share=0.5),
        replace(SMALL, taste_share=0.0, popularity_weight=0.0, sequence_share=0.0, kids_share=0.5),
        replace(SMALL, underserved=0.9, popularity_shock=1000.0, drift_rate=1.0, leak=Leak.LAST_TITLE),
        replace(SMALL, arrival_share=0.5, cold_share=0.3, window_share=0.9, row_share=1.0),
    ],
)
def test_small_and_extreme_services_are_valid_and_of_the_size_asked(settings: SimulatedSettings) -> None:
    tables = read_simulated(settings)
    validate(tables)
    sizes = (tables.profiles.num_rows, tables.items.num_rows, tables.events.num_rows)
    assert sizes == (settings.num_profiles, settings.num_items, settings.num_events)
    if settings.query_share == 0.0:
        assert tables.queries.num_rows == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SimulatedSettings(num_profiles=0), "simulated.num_profiles: 0 is out of range"),
        (SimulatedSettings(num_items=39), "simulated.num_items: 39 is out of range"),
        (SimulatedSettings(num_events=0), "simulated.num_events: 0 is out of range"),
        (SimulatedSettings(seed=-1), "simulated.seed: -1 is out of range"),
        (SimulatedSettings(accident_share=1.0), "simulated.accident_share: 1.0 is out of range"),
        (SimulatedSettings(taste_share=float("nan")), "simulated.taste_share: nan is out of range"),
        (SimulatedSettings(underserved=1.0), "simulated.underserved: 1.0 is out of range"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: SimulatedSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(settings)


def test_more_events_than_the_profiles_have_days_are_refused() -> None:
    with pytest.raises(SchemaError, match="num_events = 7281 is more than 10 profiles can watch"):
        simulate(SimulatedSettings(num_profiles=10, num_items=50, num_events=7281))


def test_the_settings_are_a_structured_config() -> None:
    config = OmegaConf.merge(OmegaConf.structured(SimulatedSettings), {"num_items": 100})
    assert OmegaConf.to_object(config) == SimulatedSettings(num_items=100)
