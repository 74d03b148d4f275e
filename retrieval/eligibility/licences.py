"""Licence windows: which titles are available in a country at a moment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int32, Int64

from retrieval.index.compiled import compiled

_EVER, _NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
"""When a window without start begins, and one without end ends."""
_NUM_TITLES = 1 << 14  # looked at together


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

    def since(self, time_seconds: int) -> int:
        """From when on the open windows are those of this moment."""
        place = int(np.searchsorted(self.boundary, time_seconds, side="right"))
        return int(self.boundary[place - 1]) if place else _EVER


class Licences:
    """The licences of a catalogue (`towers.data.schema.LICENCES`), by country.

    20 bytes a licence, and up to 16 for its boundaries. A request's time is a whole second, and a window is
    open for those that lie in it, to the millisecond.
    """

    def __init__(self, *columns: pa.ChunkedArray) -> None:
        """Of a column, or of several one after the other; countries may be texts or codes of them."""
        self._unsaid = np.concatenate([column.is_null().to_numpy() for column in columns])
        parts = list(_parts(columns))
        names = sorted({name for part in parts for name in part.names})
        # Territories: everywhere, then the countries, and what an entry that is null says: nowhere.
        place_of = {name: place for place, name in enumerate(names, 1)}
        count = np.zeros(len(names) + 2, np.int64)
        for part in parts:
            num_of_code = np.bincount(part.code, minlength=len(part.names) + 2)
            np.add.at(count, _territories(part, place_of), num_of_code)
        edge = np.concatenate([[0], np.cumsum(count)])
        num = int(edge[-1])
        laid_out = (np.empty(num, np.int32), np.empty(num, np.int64), np.empty(num, np.int64))
        place = edge[:-1].copy()
        for part in parts:
            if len(part.code):  # a service without licences need not load what lays them out
                row, start_ms, end_ms = _windows(part)
                territory = _territories(part, place_of)[part.code]
                _by_territory(territory, row, start_ms, end_ms, place, *laid_out)
        windows = [_Windows(*(each[low:high] for each in laid_out)) for low, high in pairwise(edge[:-1])]
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
        for windows in (self._everywhere, self._own(country)):
            if windows is not None and len(windows.row):
                _mark_open(windows.row, windows.start, windows.end, time_seconds, mask)
        return mask

    def _own(self, country: str) -> _Windows | None:
        """The licences that name the country; a licence that names "" is not that of an unknown country."""
        return self._of_country.get(country.upper()) if country else None


class _Part(NamedTuple):
    """Licences of some titles, from row `first` on; code: of each entry, into names, everywhere, nowhere."""

    first: int
    lists: pa.ListArray
    entries: pa.StructArray
    names: list[str]
    code: Int32[np.ndarray, " E"]


def _parts(columns: Sequence[pa.ChunkedArray]) -> Iterator[_Part]:
    """All titles, so many at once that what is made of them in between stays near a cache."""
    first = 0
    for chunk in (chunk for column in columns for chunk in column.chunks):
        for start in range(0, len(chunk), _NUM_TITLES):
            lists = chunk.slice(start, _NUM_TITLES)
            entries = lists.flatten()
            country = pc.struct_field(entries, "country")
            if not pa.types.is_dictionary(country.type):
                country = country.dictionary_encode()
            names = [name.upper() for name in country.dictionary.to_pylist()]
            code = pc.fill_null(country.indices, len(names)).to_numpy()
            if entries.null_count:
                code = np.where(entries.is_valid().to_numpy(zero_copy_only=False), code, len(names) + 1)
            yield _Part(first, lists, entries, names, code)
            first += len(lists)


def _territories(part: _Part, place_of: Mapping[str, int]) -> Int32[np.ndarray, " C"]:
    """The territory that each code of a part stands for."""
    return np.array([*(place_of[name] for name in part.names), 0, len(place_of) + 1], np.int32)


def _windows(part: _Part) -> tuple[Int32[np.ndarray, " E"], Int64[np.ndarray, " E"], Int64[np.ndarray, " E"]]:
    """Of each entry the row of its title, and its start and end in milliseconds."""
    length = pc.fill_null(pc.list_value_length(part.lists), 0).to_numpy()
    row = np.repeat(np.arange(part.first, part.first + len(length), dtype=np.int32), length)
    start_ms, end_ms = (
        pc.fill_null(pc.struct_field(part.entries, name).cast(pa.int64()), where_null).to_numpy()
        for name, where_null in (("start", _EVER), ("end", _NEVER))
    )
    return row, start_ms, end_ms


@compiled
def _mark_open(
    row: np.ndarray, start: np.ndarray, end: np.ndarray, time_seconds: int, mask: np.ndarray
) -> None:
    """Marks the titles whose windows are open."""
    for i in range(len(row)):
        if start[i] <= time_seconds and time_seconds < end[i]:
            mask[row[i]] = True


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
