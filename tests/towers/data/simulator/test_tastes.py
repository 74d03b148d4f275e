import numpy as np
import pytest

from towers.data.simulator.calendar import NUM_DAYS
from towers.data.simulator.catalogue import Catalogue, make_catalogue
from towers.data.simulator.tastes import NUM_SLOTS, Tastes, make_tastes
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES
from towers.data.simulator.words import COUNTRIES, KIDS_SUB_GENRES

NUM_PROFILES = 3000


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return make_catalogue(np.random.default_rng(5), 400, arrival_share=0.2, cold_share=0.0, sequel_share=0.1)


def tastes_of(catalogue: Catalogue, drift_rate: float) -> Tastes:
    rng = np.random.default_rng(2)
    return make_tastes(rng, catalogue, rng.integers(0, len(COUNTRIES) + 1, NUM_PROFILES), drift_rate)


def test_without_drift_each_slot_holds_one_taste_for_good(catalogue: Catalogue) -> None:
    tastes = tastes_of(catalogue, 0.0)
    slot = np.arange(NUM_SLOTS * NUM_PROFILES)
    assert (tastes.since_day == 0).all()
    assert (tastes.in_force(slot, np.full(len(slot), 500)) == slot).all()


def test_what_is_in_force_is_the_last_that_began(catalogue: Catalogue) -> None:
    tastes = tastes_of(catalogue, 0.05)
    rng = np.random.default_rng(0)
    slot, day = rng.integers(0, NUM_SLOTS * NUM_PROFILES, 2000), rng.integers(0, NUM_DAYS, 2000)
    for entry, of, on in zip(tastes.in_force(slot, day), slot, day, strict=True):
        begun = [
            row for row in range(tastes.offset[of], tastes.offset[of + 1]) if tastes.since_day[row] <= on
        ]
        assert entry == begun[-1]


def test_redraws_come_at_the_rate_and_differ_from_what_they_replace(catalogue: Catalogue) -> None:
    tastes = tastes_of(catalogue, 0.05)
    count = np.diff(tastes.offset) - 1
    # Poisson of mean 0.05 · 104 = 5.2; of 12,000 slots, so a standard error of 0.02.
    assert count.mean() == pytest.approx(5.2, abs=0.1)
    assert count.var() == pytest.approx(5.2, abs=0.3)
    slot = np.repeat(np.arange(len(count)), count + 1)
    after = np.flatnonzero(slot[1:] == slot[:-1]) + 1
    assert (tastes.sub_genre[after] != tastes.sub_genre[after - 1]).all()
    assert (np.diff(tastes.since_day.astype(np.int64))[after - 1] >= 0).all()


def test_children_like_what_is_made_for_them_and_countries_differ(catalogue: Catalogue) -> None:
    rng = np.random.default_rng(2)
    segment = rng.integers(0, len(COUNTRIES) + 1, NUM_PROFILES)
    tastes = make_tastes(rng, catalogue, segment, 0.02)
    slot = np.repeat(np.arange(NUM_SLOTS * NUM_PROFILES), np.diff(tastes.offset))
    child = segment[slot // NUM_SLOTS] == len(COUNTRIES)
    assert {SUB_GENRES[row] for row in tastes.sub_genre[child]} == set(KIDS_SUB_GENRES)
    share = np.array([np.bincount(line, minlength=40) / 1024 for line in tastes.following])
    assert np.abs(share[0] - share[1]).sum() > 0.3


def test_a_liked_person_is_at_home_in_the_liked_genre(catalogue: Catalogue) -> None:
    tastes = tastes_of(catalogue, 0.02)
    slot = np.repeat(np.arange(NUM_SLOTS * NUM_PROFILES), np.diff(tastes.offset)) % NUM_SLOTS
    for guild, of in ((catalogue.directors, slot == 2), (catalogue.actors, slot != 2)):
        place = tastes.person[of] - guild.first_row
        home = np.searchsorted(guild.genre_offset, place, side="right") - 1
        assert (home == GENRE_OF[tastes.sub_genre[of]]).all()


def test_a_part_is_the_whole_seen_from_its_first_profile(catalogue: Catalogue) -> None:
    tastes = tastes_of(catalogue, 0.05)
    part = tastes.part(100, 120)
    slot, day = np.arange(NUM_SLOTS * 20), np.full(NUM_SLOTS * 20, 300)
    there = part.in_force(slot, day)
    whole = tastes.in_force(slot + 100 * NUM_SLOTS, day)
    assert (part.sub_genre[there] == tastes.sub_genre[whole]).all()
    assert (part.person[there] == tastes.person[whole]).all()
