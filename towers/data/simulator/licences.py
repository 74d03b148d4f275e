"""Where and when each title may be shown: for good, for a time, for some countries, or country by country."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int64, UInt16

from towers.data.schema import LICENCES, TIME
from towers.data.simulator.calendar import NUM_WEEKS, week_start_ms
from towers.data.simulator.catalogue import Catalogue
from towers.data.simulator.words import COUNTRIES

EVER = 10 * NUM_WEEKS
"""The end week of a window that does not end."""

_REGIONAL_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Licences:
    """Windows in which titles may be shown, by title, country and time, and the same as a table of bits.

    item_row, country: int64 (L,); start_week, end_week: int64 (L,), the end is outside.
    on_offer: uint16 (W, N), bit c is set where the title may be shown in country c in that week of the log.
    """

    item_row: Int64[np.ndarray, " L"]
    country: Int64[np.ndarray, " L"]
    start_week: Int64[np.ndarray, " L"]
    end_week: Int64[np.ndarray, " L"]
    on_offer: UInt16[np.ndarray, "W N"]

    def allowed(
        self,
        week: Int64[np.ndarray, "*shape"],
        item_row: Int64[np.ndarray, "*shape"],
        country: Int64[np.ndarray, "*shape"],
    ) -> Bool[np.ndarray, "*shape"]:
        """Whether each title may be shown there and then."""
        bit: np.ndarray = (self.on_offer[week, item_row] >> country.astype(np.uint16)) & 1 != 0
        return bit

    def column(self) -> pa.Array:
        """The licences column of the items; a window without country and ends says always and everywhere."""
        num_items, num_countries = self.on_offer.shape[1], len(COUNTRIES)
        endless = (self.start_week == 0) & (self.end_week == EVER)
        simple = np.bincount(self.item_row[endless], minlength=num_items) == num_countries
        # Of a title that is always on offer everywhere, the first window stands for all.
        kept = ~simple[self.item_row] | (self.country == 0)
        item, country, start, end = (
            column[kept] for column in (self.item_row, self.country, self.start_week, self.end_week)
        )
        codes = pa.array([entry.code for entry in COUNTRIES])
        windows = pa.StructArray.from_arrays(
            [
                codes.take(pa.array(country, mask=simple[item])),
                pa.array(week_start_ms(start, country), TIME, mask=start == 0),
                pa.array(week_start_ms(end, country), TIME, mask=end == EVER),
            ],
            fields=list(LICENCES.value_type),
        )
        offset = np.searchsorted(item, np.arange(num_items + 1)).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offset), windows)


def make_licences(
    rng: np.random.Generator, catalogue: Catalogue, window_share: float, thinned: tuple[int | None, float]
) -> Licences:
    """Licences of all titles; `thinned` names a country, if any, and the share of its licences that it lacks.

    Of `window_share` of the titles, each kind has as many: leaves; leaves and comes back; is shown in a third
    of the countries; opens where it was made and weeks later elsewhere. The others are everywhere for good.
    """
    num_items, num_countries = len(catalogue), len(COUNTRIES)
    kind = np.where(rng.random(num_items) < window_share, rng.integers(0, 4, num_items), -1)
    thin = rng.random(num_items)
    kind[catalogue.evergreen], thin[catalogue.evergreen] = -1, 1.0
    at_home = catalogue.country[:, None] == np.arange(num_countries)
    arrival = np.broadcast_to(catalogue.arrival_week[:, None], at_home.shape)

    later = arrival + rng.integers(4, 27, at_home.shape)
    start = np.where((kind == 3)[:, None] & ~at_home, later, arrival)
    stay = rng.integers(20, NUM_WEEKS, num_items)
    end = np.where(kind <= 1, catalogue.arrival_week + stay, EVER)
    end = np.where(kind < 0, EVER, end)
    back = np.where(kind == 1, end + rng.integers(6, 27, num_items), EVER)
    shown = (kind != 2)[:, None] | at_home | (rng.random(at_home.shape) < _REGIONAL_SHARE)
    country, share = thinned
    if country is not None:
        shown[:, country] &= thin >= share

    on_offer = np.zeros((NUM_WEEKS, num_items), np.uint16)
    week = np.arange(NUM_WEEKS)[:, None]
    absent = (end <= week) & (week < back)
    for row in range(num_countries):
        there = shown[:, row] & (start[:, row] <= week) & ~absent
        on_offer |= there.astype(np.uint16) << np.uint16(row)

    item, country_row = np.nonzero(shown)
    first = start[item, country_row]
    again = back[item] < EVER
    entry = np.concatenate([np.arange(len(item)), np.flatnonzero(again)])
    entry_start = np.concatenate([first, back[item[again]]])
    entry_end = np.concatenate([end[item], np.full(np.count_nonzero(again), EVER)])
    order = np.argsort(entry, kind="stable")
    place = entry[order]
    return Licences(item[place], country_row[place], entry_start[order], entry_end[order], on_offer)
