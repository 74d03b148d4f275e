import numpy as np
import pytest

from towers.data.simulator.calendar import NUM_WEEKS
from towers.data.simulator.catalogue import KIDS_TITLES, Catalogue, make_catalogue
from towers.data.simulator.people import make_guild, make_names
from towers.data.simulator.titles import GENRE_OF, SUB_GENRES, capacity, draw_titles
from towers.data.simulator.words import COUNTRIES, GENRES, KIDS_SUB_GENRES, MATURITY, MATURITY_OF_GENRE
from towers.errors import SchemaError


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return make_catalogue(
        np.random.default_rng(5), 2000, arrival_share=0.2, cold_share=0.02, sequel_share=0.1
    )


def test_all_titles_that_the_words_make_are_distinct() -> None:
    rng = np.random.default_rng(0)
    # One sub-genre of each genre with all of its titles: all of all would be seven million.
    rows = [SUB_GENRES.index(next(iter(genre.sub_genres))) for genre in GENRES]
    titles = [title for row in rows for title in draw_titles(rng, row, capacity(row))]
    assert len(set(titles)) == len(titles) == sum(capacity(row) for row in rows) > 1_000_000


def test_titles_with_one_adjective_are_distinct_over_all_sub_genres() -> None:
    rng = np.random.default_rng(0)
    titles = [title for row in range(len(SUB_GENRES)) for title in draw_titles(rng, row, 14_240)]
    assert len(set(titles)) == len(titles) > 500_000


def test_drawn_titles_and_people_are_distinct(catalogue: Catalogue) -> None:
    assert len(set(catalogue.titles)) == len(catalogue) == 2000
    assert len(set(catalogue.people)) == len(catalogue.people)


@pytest.mark.parametrize(("num_people", "initials"), [(6_144, 0), (20_000, 1), (200_000, 2)])
def test_names_stay_distinct_where_initials_are_needed(num_people: int, initials: int) -> None:
    names = make_names(np.random.default_rng(0), num_people)
    assert len(set(names)) == num_people
    assert max(name.count(".") for name in names) == initials


def test_the_words_name_each_other_rightly() -> None:
    names = [genre.name for genre in GENRES]
    assert all(near in names for genre in GENRES for near in genre.near)
    assert set(MATURITY_OF_GENRE) == set(names)
    assert set(KIDS_SUB_GENRES) <= set(SUB_GENRES)
    regions = [region for country in COUNTRIES for region in country.regions]
    assert len(set(regions)) == len(regions) == 4 * len(COUNTRIES)
    assert len(set(SUB_GENRES)) == len(SUB_GENRES) == len(GENRE_OF)


def test_every_sub_genre_has_titles_and_second_ones_are_of_a_near_genre(catalogue: Catalogue) -> None:
    assert set(catalogue.sub_genre.tolist()) == set(range(len(SUB_GENRES)))
    two = catalogue.second_sub_genre >= 0
    assert 0.4 < two.mean() < 0.6
    for first, second in zip(catalogue.sub_genre[two], catalogue.second_sub_genre[two], strict=True):
        genre = GENRES[GENRE_OF[first]]
        assert first != second
        assert GENRES[GENRE_OF[second]].name in (genre.name, *genre.near)


def test_certificates_are_those_of_the_genre(catalogue: Catalogue) -> None:
    spans = [MATURITY_OF_GENRE[GENRES[GENRE_OF[row]].name] for row in catalogue.sub_genre]
    low, high = np.array(spans).T
    kept = (low <= catalogue.maturity) & (catalogue.maturity <= high)
    assert kept.all()
    assert catalogue.maturity.max() < len(MATURITY)


def test_rows_are_in_order_of_arrival_and_shares_are_kept(catalogue: Catalogue) -> None:
    week = catalogue.arrival_week
    assert (np.diff(week) >= 0).all()
    # A sequel waits for its first part, so a few more arrive late than were asked for.
    assert 40 <= np.count_nonzero(week == NUM_WEEKS) <= 80
    assert 0.19 <= np.mean((week > 0) & (week < NUM_WEEKS)) <= 0.25


def test_sequels_continue_a_title_of_their_own_sub_genre(catalogue: Catalogue) -> None:
    sequel = np.flatnonzero(catalogue.prequel_row >= 0)
    prequel = catalogue.prequel_row[sequel]
    assert 0.08 <= len(sequel) / len(catalogue) <= 0.12
    assert len(set(prequel.tolist())) == len(prequel)
    assert (catalogue.sub_genre[sequel] == catalogue.sub_genre[prequel]).all()
    assert (catalogue.country[sequel] == catalogue.country[prequel]).all()
    assert (catalogue.year[sequel] > catalogue.year[prequel]).all()
    assert (catalogue.arrival_week[sequel] >= catalogue.arrival_week[prequel]).all()
    assert (catalogue.cast[sequel, 0] == catalogue.cast[prequel, 0]).all()
    assert (catalogue.director[sequel] == catalogue.director[prequel]).all()
    for row, before in zip(sequel, prequel, strict=True):
        base = catalogue.titles[before].removesuffix(" II")
        part = "III" if catalogue.titles[before].endswith(" II") else "II"
        assert catalogue.titles[row] == f"{base} {part}"


def test_a_title_has_each_person_once_and_filmographies_are_its_credited(catalogue: Catalogue) -> None:
    for row in range(len(catalogue)):
        cast = [person for person in catalogue.cast[row].tolist() if person >= 0]
        assert cast
        assert len(set(cast)) == len(cast)
    credited = {
        (person, row)
        for row in range(len(catalogue))
        for person in [*catalogue.cast[row].tolist(), int(catalogue.director[row])]
        if person >= 0
    }
    found = [
        (person, film)
        for person in range(len(catalogue.people))
        for film in catalogue.film[catalogue.film_offset[person] : catalogue.film_offset[person + 1]].tolist()
    ]
    assert len(found) == len(credited)
    assert set(found) == credited


def test_people_are_at_home_in_a_genre_and_few_are_in_many_titles(catalogue: Catalogue) -> None:
    lead = catalogue.cast[:, 1][catalogue.cast[:, 1] >= 0]
    genre = GENRE_OF[catalogue.sub_genre[catalogue.cast[:, 1] >= 0]]
    home = np.searchsorted(catalogue.actors.genre_offset, lead, side="right") - 1
    assert np.mean(home == genre) > 0.8
    roles = np.sort(np.diff(catalogue.film_offset))[::-1]
    assert roles[: len(roles) // 10].sum() > 0.3 * roles.sum()


def test_a_guild_gives_people_of_the_genre_asked_for() -> None:
    rng = np.random.default_rng(2)
    guild = make_guild(rng, 100, np.array([50, 0, 10]), first_row=1000)
    assert guild.genre_offset[-1] == 100
    genre = rng.integers(0, 3, 5000)
    place = guild.draw(rng, genre) - 1000
    assert (place >= guild.genre_offset[genre]).all()
    assert (place < guild.genre_offset[genre + 1]).all()


def test_ratings_follow_appeal_through_quality(catalogue: Catalogue) -> None:
    # Appeal = 0.5 q + N(0, 1), rating = 0.9 q + N(0, 0.4): correlation 0.41; standard error 0.02.
    correlation = np.corrcoef(catalogue.rating, catalogue.appeal)[0, 1]
    assert 0.3 < correlation < 0.5
    assert catalogue.rating.min() >= 0.0
    assert catalogue.rating.max() <= 10.0


def test_more_titles_than_the_words_make_are_refused() -> None:
    with pytest.raises(SchemaError, match="num_items = 8000000 is more than the 7121600 titles"):
        make_catalogue(
            np.random.default_rng(0), 8_000_000, arrival_share=0.2, cold_share=0.0, sequel_share=0.0
        )


def test_a_catalogue_of_tens_of_thousands_of_titles_has_distinct_names() -> None:
    large = make_catalogue(
        np.random.default_rng(5), 30_000, arrival_share=0.2, cold_share=0.02, sequel_share=0.1
    )
    assert len(set(large.titles)) == 30_000


def test_each_sub_genre_for_children_has_a_title_for_the_youngest_that_was_always_there(
    catalogue: Catalogue,
) -> None:
    assert set(catalogue.sub_genre[catalogue.evergreen].tolist()) == set(KIDS_TITLES.tolist())
    assert (catalogue.maturity[catalogue.evergreen] == 0).all()
    assert (catalogue.arrival_week[catalogue.evergreen] == 0).all()
