"""The truth in closed form, beside slow computations of it and beside what is logged."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from towers.data.simulator.calendar import DAY_MS
from towers.data.simulator.catalogue import DECADES
from towers.data.simulator.liking import Liking
from towers.data.simulator.tastes import NUM_SLOTS, SLOT_SHARES
from towers.data.simulator.titles import GENRE_OF
from towers.data.simulator.watches import Cause
from towers.data.simulator.words import COUNTRIES
from towers.data.sources.simulated import LOG_START_MS, WEEK_MS, SimulatedSettings, World, simulate

SETTINGS = SimulatedSettings(num_profiles=400, num_items=300, num_events=6000, seed=4, drift_rate=0.03)
AT_MS = LOG_START_MS + 40 * WEEK_MS + 3 * DAY_MS


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(SETTINGS)


def slow_affinity(world: World, profile: int, item: int, day: int) -> float:
    catalogue, tastes = world.catalogue, world.audience.tastes
    total = 0.0
    genres = set()
    credited = {*catalogue.cast[item].tolist(), int(catalogue.director[item])}
    for place, weight in enumerate((3.0, 2.6, 2.2, 1.8)):
        slot = profile * NUM_SLOTS + place
        entry = [e for e in range(*tastes.offset[slot : slot + 2]) if tastes.since_day[e] <= day][-1]
        liked = int(tastes.sub_genre[entry])
        genres.add(int(GENRE_OF[liked]))
        total += weight * (liked == catalogue.sub_genre[item])
        total += weight * 0.5 * (liked == catalogue.second_sub_genre[item])
        total += 1.5 * (int(tastes.person[entry]) in credited)
    total += 0.75 * (int(GENRE_OF[catalogue.sub_genre[item]]) in genres)
    return total + slow_suits(world, profile, item)


def slow_suits(world: World, profile: int, item: int) -> float:
    made = int(world.catalogue.country[item])
    spoken = world.tables.profiles["language"][profile].as_py()
    decade = DECADES[(int(world.catalogue.year[item]) - 1960) // 10]
    distance = (decade + 5 - float(world.audience.era[profile])) / 12
    return float(
        1.0 * (COUNTRIES[made].language == spoken)
        + 0.6 * (made == world.audience.country[profile])
        + 1.5 * np.exp(-(distance**2))
    )


def test_affinity_is_what_its_docstring_says_pair_by_pair(world: World) -> None:
    rows = np.array([5, 0, 399, 5])
    found = world.affinity(rows, AT_MS)
    assert found.shape == (4, 300)
    day = 40 * 7 + 2  # at most a day off, where the local day has not begun or has ended
    for line, row in enumerate(rows):
        hours = COUNTRIES[world.audience.country[row]].utc_hours
        local = day + (1 if hours >= 4 else 0)
        expected = [slow_affinity(world, int(row), item, local) for item in range(300)]
        np.testing.assert_allclose(found[line], expected, rtol=1e-5)


def test_affinity_of_pairs_is_that_of_the_matrix(world: World) -> None:
    rng = np.random.default_rng(0)
    profile, item = rng.integers(0, 400, 500), rng.integers(0, 300, 500)
    time = LOG_START_MS + rng.integers(5, 720, 500) * DAY_MS
    pairs = Liking(world.catalogue).of_pairs(world.audience, profile, item, world._days(profile, time))
    np.testing.assert_allclose(pairs, world.affinity(profile, time)[np.arange(500), item], rtol=1e-5)


def test_tastes_change_what_is_relevant_where_they_drift_and_not_else(world: World) -> None:
    rows = np.arange(400)
    early, late = (world.affinity(rows, LOG_START_MS + week * WEEK_MS) for week in (5, 95))
    assert np.mean(np.abs(early - late).max(axis=1) > 1) > 0.9
    still = simulate(replace(SETTINGS, drift_rate=0.0))
    early, late = (still.affinity(rows, LOG_START_MS + week * WEEK_MS) for week in (5, 95))
    assert (early == late).all()
    assert (still.affinity(rows) == late).all()


def test_choice_probabilities_add_up_and_leave_out_what_may_not_be_shown(world: World) -> None:
    for profile in range(0, 400, 20):
        for after in (None, 7):
            chance = world.choice_probability(profile, AT_MS, after)
            assert chance.sum() == pytest.approx(1.0)
            assert (chance >= 0).all()
            offered = world.on_offer(AT_MS, int(world.audience.country[profile]))
            offered &= world.catalogue.maturity <= world.audience.cap[profile]
            assert not chance[~offered].any()


def test_first_watches_are_drawn_from_the_choice_probabilities() -> None:
    # One watch per profile: nothing was watched before it, so the closed form is all there is to it.
    settings = replace(SETTINGS, num_profiles=800, num_events=800, accident_share=0.0, drift_rate=0.0)
    world = simulate(settings)
    expected, variance = np.zeros(300), np.zeros(300)
    surprise = entropy = spread = 0.0
    for watch in world.watches:
        home = int(world.audience.country[watch["profile_row"]])
        day_ms = int(watch["start_ms"])
        chance = world.choice_probability(int(watch["profile_row"]), day_ms)
        assert chance[watch["item_row"]] > 0
        assert world.on_offer(day_ms, home)[watch["item_row"]]
        expected += chance
        variance += chance * (1 - chance)
        log_chance = np.log(np.where(chance > 0, chance, 1.0))
        surprise -= float(log_chance[watch["item_row"]])
        entropy -= float(chance @ log_chance)
        spread += float(chance @ log_chance**2 - (chance @ log_chance) ** 2)
    count = np.bincount(world.watches["item_row"], minlength=300)
    # Of 300 standard normal deviates hardly any beyond 4; their squares add up to about 300.
    deviate = (count - expected) / np.sqrt(np.maximum(variance, 0.05))
    assert np.abs(deviate).max() < 5
    assert 200 < (deviate**2).sum() < 400
    # The log-likelihood is that of draws from these very probabilities: within four standard deviations.
    assert abs(surprise - entropy) < 4 * np.sqrt(spread)


def test_a_person_who_goes_on_stays_with_the_sub_genre_sought_last(world: World) -> None:
    of = (world.catalogue.sub_genre == 7) | (world.catalogue.second_sub_genre == 7)
    fresh, after = (world.choice_probability(3, AT_MS, sub_genre)[of].sum() for sub_genre in (None, 7))
    assert after == pytest.approx(0.65 * fresh + 0.35 * (1 - 0.1) + 0.35 * _row_share(world, of), abs=1e-9)


def _row_share(world: World, of: np.ndarray) -> float:
    """What of the sub-genre the home page holds, beside what the mixture of both halves counts."""
    everything = simulate(replace(SETTINGS, row_share=1.0))
    return 0.1 * float(everything.choice_probability(3, AT_MS)[of].sum())


def test_causes_come_in_the_shares_set() -> None:
    settings = SimulatedSettings(num_profiles=2000, num_items=2000, num_events=30_000, kids_share=0.0)
    cause = Counter(simulate(settings).watches["cause"].tolist())
    share = {member: cause[member] / 30_000 for member in Cause}
    assert share[Cause.ACCIDENT] == pytest.approx(0.05, abs=0.005)
    assert share[Cause.ROW] == pytest.approx(0.95 * 0.1, abs=0.01)
    assert share[Cause.REWATCH] == pytest.approx(0.95 * 0.9 * 0.04, abs=0.008)
    assert sum(SLOT_SHARES) == pytest.approx(1.0)
