import numpy as np
import pyarrow as pa
import pytest

from towers.data.simulator.calendar import LOG_START_MS, NUM_WEEKS, WEEK_MS, day_of, week_start_ms
from towers.data.simulator.catalogue import Catalogue, make_catalogue
from towers.data.simulator.licences import EVER, Licences, make_licences
from towers.data.simulator.words import COUNTRIES


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return make_catalogue(np.random.default_rng(5), 800, arrival_share=0.2, cold_share=0.02, sequel_share=0.1)


@pytest.fixture(scope="module")
def licences(catalogue: Catalogue) -> Licences:
    return make_licences(np.random.default_rng(1), catalogue, 0.5, (9, 0.0))


def test_windows_and_bits_say_the_same(licences: Licences) -> None:
    expected = np.zeros((NUM_WEEKS, 800, len(COUNTRIES)), bool)
    for item, country, start, end in zip(
        licences.item_row, licences.country, licences.start_week, licences.end_week, strict=True
    ):
        assert 0 <= start < end
        assert not expected[start:end, item, country].any()  # windows of a title and country do not overlap
        expected[start:end, item, country] = True
    week, item, country = np.indices(expected.shape)
    assert (licences.allowed(week, item, country) == expected).all()


def test_no_window_opens_before_its_title_arrives(licences: Licences, catalogue: Catalogue) -> None:
    assert (licences.start_week >= catalogue.arrival_week[licences.item_row]).all()


def test_evergreens_are_everywhere_and_always_whatever_is_thinned(catalogue: Catalogue) -> None:
    thin = make_licences(np.random.default_rng(1), catalogue, 0.9, (9, 0.9))
    everywhere = (1 << len(COUNTRIES)) - 1
    assert (thin.on_offer[:, catalogue.evergreen] == everywhere).all()
    assert (catalogue.maturity[catalogue.evergreen] == 0).all()


def test_a_thinned_country_lacks_its_share_and_the_others_none(catalogue: Catalogue) -> None:
    whole = make_licences(np.random.default_rng(1), catalogue, 0.0, (9, 0.0))
    thin = make_licences(np.random.default_rng(1), catalogue, 0.0, (9, 0.4))
    held = [
        np.count_nonzero(thin.country == row) / np.count_nonzero(whole.country == row) for row in range(12)
    ]
    assert held[9] == pytest.approx(0.6, abs=0.06)
    assert held[:9] + held[10:] == [1.0] * 11


def test_the_column_starts_and_ends_windows_at_four_on_monday_local_time(licences: Licences) -> None:
    column = licences.column()
    assert len(column) == 800
    hours = {country.code: country.utc_hours for country in COUNTRIES}
    for windows in column.to_pylist():
        for window in windows:
            for end in (window["start"], window["end"]):
                if end is not None:
                    local = end.timestamp() / 3600 + hours[window["country"]]
                    assert local % 24 == 4.0
                    assert (local // 24 + 3) % 7 == 0  # 1 January 1970 was a Thursday


def test_a_title_without_any_window_is_nowhere() -> None:
    licences = Licences(
        item_row=np.array([0, 2]),
        country=np.array([3, 3]),
        start_week=np.array([0, 5]),
        end_week=np.array([EVER, 9]),
        on_offer=np.zeros((NUM_WEEKS, 3), np.uint16),
    )
    column = licences.column().to_pylist()
    code = COUNTRIES[3].code
    assert column[:2] == [[{"country": code, "start": None, "end": None}], []]
    ends = week_start_ms(np.array([5, 9]), np.array([3, 3]))
    start, end = pa.array(ends, pa.timestamp("ms", tz="UTC")).to_pylist()
    assert column[2] == [{"country": code, "start": start, "end": end}]


def test_days_turn_at_four_local_time() -> None:
    country = np.arange(len(COUNTRIES))
    begins = week_start_ms(np.full(len(COUNTRIES), 2), country)
    assert (day_of(begins, country) == 14).all()
    assert (day_of(begins - 1, country) == 13).all()
    utc = [row for row in country if COUNTRIES[row].utc_hours == 0.0]
    assert (begins[utc] == LOG_START_MS + 2 * WEEK_MS + 4 * 3_600_000).all()
