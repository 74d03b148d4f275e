"""The simulated service: what it logs is valid, and the truth that it plants is in the log."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from omegaconf import OmegaConf

from towers.data.schema import Tables, validate
from towers.data.simulator import watches
from towers.data.simulator.catalogue import NUM_WEEKS
from towers.data.simulator.titles import GENRE_OF
from towers.data.sources.simulated import (
    LOG_START_MS,
    SimulatedSettings,
    World,
    read_simulated,
    simulate,
)
from towers.errors import ConfigError, SchemaError

SMALL = SimulatedSettings(num_profiles=30, num_items=120, num_events=500, seed=1)
MEDIUM = SimulatedSettings(num_profiles=600, num_items=500, num_events=15_000, seed=3)


@dataclass(frozen=True)
class Log:
    """The events of a world in rows, in the order of its table."""

    profile: np.ndarray
    item: np.ndarray
    start_ms: np.ndarray
    minutes: np.ndarray
    country: np.ndarray


def log_of(tables: Tables) -> Log:
    events = tables.events
    item_row = {id_: row for row, id_ in enumerate(tables.items["item_id"].to_pylist())}
    profile_row = {id_: row for row, id_ in enumerate(tables.profiles["profile_id"].to_pylist())}
    return Log(
        profile=np.array([profile_row[id_] for id_ in events["profile_id"].to_pylist()]),
        item=np.array([item_row[id_] for id_ in events["item_id"].to_pylist()]),
        start_ms=events["start"].cast(pa.int64()).to_numpy(),
        minutes=events["minutes_watched"].to_numpy(),
        country=np.array(events["country"].to_pylist()),
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


def test_no_profile_watches_a_title_twice(log: Log) -> None:
    assert len(np.unique(log.profile * 500 + log.item)) == len(log.item)


def test_what_the_service_does_not_know_is_null(world: World) -> None:
    for name in ("gender", "occupation", "postal_code"):
        assert world.tables.profiles[name].null_count == 600
    assert world.tables.events["stars"].null_count == 15_000


def test_every_other_column_of_items_is_filled_and_readable(world: World) -> None:
    items = world.tables.items
    assert all(items[name].null_count == 0 for name in items.column_names)
    assert all(len(row) >= 1 for name in ("genres", "sub_genres", "cast") for row in items[name].to_pylist())
    assert len(set(items["title"].to_pylist())) == 500


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


def test_the_choices_do_not_depend_on_how_profiles_are_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = digest(read_simulated(SMALL))
    monkeypatch.setattr(watches, "_MAX_SCORES", 7 * 120)
    assert digest(read_simulated(SMALL)) == whole


def test_affinity_is_taste_and_favourite_people_pair_by_pair(world: World) -> None:
    rows = np.array([5, 0, 599, 5])
    found = world.affinity(rows)
    assert found.shape == (4, 500)
    credited = np.column_stack([world.catalogue.cast, world.catalogue.director])
    for line, row in enumerate(rows):
        taste = world.audience.taste[row].astype(np.float64)
        favourite = world.audience.favourite[row]
        for item in range(500):
            people = np.isin(favourite, credited[item]).sum()
            expected = taste @ world.catalogue.factor[item].astype(np.float64) + 2.0 * people
            assert float(found[line, item]) == expected


def test_profiles_watch_what_they_like(world: World, log: Log) -> None:
    affinity = world.affinity(np.arange(600))
    watched = affinity[log.profile, log.item]
    meant = ~world.accidental
    # In standard deviations over the catalogue. Accidents fall on what is not yet watched, so on titles that
    # are liked a little less than all are (by 0.06 to 0.21 over twenty seeds; the meant are at 2.0).
    lift = (watched - affinity.mean(axis=1)[log.profile]) / affinity.std(axis=1)[log.profile]
    assert lift[meant].mean() > 1.5
    assert abs(lift[world.accidental].mean()) < 0.5


def test_without_taste_they_watch_anything() -> None:
    # Neither taste nor order (which follows taste) moves a choice: affinity tells nothing.
    world = simulate(replace(MEDIUM, taste_weight=0.0))
    log = log_of(world.tables)
    affinity = world.affinity(np.arange(600))
    lift = affinity[log.profile, log.item] - affinity.mean(axis=1)[log.profile]
    assert abs(lift.mean()) < 0.1


def test_the_popular_are_watched_more_by_chance_of_appeal_alone() -> None:
    world = simulate(replace(MEDIUM, taste_weight=0.0, sequence_weight=0.0, arrival_share=0.0))
    count = np.bincount(log_of(world.tables).item, minlength=500)
    warm = world.catalogue.arrival_week == 0
    share = np.exp(world.catalogue.appeal[warm].astype(np.float64))
    assert np.corrcoef(count[warm], share)[0, 1] > 0.9


def test_sequels_are_watched_after_what_they_follow(world: World, log: Log) -> None:
    after, both = _sequel_order(world, log)
    assert both >= 200
    assert after / both > 0.75


def test_without_order_sequels_come_before_as_often_as_after() -> None:
    world = simulate(replace(MEDIUM, sequence_weight=0.0, arrival_share=0.0, cold_share=0.0))
    after, both = _sequel_order(world, log_of(world.tables))
    assert both >= 200
    assert 0.3 < after / both < 0.7


def _sequel_order(world: World, log: Log) -> tuple[int, int]:
    """Of the (profile, sequel) watched with the title it follows: how many after it, and all."""
    time = np.full((600, 500), -1)
    time[log.profile, log.item] = log.start_ms
    sequel = np.flatnonzero(world.catalogue.prequel_row >= 0)
    later, earlier = time[:, sequel], time[:, world.catalogue.prequel_row[sequel]]
    both = (later >= 0) & (earlier >= 0)
    return int(np.count_nonzero(later[both] > earlier[both])), int(np.count_nonzero(both))


def test_the_sub_genre_watched_last_tells_the_next_beyond_taste(world: World, log: Log) -> None:
    # Taste alone makes any two watches of a profile alike; order makes neighbours more so.
    assert _same_sub_genre(world, log, 1) > 2.5 * _same_sub_genre(world, log, 5)


def test_without_order_neighbours_are_hardly_more_alike_than_others() -> None:
    world = simulate(replace(MEDIUM, sequence_weight=0.0))
    log = log_of(world.tables)
    assert _same_sub_genre(world, log, 1) < 1.4 * _same_sub_genre(world, log, 5)


def _same_sub_genre(world: World, log: Log, lag: int) -> float:
    """Share of watches that are of the sub-genre of the watch `lag` places before in the same history."""
    by = np.lexsort((log.start_ms, log.profile))
    profile, sub_genre = log.profile[by], world.catalogue.sub_genre[log.item[by]]
    same = sub_genre[lag:] == sub_genre[:-lag]
    return float(np.mean(same[profile[lag:] == profile[:-lag]]))


def test_minutes_grow_with_affinity_and_accidents_are_short(world: World, log: Log) -> None:
    duration = world.tables.items["duration_minutes"].to_numpy()[log.item]
    meant = ~world.accidental
    assert (log.minutes > 0).all()
    assert (log.minutes <= duration).all()
    assert log.minutes[world.accidental].max() <= 6.0
    assert 0.03 < world.accidental.mean() < 0.06
    affinity = world.affinity(np.arange(600))[log.profile, log.item]
    assert np.corrcoef(affinity[meant], (log.minutes / duration)[meant])[0, 1] > 0.3


def test_no_title_is_watched_before_it_arrives(world: World, log: Log) -> None:
    arrival = world.arrival_ms()
    assert (log.start_ms >= arrival[log.item]).all()
    assert (log.start_ms >= LOG_START_MS).all()
    late = (world.catalogue.arrival_week > 0) & (world.catalogue.arrival_week < NUM_WEEKS - 10)
    assert np.count_nonzero(np.bincount(log.item, minlength=500)[late]) > 0.9 * np.count_nonzero(late)


def test_titles_that_arrive_are_watched_most_while_they_are_new(world: World, log: Log) -> None:
    age = (log.start_ms - LOG_START_MS) // (7 * 86_400_000) - world.catalogue.arrival_week[log.item]
    arrived = (world.catalogue.arrival_week > 0) & (world.catalogue.arrival_week < 80)
    age = age[arrived[log.item]]
    # Twenty weeks can be seen of each of these titles.
    assert np.count_nonzero(age < 5) > 1.5 * np.count_nonzero((age >= 10) & (age < 15))


def test_cold_titles_are_in_the_catalogue_with_metadata_and_in_no_event(world: World, log: Log) -> None:
    cold = world.catalogue.arrival_week == NUM_WEEKS
    assert np.count_nonzero(cold) >= 10
    assert not cold[log.item].any()
    assert (world.arrival_ms()[cold] > log.start_ms.max()).all()


def test_events_are_in_order_and_nobody_watches_two_titles_at_once(log: Log) -> None:
    assert (np.diff(log.start_ms) >= 0).all()
    by = np.lexsort((log.start_ms, log.profile))
    same = log.profile[by][1:] == log.profile[by][:-1]
    ends = log.start_ms[by][:-1] + np.rint(log.minutes[by][:-1].astype(np.float64) * 60_000)
    assert (log.start_ms[by][1:][same] > ends[same]).all()


def test_profiles_watch_mostly_at_home(world: World, log: Log) -> None:
    home = np.array(world.tables.profiles["country"].to_pylist())
    assert 0.95 < np.mean(home[log.profile] == log.country) < 1.0
    assert len(set(home.tolist())) == 12


def test_a_search_names_what_was_played_within_minutes_of_it(world: World, log: Log) -> None:
    items = world.tables.items.to_pylist()
    row_of = {item["item_id"]: row for row, item in enumerate(items)}
    starts = {(p, i): ms for p, i, ms in zip(log.profile, log.item, log.start_ms, strict=True)}
    profile_row = {id_: row for row, id_ in enumerate(world.tables.profiles["profile_id"].to_pylist())}
    queries = world.tables.queries.to_pylist()
    played = [query for query in queries if query["item_id"] is not None]
    assert 500 < len(queries) < 1000
    assert 0.85 < len(played) / len(queries) < 0.95
    for query in played:
        item = items[row_of[query["item_id"]]]
        decade = f"{item['release_year'] // 10 * 10}s"
        names = [item["title"], *item["cast"], *item["sub_genres"]]
        names += [f"{decade} {genre}" for genre in item["genres"]]
        assert any(query["text"] in name.lower() for name in names)
        start = starts[profile_row[query["profile_id"]], row_of[query["item_id"]]]
        assert 0 < start - query["time"].timestamp() * 1000 < 200_001
    times = world.tables.queries["time"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()


def test_genres_are_those_of_the_sub_genres(world: World) -> None:
    catalogue = world.catalogue
    for row, genres in enumerate(world.tables.items["genres"].to_pylist()):
        rows = [catalogue.sub_genre[row], catalogue.second_sub_genre[row]]
        assert len(genres) == len({int(GENRE_OF[sub]) for sub in rows if sub >= 0})


def test_true_affinity_ranks_the_last_watch_far_better_than_popularity(world: World, log: Log) -> None:
    by = np.lexsort((log.start_ms, log.profile))
    profile, item = log.profile[by], log.item[by]
    last = np.flatnonzero(np.append(profile[1:] != profile[:-1], True))
    history = np.setdiff1d(np.arange(len(item)), last)
    popularity = np.bincount(item[history], minlength=500).astype(np.float64)
    seen = np.zeros((600, 500), bool)
    seen[profile[history], item[history]] = True

    def mean_ndcg(score: np.ndarray) -> float:
        score = np.where(seen, -np.inf, score)[profile[last]]
        rank = (score > score[np.arange(len(last)), item[last]][:, None]).sum(axis=1)
        return float(np.where(rank < 10, 1 / np.log2(rank + 2), 0.0).mean())

    affinity = world.affinity(np.arange(600)).astype(np.float64)
    by_popularity = mean_ndcg(np.broadcast_to(popularity, seen.shape))
    assert mean_ndcg(affinity) > 4 * by_popularity
    assert mean_ndcg(affinity + world.catalogue.appeal) > mean_ndcg(affinity)


@pytest.mark.parametrize(
    "settings",
    [
        SimulatedSettings(num_profiles=1, num_items=40, num_events=1),
        SimulatedSettings(num_profiles=50, num_items=40, num_events=20),
        SimulatedSettings(num_profiles=5, num_items=60, num_events=150, arrival_share=0.0, cold_share=0.0),
        replace(SMALL, query_share=0.0, accident_share=0.0, sequel_share=0.0),
        replace(SMALL, query_share=1.0, accident_share=0.99, sequel_share=0.3),
        replace(SMALL, taste_weight=0.0, popularity_weight=0.0, sequence_weight=0.0),
    ],
)
def test_small_and_extreme_services_are_valid_and_of_the_size_asked(settings: SimulatedSettings) -> None:
    tables = read_simulated(settings)
    validate(tables)
    sizes = (tables.profiles.num_rows, tables.items.num_rows, tables.events.num_rows)
    assert sizes == (settings.num_profiles, settings.num_items, settings.num_events)
    if settings.query_share in (0.0, 1.0):
        assert tables.queries.num_rows == settings.query_share * settings.num_events


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SimulatedSettings(num_profiles=0), "simulated.num_profiles: 0 is out of range"),
        (SimulatedSettings(num_items=39), "simulated.num_items: 39 is out of range"),
        (SimulatedSettings(num_events=0), "simulated.num_events: 0 is out of range"),
        (SimulatedSettings(seed=-1), "simulated.seed: -1 is out of range"),
        (SimulatedSettings(accident_share=1.0), "simulated.accident_share: 1.0 is out of range"),
        (SimulatedSettings(taste_weight=float("nan")), "simulated.taste_weight: nan is out of range"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: SimulatedSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        simulate(settings)


def test_more_events_than_profiles_and_titles_allow_are_refused() -> None:
    with pytest.raises(SchemaError, match="num_events = 501 is more than 10 profiles can watch of 50 titles"):
        simulate(SimulatedSettings(num_profiles=10, num_items=50, num_events=501))


def test_the_settings_are_a_structured_config() -> None:
    config = OmegaConf.merge(OmegaConf.structured(SimulatedSettings), {"num_items": 100})
    assert OmegaConf.to_object(config) == SimulatedSettings(num_items=100)
