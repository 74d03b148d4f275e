"""What all choices share, in flat arrays that are read at random: one pool of titles, offers, sequels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32, Int64, UInt, UInt8, UInt16

from towers.data.simulator.audience import class_of
from towers.data.simulator.catalogue import Catalogue
from towers.data.simulator.demand import Demand, row_of_home
from towers.data.simulator.licences import Licences
from towers.data.simulator.numeric import POOL
from towers.data.simulator.words import COUNTRIES, KIDS_AGE_BANDS, MATURITY

_CHILD_BITS = np.uint16(1) << (len(COUNTRIES) + np.arange(len(KIDS_AGE_BANDS), dtype=np.uint16))


@dataclass(frozen=True, slots=True)
class Stage:
    """Titles to propose, and what decides whether they are taken.

    pool: rows of titles: the shelves, 1024 places each, then the rows of the home page, as many, then films
    by person. shelf_end, film_base: where the rows begin, and the films.
    film_offset: int64 (people + 1,), the films of person p are film_base + film_offset[p]:film_offset[p+1].
    on_offer: uint16 (W·N,), bits of countries, and above them of the children's certificates that allow it.
    item_class: uint8 (N,).
    sequel_row: int32 (N,), the part after each title, else -1.
    row: (lines, 20), titles of the home page in their places.
    """

    pool: UInt[np.ndarray, " pool"]
    shelf_end: int
    film_base: int
    film_offset: Int64[np.ndarray, " P1"]
    on_offer: UInt16[np.ndarray, " WN"]
    item_class: UInt8[np.ndarray, " N"]
    sequel_row: Int32[np.ndarray, " N"]
    row: UInt[np.ndarray, "lines 20"]

    @property
    def num_items(self) -> int:
        """Titles of the catalogue."""
        return len(self.item_class)

    def needed(
        self, country: Int64[np.ndarray, " n"], cap: Int64[np.ndarray, " n"]
    ) -> UInt16[np.ndarray, " n"]:
        """The bits that a title on offer must have, for a profile in a country with a highest certificate."""
        bits = np.uint16(1) << np.arange(len(COUNTRIES), dtype=np.uint16)
        child = np.zeros(len(MATURITY), np.uint16)
        child[: len(KIDS_AGE_BANDS)] = _CHILD_BITS
        needed: np.ndarray = bits[country] | child[cap]
        return needed

    def home_line(
        self, week: Int[np.ndarray, " n"], country: Int[np.ndarray, " n"], cap: Int[np.ndarray, " n"]
    ) -> Int64[np.ndarray, " n"]:
        """Where in the pool the row of the home page begins that a profile sees."""
        return self.shelf_end + row_of_home(week, country, cap) * POOL

    def line_of(self, base: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Which row of the home page begins there."""
        return (base - self.shelf_end) // POOL

    def films_of(
        self, person: Int[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Where in the pool the films of each person begin, and how many there are."""
        start = self.film_offset[person]
        return self.film_base + start, self.film_offset[person + 1] - start


def set_stage(catalogue: Catalogue, licences: Licences, demand: Demand) -> Stage:
    """The stage of a catalogue, its licences and its demand."""
    row_pool = np.take_along_axis(demand.row, demand.place[demand.num_shown], axis=1)
    dtype = demand.shelf.dtype
    follows = np.flatnonzero(catalogue.prequel_row >= 0)
    sequel = np.full(len(catalogue), -1, np.int32)
    sequel[catalogue.prequel_row[follows]] = follows
    on_offer = licences.on_offer.copy()
    for cap, bit in enumerate(_CHILD_BITS):
        on_offer |= np.where(catalogue.maturity <= cap, bit, np.uint16(0))
    return Stage(
        pool=np.concatenate([demand.shelf.ravel(), row_pool.ravel(), catalogue.film.astype(dtype)]),
        shelf_end=demand.shelf.size,
        film_base=demand.shelf.size + row_pool.size,
        film_offset=catalogue.film_offset,
        on_offer=on_offer.ravel(),
        item_class=class_of(catalogue),
        sequel_row=sequel,
        row=demand.row,
    )
