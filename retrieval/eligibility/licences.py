"""Licence windows: which titles are available in a country at a moment."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int32, Int64

from retrieval.eligibility.inverted import flattened
from retrieval.index.compiled import compiled

_EVER, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
"""When a window without start begins, and one without end ends."""


@dataclass(frozen=True, eq=False)
class _Windows:
    """The licences of one country, or of everywhere: title row[i] from start[i] until just before end[i].

    Unix seconds.
    """

    row: Int32[np.ndarray, " E"]
    start: Int64[np.ndarray, " E"]
    end: Int64[np.ndarray, " E"]

    @cached_property
    def boundary(self) -> Int64[np.ndarray, " B"]:
        """All starts and ends, sorted and distinct, once asked for: between two of them nothing changes."""
        edges = (self.start[self.start > _EVER], self.end[self.end < _NEVER])
        distinct: np.ndarray = np.unique(np.concatenate(edges))
        return distinct

    def open_rows(self, time_seconds: int) -> Int32[np.ndarray, " n"]:
        return self.row[(self.start <= time_seconds) & (time_seconds < self.end)]

    def since(self, time_seconds: int) -> int:
        """From when on the open windows are those of this moment."""
        place = int(np.searchsorted(self.boundary, time_seconds, side="right"))
        return int(self.boundary[place - 1]) if place else _EVER


class Licences:
    """The licences of a catalogue (`towers.data.schema.LICENCES`), by country.

    20 bytes a licence, and up to 16 for its boundaries. A request's time is a whole second, and a window is
    open for those that lie in it, to the millisecond.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._unsaid = column.is_null().to_numpy()
        entries, row = flattened(column)
        country = pc.struct_field(entries, "country").combine_chunks().dictionary_encode()
        codes = [code.upper() for code in country.dictionary.to_pylist()]
        names = sorted(set(codes))
        place_of = {name: place for place, name in enumerate(names, 1)}
        everywhere = 0
        territory = np.array([*(place_of[code] for code in codes), everywhere], np.int32)[
            pc.fill_null(country.indices, len(codes)).to_numpy()
        ]
        # A null entry says nothing of where and when; it must not read as everywhere and always.
        territory[~entries.is_valid().to_numpy()] = nowhere = len(names) + 1
        edge = np.concatenate([[0], np.cumsum(np.bincount(territory, minlength=nowhere + 1))])
        start_ms, end_ms = (
            pc.fill_null(pc.struct_field(entries, name).cast(pa.int64()), where_null).to_numpy()
            for name, where_null in (("start", _EVER), ("end", _NEVER))
        )
        columns = (np.empty(len(row), np.int32), np.empty(len(row), np.int64), np.empty(len(row), np.int64))
        if len(row):  # a service without licences need not load what lays them out
            _by_territory(territory, row, start_ms, end_ms, edge[:-1].copy(), *columns)
        windows = [_Windows(*(column[low:high] for column in columns)) for low, high in pairwise(edge[:-1])]
        self._everywhere = windows[0]
        self._of_country = dict(zip(names, windows[1:], strict=True))

    def period(self, country: str, time_seconds: int) -> tuple[str, int]:
        """What `available` depends on: the country, "" where no licence names it, and since when."""
        own = self._own(country)
        if own is None:
            return "", self._everywhere.since(time_seconds)
        return country.upper(), max(self._everywhere.since(time_seconds), own.since(time_seconds))

    def available(self, country: str, time_seconds: int) -> Bool[np.ndarray, " N"]:
        """Whether each title may be shown there and then; see `rules.Available`."""
        mask: np.ndarray = self._unsaid.copy()
        mask[self._everywhere.open_rows(time_seconds)] = True
        own = self._own(country)
        if own is not None:
            mask[own.open_rows(time_seconds)] = True
        return mask

    def _own(self, country: str) -> _Windows | None:
        """The licences that name the country; a licence that names "" is not that of an unknown country."""
        return self._of_country.get(country.upper()) if country else None


@compiled
def _by_territory(
    territory: np.ndarray,
    row: np.ndarray,
    start_ms: np.ndarray,
    end_ms: np.ndarray,
    place: np.ndarray,
    row_out: np.ndarray,
    start_out: np.ndarray,
    end_out: np.ndarray,
) -> None:
    """Writes the entries territory by territory, in their order; place: where those of each begin, moved on.

    A time is written as the first whole second that is not before it.
    """
    for i in range(len(territory)):
        at = place[territory[i]]
        place[territory[i]] += 1
        row_out[at] = row[i]
        start_out[at] = start_ms[i] if start_ms[i] == _EVER else -(-start_ms[i] // 1000)
        end_out[at] = end_ms[i] if end_ms[i] == _NEVER else -(-end_ms[i] // 1000)
