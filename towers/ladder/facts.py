"""What the log and the catalogue say of an item when a query is asked: last watch, country, shared labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64, Int64

from towers.data.histories import Histories, runs


@dataclass(frozen=True, slots=True)
class LastWatches:
    """When each item was watched.

    offset: int64 (N+1,); time_seconds: int64 (E,): those of item i are offset[i]:offset[i+1], rising.
    """

    offset: Int64[np.ndarray, " N1"]
    time_seconds: Int64[np.ndarray, " E"]

    def seconds_since(
        self, item_row: Int64[np.ndarray, " C"], asked_seconds: Int64[np.ndarray, " C"]
    ) -> Float64[np.ndarray, " C"]:
        """Seconds from the item's last event before the moment asked; NaN without one."""
        if len(self.time_seconds) == 0:
            return np.full(len(item_row), np.nan)
        # One key rises over items and times together, so that one search finds them all.
        first, last = int(self.time_seconds.min()), int(self.time_seconds.max())
        span = last - first + 2
        owner = np.repeat(np.arange(len(self.offset) - 1), np.diff(self.offset))
        key = owner * span + (self.time_seconds - first)
        wanted = item_row * span + np.clip(asked_seconds - first, 0, span - 1)
        place = np.searchsorted(key, wanted) - 1
        known = place >= self.offset[item_row]
        since: np.ndarray = np.where(known, asked_seconds - self.time_seconds[place], np.nan)
        return since


def last_watches(train: Histories, num_items: int) -> LastWatches:
    """LastWatches of the train events."""
    order = np.lexsort((train.time_seconds, train.item_row))
    num_watches = np.bincount(train.item_row, minlength=num_items)
    offset = np.concatenate([np.zeros(1, np.int64), np.cumsum(num_watches)])
    return LastWatches(offset, train.time_seconds[order])


@dataclass(frozen=True, slots=True)
class CountryWatches:
    """How often each item was watched in each country: the pairs that occur.

    countries: str (G,), in order. cell: int64 (S,), country · N + item, rising; num_watches: int64 (S,).
    """

    countries: np.ndarray
    num_items: int
    cell: Int64[np.ndarray, " S"]
    num_watches: Int64[np.ndarray, " S"]

    def count(
        self, country: np.ndarray, query: Int64[np.ndarray, " C"], item_row: Int64[np.ndarray, " C"]
    ) -> Int64[np.ndarray, " C"]:
        """Events of each item in the country of its query; 0 where that is not known."""
        code, known = _find(self.countries, country)
        place, watched = _find(self.cell, code[query] * self.num_items + item_row)
        counts = np.concatenate([self.num_watches, np.zeros(1, np.int64)])
        found: np.ndarray = np.where(known[query] & watched, counts[place], 0)
        return found


def country_watches(train: Histories, num_items: int, country: np.ndarray) -> CountryWatches:
    """CountryWatches of the train events; `country` is that of each train profile, "" where unknown."""
    countries, code = np.unique(country, return_inverse=True)
    profile = train.profile_rows()
    located = country[profile] != ""
    cell = code.reshape(-1)[profile[located]] * num_items + train.item_row[located]
    cell, num_watches = np.unique(cell, return_counts=True)
    return CountryWatches(countries, num_items, cell, num_watches)


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of each item, such as its genres: label[offset[i]:offset[i+1]], of `num_labels` in all."""

    offset: Int64[np.ndarray, " N1"]
    label: Int64[np.ndarray, " L"]
    num_labels: int

    def overlap(
        self, history: Histories, query: Int64[np.ndarray, " C"], item_row: Int64[np.ndarray, " C"]
    ) -> Float64[np.ndarray, " C"]:
        """Mean over the item's labels of the share of its query's events that bear the label; 0 without."""
        event, label = self._expand(history.item_row)
        cell, num_events = np.unique(
            history.profile_rows()[event] * self.num_labels + label, return_counts=True
        )
        candidate, label = self._expand(item_row)
        place, shared = _find(cell, query[candidate] * self.num_labels + label)
        counts = np.concatenate([num_events, np.zeros(1, np.int64)])
        total = np.bincount(candidate, np.where(shared, counts[place], 0), minlength=len(item_row))
        num_pairs = np.diff(self.offset)[item_row] * history.lengths[query]
        mean: np.ndarray = total / np.maximum(num_pairs, 1)
        return mean

    def _expand(self, item_row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every label of every item given: the item's place among them, and the label."""
        length = np.diff(self.offset)[item_row]
        return np.repeat(np.arange(len(item_row)), length), self.label[runs(self.offset[item_row], length)]


def labels_of(items: pa.Table, columns: Sequence[str]) -> Labels:
    """The Labels that list columns of the items table hold together, each once per item."""
    rows, names = [], []
    for column in columns:
        chunk = items[column].combine_chunks()
        rows.append(pc.list_parent_indices(chunk).to_numpy().astype(np.int64))
        names.append(pc.list_flatten(chunk).cast(pa.string()))
    encoded = pa.chunked_array(names, pa.string()).combine_chunks().dictionary_encode()
    known = encoded.indices.is_valid().to_numpy(zero_copy_only=False)
    label = pc.fill_null(encoded.indices, 0).to_numpy().astype(np.int64)
    num_labels = max(1, len(encoded.dictionary))
    row, label = np.divmod(np.unique((np.concatenate(rows) * num_labels + label)[known]), num_labels)
    num_of_item = np.bincount(row, minlength=items.num_rows)
    return Labels(np.concatenate([np.zeros(1, np.int64), np.cumsum(num_of_item)]), label, num_labels)


def _find(values: np.ndarray, wanted: np.ndarray) -> tuple[Int64[np.ndarray, " n"], np.ndarray]:
    """Where each wanted value would stand among the rising ones, and whether it does."""
    place = np.searchsorted(values, wanted)
    if len(values) == 0:
        return place, np.zeros(len(wanted), dtype=bool)
    return place, values[np.minimum(place, len(values) - 1)] == wanted
